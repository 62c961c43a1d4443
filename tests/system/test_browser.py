"""What a person sees: Airflow's UI and the pages of the plugin, in Debian's Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    FrameLocator,
    Locator,
    Page,
    Response,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.system.conftest import PIPELINE, SCORE, TRAIN, SystemStack

pytestmark = pytest.mark.system

PARTITION = "2005-Q1"
TASKS = {
    "ingest_loans",
    "validate_loans",
    "compute_features",
    "validate_features",
    "await_training",
    "score_batch",
    "detect_drift",
    "ingest_labels",
    "validate_labels",
    "measure_performance",
    "decide_retraining",
    "request_retraining",
}
REPORT = f"/relevo/reports/{PIPELINE}/drift/{PARTITION}/index.html"
DECISIONS = f"/relevo/decisions/{PIPELINE}"
WAIT_MILLISECONDS = 60_000
RUN_SECONDS = 300
VIEWPORT: ViewportSize = {"width": 1400, "height": 900}
OUTPUT = Path(__file__).parents[1] / "output" / "browser"
CHROMIUM_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # the tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What a hostile report would try; each entry says what came of it.
ATTACK = """async () => {
  const attempt = async (action) => { try { return await action() } catch { return "refused" } };
  return {
    origin: self.origin,
    cookie: await attempt(() => document.cookie),
    api: await attempt(async () => (await fetch("/api/v2/dags")).status),
    window: await attempt(() => window.open("/dags") ? "opened" : "refused"),
  };
}"""

Shot = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium with nothing in it."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip(
            "no chromium on the PATH: NOT TESTED are login, triggering in the UI, the graph, the "
            "links to Data Docs and drift report, the decisions page. ./relevo test installs it"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=CHROMIUM_ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shot() -> Shot:
    """Keep a numbered screenshot of what the page shows now."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)

    def take(page: Page, name: str) -> None:
        number = len(list(OUTPUT.glob("*.png"))) + 1
        page.screenshot(path=OUTPUT / f"{number:02}-{name}.png")

    return take


@pytest.fixture(scope="module")
def page(browser: Browser, stack: SystemStack, shot: Shot) -> Iterator[Page]:
    """A page of a person who asked for the decisions, had to log in, and arrived there."""
    context = browser.new_context(base_url=stack.configuration.airflow_url, viewport=VIEWPORT)
    context.set_default_timeout(WAIT_MILLISECONDS)
    expect.set_options(timeout=WAIT_MILLISECONDS)
    page = context.new_page()
    page.goto(DECISIONS)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(stack.configuration.credentials.airflow_password)
    shot(page, "login")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{DECISIONS}")
    yield page
    context.close()


@pytest.fixture(scope="module")
def run_id(page: Page, stack: SystemStack, shot: Shot) -> str:
    """A run that was triggered in the UI for one partition and has succeeded."""
    page.goto(f"/dags/{SCORE}")
    page.get_by_role("button", name="Trigger").click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.locator("#element_partition").fill(PARTITION)
    shot(page, "trigger")
    with page.expect_response(_is_new_run) as answer:
        form.get_by_role("button", name="Trigger").click()
    assert answer.value.ok, answer.value.text()
    run = answer.value.json()
    assert run["conf"] == {"partition": PARTITION}
    stack.wait(SCORE, run["dag_run_id"], seconds=RUN_SECONDS)
    return str(run["dag_run_id"])


def test_the_graph_shows_every_task(page: Page, run_id: str, shot: Shot) -> None:
    """Every task has a box, and none failed."""
    page.goto(f"/dags/{SCORE}/runs/{run_id}")
    page.get_by_role("button", name="Show Graph").click()
    boxes = page.get_by_test_id("rf__wrapper").locator(".react-flow__node")
    expect(boxes).to_have_count(len(TASKS))
    shot(page, "graph")
    shown = {text.split()[0]: text.split()[-1] for text in boxes.all_inner_texts()}
    assert set(shown) == TASKS
    assert set(shown.values()) <= {"success", "skipped"}


def test_a_validation_leads_to_its_data_docs(page: Page, run_id: str, shot: Shot) -> None:
    """The Data Docs say what was checked and what came out."""
    _follow(page, SCORE, run_id, "validate_loans", "Data Docs", shot)
    expect(page.get_by_role("heading", level=1)).to_have_text(
        f"loans {PARTITION}: loan_default_loans"
    )
    expect(page.locator(".verdict")).to_contain_text(re.compile("Passed|quarantine"))
    expect(page.get_by_text("Table-Level Expectations").first).to_be_visible()
    shot(page, "data-docs")


def test_drift_detection_leads_to_its_report(page: Page, run_id: str, shot: Shot) -> None:
    """Our verdict is on top, Evidently's report renders below, and neither can act for us."""
    _follow(page, SCORE, run_id, "detect_drift", "Drift report", shot)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{PIPELINE} {PARTITION}: drift")
    expect(page.locator("#verdict")).to_contain_text("features drifted")
    expect(page.get_by_text("Drift in column 'guaranteed_share'")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    shot(page, "drift-report")
    assert page.evaluate(ATTACK) == {
        "origin": "null",
        "cookie": "refused",
        "api": "refused",
        "window": "refused",
    }


def test_a_training_leads_to_the_exploratory_report(
    page: Page, stack: SystemStack, shot: Shot
) -> None:
    """Target and features of the training set, with skrub's tabs, all without the network."""
    runs = stack.api.dag_runs(TRAIN)
    first = next(run["dag_run_id"] for run in runs if run["state"] == "success")
    _follow(page, TRAIN, first, "explore_training_set", "Exploration", shot)
    expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile(f"^{PIPELINE} as of .*: training set$")
    )
    expect(page.get_by_role("cell", name="log_amount", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Distributions").click()
    shot(page, "exploration")


def test_navigation_leads_to_the_decisions(page: Page, run_id: str, shot: Shot) -> None:
    """The pipeline's page shows the partition, and its drift verdict opens the report."""
    page.goto("/")
    page.get_by_role("link", name="Relevo").click()
    inside = page.frame_locator("iframe")
    inside.get_by_role("link", name=PIPELINE).click()
    expect(inside.get_by_role("heading", level=1)).to_have_text(
        f"{PIPELINE}: partitions and decisions"
    )
    expect(_rows(inside, "2004-Q4").first).to_contain_text("promoted")
    row = _rows(inside, PARTITION).first
    expect(row).to_contain_text("v1")
    shot(page, "decisions")
    row.get_by_role("link", name="drift").click()
    expect(inside.get_by_role("heading", level=1)).to_have_text(f"{PIPELINE} {PARTITION}: drift")


@pytest.mark.parametrize("path", [REPORT, DECISIONS, "/relevo/"])
def test_without_login_there_is_no_page(
    browser: Browser, stack: SystemStack, run_id: str, path: str, shot: Shot
) -> None:
    """A person is sent to the login page, a program gets 401."""
    context = browser.new_context(base_url=stack.configuration.airflow_url, viewport=VIEWPORT)
    page = context.new_page()
    page.goto(path)
    page.wait_for_url("**/auth/login?next=*")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    shot(page, "no-login")
    answer = context.request.get(path, headers={"Accept": "*/*"})
    assert answer.status == 401
    assert answer.json() == {"detail": "Not authenticated"}
    context.close()


@pytest.mark.parametrize(
    "path",
    [
        f"/relevo/reports/{PIPELINE}/drift/1999-Q1/index.html",
        f"/relevo/reports/{PIPELINE}/..%2f..%2flake/{PIPELINE}/index.html",
        f"/relevo/reports/..%2flake/{PIPELINE}/index.html",
        "/relevo/reports/unknown/drift/2005-Q2/index.html",
        "/relevo/decisions/unknown",
    ],
)
def test_what_is_not_a_report_is_not_found(page: Page, path: str) -> None:
    """Neither unknown names nor paths that climb out of the reports lead anywhere."""
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 404


def _follow(page: Page, dag_id: str, run_id: str, task_id: str, name: str, shot: Shot) -> None:
    page.goto(f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/details")
    link = page.get_by_role("link", name=name, exact=True)
    expect(link).to_be_visible()
    shot(page, task_id.replace("_", "-"))
    link.click()


def _rows(frame: FrameLocator, partition: str) -> Locator:
    cell = frame.get_by_role("cell", name=partition, exact=True)
    return frame.get_by_role("row").filter(has=cell)


def _is_new_run(response: Response) -> bool:
    return response.request.method == "POST" and response.url.endswith("/dagRuns")
