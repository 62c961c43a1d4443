"""What viewers, operators, admins and nobody may do, on a real Airflow with FAB auth manager."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from include.storage.settings import StoreSettings
from stack.access.roles import ADMIN, OPERATOR, VIEWER
from tests.system.fab_airflow import FabAirflow, make
from tests.system.test_browser import CHROMIUM_ARGUMENTS, VIEWPORT, WAIT_MILLISECONDS

pytestmark = pytest.mark.system

SCORE, TRAIN = "telco_churn_score", "telco_churn_train"
QUARTERLY = "loan_default_score"
RUN = "seen"
NOBODY = "nobody"
PASSWORDS = {name: secrets.token_urlsafe(16) for name in (VIEWER, OPERATOR)}

# A run with a task that waits for an answer and one that has a log, without running anything.
SEED = f"""
from pathlib import Path
from sqlalchemy import select
from airflow.configuration import conf
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

with create_session() as session:
    tasks = {{
        task.task_id: task
        for task in session.scalars(select(TaskInstance).where(TaskInstance.run_id == "{RUN}"))
    }}
    approve, build = tasks["approve_promotion"], tasks["build_training_set"]
    approve.state = "awaiting_input"
    session.add(
        HITLDetail(ti_id=approve.id, options=["Approve", "Reject"], subject="May it take over?")
    )
    build.state, build.try_number = "success", 1
    folder = Path(conf.get("logging", "base_log_folder"))
    log = folder / "dag_id={TRAIN}" / "run_id={RUN}" / "task_id=build_training_set"
    log.mkdir(parents=True)
    (log / "attempt=1.log").write_text('{{"event": "what the task said", "level": "info"}}\\n')
"""


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, store_settings: StoreSettings
) -> Iterator[FabAirflow]:
    """An Airflow with a user of each role and a run that waits for an answer."""
    airflow = make(tmp_path_factory.mktemp("roles"), store_settings)
    said = airflow.set_up()
    assert "user admin was made, with the role Admin" in said
    airflow.run("airflow", "dags", "reserialize")
    with airflow.api_server():
        airflow.log_in("admin", airflow.admin_password)
        for role, password in PASSWORDS.items():
            airflow.add_user(role.lower(), role, password)
            airflow.log_in(role.lower(), password)
        trigger = {"dag_run_id": RUN, "logical_date": None, "conf": {"partition": "1"}}
        answer = airflow.ask("admin", "POST", f"/api/v2/dags/{TRAIN}/dagRuns", trigger)
        assert answer.ok, answer.text
        airflow.run("python", "-c", SEED)
        yield airflow


@pytest.fixture(scope="module")
def shots() -> Path:
    """An empty folder for screenshots."""
    folder = Path(__file__).parents[1] / "output" / "roles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


API = "/api/v2"
DECISIONS = "/relevo/decisions/telco_churn"
OF_RUN = f"{API}/dags/{TRAIN}/dagRuns/{RUN}"
SEEN = [
    f"{API}/dags",
    f"{API}/dags/{TRAIN}/details",
    f"{API}/dagSources/{TRAIN}",
    f"{API}/dags/~/dagRuns",
    OF_RUN,
    f"{OF_RUN}/taskInstances",
    f"{OF_RUN}/taskInstances/build_training_set/logs/1",
    f"{OF_RUN}/taskInstances/build_training_set/xcomEntries",
    f"{API}/dags/~/dagRuns/~/hitlDetails",
    f"{API}/assets",
    f"{API}/assets/events",
    f"{API}/backfills?dag_id={QUARTERLY}",
    f"{API}/importErrors",
    f"{API}/plugins",
    "/relevo/",
    DECISIONS,
]
TASK = f"{OF_RUN}/taskInstances/train_candidates"
OPERATED: list[tuple[str, str, Any]] = [
    ("POST", f"{API}/dags/{TRAIN}/dagRuns", {"logical_date": None, "conf": {"partition": "1"}}),
    (
        "POST",
        f"{API}/dags/platform_rollback/dagRuns",
        {"logical_date": None, "conf": {"pipeline": "telco_churn", "reason": "a drill"}},
    ),
    *(
        (
            "POST",
            f"{API}/dags/platform_{deed}/dagRuns",
            {"logical_date": None, "conf": {"pipeline": "telco_churn", "reason": "a drill"} | more},
        )
        for deed, more in (
            ("reprocess", {}),
            ("freeze", {}),
            ("unfreeze", {}),
            ("promote", {"version": 1}),
            ("refuse", {"version": 1}),
            ("withdraw", {"partition": "snapshot-0001"}),
            ("retire", {"undo": True}),
        )
    ),
    (
        "POST",
        f"{API}/dags/platform_maintain/dagRuns",
        {"logical_date": None, "conf": {"dry_run": True}},
    ),
    (
        "POST",
        f"{API}/dags/platform_alerts/dagRuns",
        {"logical_date": None, "conf": {"test": "telco_churn"}},
    ),
    ("PATCH", f"{API}/dags/{QUARTERLY}", {"is_paused": False}),
    (
        "POST",
        f"{API}/dags/{TRAIN}/clearTaskInstances",
        {
            "dry_run": False,
            "dag_run_id": RUN,
            "task_ids": ["build_training_set"],
            "only_failed": False,
        },
    ),
    ("PATCH", f"{OF_RUN}/taskInstances/select_challenger", {"new_state": "success"}),
    (
        "PATCH",
        f"{OF_RUN}/taskInstances/approve_promotion/-1/hitlDetails",
        {"chosen_options": ["Approve"], "params_input": {}},
    ),
    ("PATCH", OF_RUN, {"note": "looked at"}),
    ("POST", f"{OF_RUN}/clear", {"dry_run": False}),
    ("PATCH", OF_RUN, {"state": "failed"}),
    (
        "POST",
        f"{API}/backfills",
        {
            "dag_id": QUARTERLY,
            "from_date": "2005-04-05T00:00:00Z",
            "to_date": "2005-04-06T00:00:00Z",
            "max_active_runs": 1,
            "reprocess_behavior": "none",
        },
    ),
    ("PUT", f"{API}/backfills/1/pause", None),
    ("PUT", f"{API}/backfills/1/cancel", None),
    ("POST", f"{API}/assets/events", {"asset_id": 1, "extra": {}}),
]
CONNECTION = {"connection_id": "x", "conn_type": "generic", "password": "secret"}
FORBIDDEN: list[tuple[str, str, Any]] = [
    ("GET", f"{API}/connections", None),
    ("POST", f"{API}/connections", CONNECTION),
    ("DELETE", f"{API}/connections/x", None),
    ("GET", f"{API}/variables", None),
    ("POST", f"{API}/variables", {"key": "x", "value": "y"}),
    ("GET", f"{API}/config", None),
    ("POST", f"{API}/pools", {"name": "x", "slots": 1}),
    ("GET", f"{API}/eventLogs", None),
    (
        "POST",
        f"{OF_RUN}/taskInstances/build_training_set/xcomEntries",
        {"key": "answer", "value": "yes"},
    ),
    ("DELETE", OF_RUN, None),
    ("DELETE", f"{API}/dags/{TRAIN}", None),
    ("GET", "/auth/fab/v1/users", None),
    ("POST", "/auth/fab/v1/users", {}),
    ("PATCH", "/auth/fab/v1/users/operator", {"roles": [{"name": ADMIN}]}),
    ("GET", "/auth/fab/v1/roles", None),
    ("PATCH", "/auth/fab/v1/roles/Operator", {"actions": []}),
]


@pytest.mark.parametrize("path", SEEN)
def test_viewers_see(airflow: FabAirflow, path: str) -> None:
    """All three roles see DAGs, runs, logs, assets and our pages; nobody else does."""
    assert airflow.ask(NOBODY, "GET", path).status_code == 401
    for user in ("viewer", "operator", "admin"):
        answer = airflow.ask(user, "GET", path)
        assert answer.status_code == 200, (user, answer.text)
    if path.endswith("/logs/1"):
        assert "what the task said" in answer.text


@pytest.mark.parametrize(("method", "path", "body"), OPERATED)
def test_operators_operate(airflow: FabAirflow, method: str, path: str, body: Any) -> None:
    """Operators start, stop, repeat, answer and backfill; viewers do not."""
    assert airflow.ask(NOBODY, method, path, body).status_code == 401
    assert airflow.ask("viewer", method, path, body).status_code == 403
    answer = airflow.ask("operator", method, path, body)
    assert answer.ok, answer.text


@pytest.mark.parametrize(("method", "path", "body"), FORBIDDEN)
def test_only_admins_administer(airflow: FabAirflow, method: str, path: str, body: Any) -> None:
    """Connections, variables, users, roles, and what deletes history are for admins."""
    assert airflow.ask(NOBODY, method, path, body).status_code == 401
    for user in ("viewer", "operator"):
        assert airflow.ask(user, method, path, body).status_code == 403, user


def test_admins_see_what_others_may_not(airflow: FabAirflow) -> None:
    """The refusals above are of the roles, not of addresses that nobody may open."""
    for path in ("connections", "variables", "eventLogs", "pools"):
        assert airflow.ask("admin", "GET", f"{API}/{path}").status_code == 200, path
    assert airflow.ask("admin", "GET", "/auth/fab/v1/users").json()["total_entries"] == 3


def test_the_answer_names_who_gave_it(airflow: FabAirflow) -> None:
    """The approval of a promotion is on record with the person."""
    path = f"{API}/dags/{TRAIN}/dagRuns/~/hitlDetails"
    details = airflow.ask("viewer", "GET", path).json()["hitl_details"]
    assert [detail["responded_by_user"]["name"] for detail in details] == ["operator"]


def test_setting_up_again_changes_nothing_that_people_set(airflow: FabAirflow) -> None:
    """A password and a role of people's making stay; the operator's role is mended."""
    database = airflow.layout.airflow / "airflow.db"
    before = _roles(database)
    assert before["Operator"] > before["Viewer"]
    with sqlite3.connect(database) as connection:
        connection.execute("insert into ab_role (name) values ('Auditor')")
        connection.execute(
            "insert into ab_permission_view_role (permission_view_id, role_id) "
            "select v.id, r.id from ab_permission_view v, ab_view_menu m, ab_role r "
            "where v.view_menu_id = m.id and m.name = 'Connections' and r.name = 'Operator'"
        )
    connection.close()
    assert _roles(database)["Operator"] > before["Operator"]
    secret = airflow.layout.state.parent / "airflow_admin_password"
    secret.write_text("another password", encoding="utf-8")
    assert "user admin is there already" in airflow.set_up()
    after = _roles(database)
    assert "Auditor" in after
    assert {role: after[role] for role in before} == before
    airflow.log_in("admin", airflow.admin_password)


def _roles(database: Any) -> dict[str, int]:
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "select r.name, count(p.id) from ab_role r "
            "left join ab_permission_view_role p on p.role_id = r.id group by r.name"
        ).fetchall()
    connection.close()
    return dict(rows)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium with nothing in it."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on the PATH: NOT TESTED is what each role sees in the UI")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=CHROMIUM_ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("role", [VIEWER, OPERATOR])
def test_the_ui_offers_what_a_role_may_do(
    airflow: FabAirflow, browser: Browser, shots: Path, role: str
) -> None:
    """A person asks for our page, logs in, arrives there, and finds only permitted buttons."""
    context = browser.new_context(base_url=airflow.url, viewport=VIEWPORT)
    context.set_default_timeout(WAIT_MILLISECONDS)
    expect.set_options(timeout=WAIT_MILLISECONDS)
    page = context.new_page()
    page.goto(DECISIONS)
    page.get_by_label("Username").fill(role.lower())
    page.get_by_label("Password").fill(PASSWORDS[role])
    page.screenshot(path=shots / f"{role}-1-login.png")
    page.get_by_role("button", name="Sign In").click()
    page.wait_for_url(f"**{DECISIONS}")
    heading = "telco_churn: partitions and decisions"
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.screenshot(path=shots / f"{role}-2-decisions.png")

    page.goto("/")
    page.get_by_role("link", name="Relevo").click()
    inside = page.frame_locator("iframe")
    inside.get_by_role("link", name="telco_churn").click()
    expect(inside.get_by_role("heading", level=1)).to_have_text(heading)
    page.screenshot(path=shots / f"{role}-3-navigation.png")
    expect(page.get_by_role("button", name="Admin")).to_have_count(0)

    page.goto(f"/dags/{TRAIN}")
    trigger = page.get_by_role("button", name="Trigger")
    expect(trigger).to_be_visible()
    page.screenshot(path=shots / f"{role}-4-dag.png")
    trigger.click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.locator("#element_partition").fill("1")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        form.get_by_role("button", name="Trigger").click()
    assert answer.value.status == (200 if role == OPERATOR else 403)
    page.screenshot(path=shots / f"{role}-5-triggered.png")
    page.goto("/auth/users/list/")
    page.screenshot(path=shots / f"{role}-6-users.png")
    expect(page.get_by_text("admin@localhost")).to_have_count(0)
    context.close()
