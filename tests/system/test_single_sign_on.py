"""Logins to Airflow through a real OpenID Connect provider, in Debian's Chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from stack.embedded.health import check_page
from stack.embedded.ports import LOOPBACK
from tests.conftest import free_ports
from tests.system.fab_airflow import ANSWER_SECONDS, START_SECONDS, FabAirflow, make
from tests.system.test_browser import CHROMIUM_ARGUMENTS, VIEWPORT, WAIT_MILLISECONDS

pytestmark = pytest.mark.system

# What a role gets for the list of DAGs, an answer to no approval at all, and the connections.
ALLOWED = {
    "relevo-viewer": (200, 403, 403),
    "relevo-operator": (200, 404, 403),
    "relevo-admin": (200, 404, 200),
    "somebody-else": (403, 403, 403),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """Address of an OpenID Connect provider that lets everybody in."""
    (port,) = free_ports(1)
    url = f"http://{LOOPBACK}:{port}"
    program = str(Path(sys.executable).parent / "oidc-provider-mock")
    server = subprocess.Popen(
        [program, f"--host={LOOPBACK}", f"--port={port}", "--require-nonce=true"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while trouble := check_page(f"{url}/.well-known/openid-configuration"):
            assert time.monotonic() < deadline, trouble
            time.sleep(0.1)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, provider: str) -> Iterator[FabAirflow]:
    """An Airflow whose people log in at the provider."""
    folder = tmp_path_factory.mktemp("sign-on")
    secret = folder / "oidc_client_secret"
    secret.write_text("secret-of-the-client\n", encoding="utf-8")
    # By default, a role that was taken away still counts for 30 seconds.
    airflow = make(folder, AIRFLOW__FAB__CACHE_TTL="0")
    airflow.set_up()
    settings = {
        "RELEVO_OIDC_METADATA_URL": f"{provider}/.well-known/openid-configuration",
        "RELEVO_OIDC_CLIENT_ID": "relevo",
        "RELEVO_OIDC_CLIENT_SECRET_FILE": str(secret),
    }
    with airflow.api_server(settings):
        yield airflow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium with nothing in it."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on the PATH: NOT TESTED is single sign-on")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=CHROMIUM_ARGUMENTS
        )
        yield browser
        browser.close()


@contextmanager
def signed_on(
    airflow: FabAirflow, browser: Browser, provider: str, person: str, group: str
) -> Iterator[BrowserContext]:
    """Log in as a person who is in one group at the provider."""
    claims = {
        "preferred_username": person,
        "given_name": person.title(),
        "family_name": "Doe",
        "email": f"{person}@example.com",
        "groups": [group, "staff"],
    }
    told = requests.put(f"{provider}/users/{person}", json=claims, timeout=ANSWER_SECONDS)
    assert told.ok, told.text
    context = browser.new_context(base_url=airflow.url, viewport=VIEWPORT)
    context.set_default_timeout(WAIT_MILLISECONDS)
    page = context.new_page()
    page.goto("/relevo/")
    page.get_by_text("Sign In with sso").click()
    page.wait_for_url(f"{provider}/**")
    page.get_by_placeholder("sub").fill(person)
    page.get_by_role("button", name="Authorize", exact=True).click()
    page.wait_for_url(f"{airflow.url}/relevo/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pipelines")
    yield context
    context.close()


def answers(context: BrowserContext) -> tuple[int, ...]:
    """Ask with the person's cookie, as the UI does."""
    approval = "/api/v2/dags/lost/dagRuns/lost/taskInstances/lost/-1/hitlDetails"
    body = {"chosen_options": ["Approve"], "params_input": {}}
    return (
        context.request.get("/api/v2/dags").status,
        context.request.patch(approval, data=body).status,
        context.request.get("/api/v2/connections").status,
    )


@pytest.mark.parametrize("group", ALLOWED)
def test_the_group_at_the_provider_is_the_role_here(
    airflow: FabAirflow, browser: Browser, provider: str, group: str
) -> None:
    """A person arrives at the page that was asked for, with the rights of the group."""
    with signed_on(airflow, browser, provider, f"member-of-{group}", group) as context:
        assert answers(context) == ALLOWED[group]


def test_a_person_who_changes_groups_changes_roles_at_the_next_login(
    airflow: FabAirflow, browser: Browser, provider: str
) -> None:
    """The provider decides, also who is no admin any more."""
    for group in ("relevo-admin", "relevo-viewer"):
        with signed_on(airflow, browser, provider, "ada", group) as context:
            assert answers(context) == ALLOWED[group]


def test_a_name_like_the_first_admins_gives_no_right(
    airflow: FabAirflow, browser: Browser, provider: str
) -> None:
    """Whoever is called admin at the provider has the roles of the groups, not of the user here."""
    with signed_on(airflow, browser, provider, "admin", "somebody-else") as context:
        assert answers(context) == ALLOWED["somebody-else"]
