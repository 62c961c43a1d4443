"""The pages below ``/relevo``, for a person who is logged in."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from include.reports import decisions_page
from include.specification import pipeline_file
from include.storage.ledger import Entry
from relevo import pages
from tests.conftest import PROJECT

HIDDEN = "rodent_species"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A right pipeline, one with a wrong file, and one that the person may not see."""
    shipped = PROJECT / "include" / "pipelines"
    for name in ("loan_default", HIDDEN):
        (tmp_path / f"{name}.yaml").write_bytes((shipped / f"{name}.yaml").read_bytes())
    (tmp_path / "broken.yaml").write_text("task: binry\nowner: <b>me</b>\n")
    (tmp_path / "scrambled.yaml").write_bytes(b"\xff\xfe\x00: [")
    monkeypatch.setattr(pipeline_file, "names", partial(pipeline_file.names, tmp_path))
    load = partial(pipeline_file.load, folder=tmp_path)
    monkeypatch.setattr(pipeline_file, "load", load)
    monkeypatch.setattr(decisions_page, "load", load)
    manager = create_autospec(BaseAuthManager)
    manager.is_authorized_dag.side_effect = lambda *, details, **_: (
        not details.id.startswith(HIDDEN)
    )
    monkeypatch.setattr(pages, "get_auth_manager", lambda: manager)
    application = pages.make_application()
    application.dependency_overrides[get_user] = lambda: object()
    return TestClient(application)


@pytest.fixture
def no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on which one decision is recorded."""
    moment = datetime(2005, 4, 5)
    entry = Entry("training", "2005-Q1", "promoted", "better", {}, "run_1", moment)
    monkeypatch.setattr(decisions_page, "rows", lambda lake, pipeline: [])
    monkeypatch.setattr(decisions_page, "find_gaps", lambda *_, **__: [])
    monkeypatch.setattr(decisions_page, "find_stale", lambda *_, **__: None)
    monkeypatch.setattr(decisions_page.ledger, "entries", lambda lake: [entry])
    monkeypatch.setattr(decisions_page.Registry, "events", lambda registry: [])


def test_a_wrong_file_is_told_and_hides_no_other(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert '<a href="decisions/loan_default">' in answer.text
    assert "broken.yaml:1: task" in answer.text
    assert "scrambled.yaml:1:" in answer.text
    assert HIDDEN not in answer.text


def test_the_ledger_of_a_pipeline_with_a_wrong_file(client: TestClient, no_tables: None) -> None:
    right = client.get("/decisions/loan_default")
    wrong = client.get("/decisions/broken")
    assert (right.status_code, wrong.status_code) == (200, 200)
    assert "wrong" not in right.text
    assert "The pipeline file is wrong" in wrong.text
    assert "broken.yaml:1: task" in wrong.text
    assert "run_1" in right.text
    assert "run_1" in wrong.text


def test_what_is_shown_follows_the_address_and_the_persons_rights(
    client: TestClient, no_tables: None
) -> None:
    manager = pages.get_auth_manager()
    may_trigger = client.get("/decisions/loan_default?kind=training&partition=2005")
    assert "run_1" in may_trigger.text
    assert "dags/platform_freeze" in may_trigger.text
    assert "form-action 'self'" in may_trigger.headers["Content-Security-Policy"]
    manager.is_authorized_dag.side_effect = lambda *, method, **_: method == "GET"
    others = client.get("/decisions/loan_default?kind=rollback")
    assert others.status_code == 200
    assert "run_1" not in others.text
    assert "dags/platform_freeze" not in others.text
    assert client.get("/decisions/loan_default?page=0").status_code == 422
    assert client.get("/decisions/loan_default?page=1000").status_code == 200
    hostile = client.get("/decisions/loan_default", params={"partition": '"><script>x'})
    assert "<script>" not in hostile.text


def test_a_store_that_does_not_answer_is_a_sentence(client: TestClient) -> None:
    answer = client.get("/decisions/loan_default")
    assert answer.status_code == 503
    assert "must answer" in answer.json()["detail"]


@pytest.mark.parametrize(("name", "status"), [(HIDDEN, 403), ("nothing", 404)])
def test_other_pipelines_stay_closed(client: TestClient, name: str, status: int) -> None:
    assert client.get(f"/decisions/{name}").status_code == status
