"""``platform_alerts``: real notifiers and receivers, real tables, Airflow's own runs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from airflow.sdk._shared.secrets_masker import _secrets_masker, redact
from airflow.sdk.exceptions import AirflowFailException

from include.monitoring.alerts import Alert, Message
from include.reports import alert_messages, alert_search
from include.reports.alert_messages import Letter
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import Receiver
from include.steps import alert_outbox
from include.steps.monitoring import DRIFT, PERFORMANCE
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings
from relevo import notifiers
from relevo.alert_round import links_of
from relevo.operators.alerts import TellAlertsOperator
from tests.operators.airflow_api import FakeScheduler
from tests.operators.running import TaskInstance, store_connection
from tests.receivers import (
    MailReceiver,
    WebReceiver,
    endless_receiver,
    mail_receiver,
    web_receiver,
)

SCORE = "loan_default_score"
UI = "https://airflow.bank.example"


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    with web_receiver() as received:
        yield received


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    with mail_receiver() as received:
        yield received


@pytest.fixture(autouse=True)
def deployment(
    store_settings: StoreSettings, web: WebReceiver, mail: MailReceiver, monkeypatch: Any
) -> None:
    """The connections that a person sets, each of the kind that its provider documents."""
    monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", store_connection(store_settings))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", UI)
    for name, parts in {
        "ALERTS_WEBHOOK": {"conn_type": "http", "host": f"{web.address}/hooks/risk"},
        "SMTP_DEFAULT": {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": mail.port,
            "extra": {
                "from_email": "relevo@bank.example",
                "disable_ssl": True,
                "disable_tls": True,
                "retry_limit": 0,
            },
        },
        "ALERTS_SLACK": {
            "conn_type": "slackwebhook",
            "host": f"{web.address}/services",
            "password": "T0/B0/secret",
        },
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(parts))


class Project:
    """One pipeline with tables of its own; every other pipeline names nobody."""

    def __init__(self, lake: Lake, pipeline: Pipeline) -> None:
        self.lake, self.pipeline = lake, pipeline
        self.minutes = 0.0

    def drift(self, *partitions: str, reason: str = "3 of 8 features drifted.") -> None:
        import pyarrow as pa

        for name in partitions:
            row = {"verdict": "drift", "reason": reason, "model_version": 1, "details": "{}"}
            rows = with_partition(pa.Table.from_pylist([row]), name)
            origin = Origin(f"{self.pipeline.name}_score", f"run {name}", "detect_drift")
            self.lake.write(DRIFT, rows, partitions=[name], origin=origin)

    def round(self, after: timedelta = timedelta(minutes=5), **params: Any) -> dict[str, int]:
        """Do the next round, some time after the one before."""
        self.minutes += after.total_seconds() / 60
        context = {
            "ti": TaskInstance(dag_id="platform_alerts", task_id="tell"),
            "params": {"test": None, **params},
            "dag_run": SimpleNamespace(run_id="scheduled__1", logical_date=None),
        }
        at = datetime.now(UTC) + timedelta(minutes=self.minutes)
        with time_machine.travel(at):
            done: dict[str, int] = TellAlertsOperator(task_id="tell").execute(context)
        return done


@pytest.fixture
def make_project(
    scheduler: FakeScheduler, store_settings: StoreSettings, monkeypatch: Any
) -> Callable[..., Project]:
    def make(**receivers: dict[str, Any]) -> Project:
        name = f"p{datetime.now(UTC).timestamp():.6f}".replace(".", "")
        alerts = {key: Receiver(**value) for key, value in receivers.items()}
        pipeline = pipeline_file.load("loan_default").model_copy(
            update={"name": name, "alerts": alerts}
        )
        monkeypatch.setattr(pipeline_file, "names", lambda: (name,))
        monkeypatch.setattr(pipeline_file, "load", lambda wanted: pipeline)
        return Project(Lake(store_settings, name), pipeline)

    return make


def test_a_webhook_is_told_once_with_the_links(
    make_project: Callable[..., Project], web: WebReceiver
) -> None:
    project = make_project(team={"webhook": "alerts_webhook"})
    name = project.pipeline.name
    assert project.round() == {name: 0}
    project.drift("2005-Q1")
    assert [project.round()[name] for _ in range(3)] == [1, 0, 0]
    ((path, headers, document),) = web.requests
    assert path == "/hooks/risk"
    assert headers["Idempotency-Key"] == document["id"]
    assert document == {
        "format": 1,
        "id": document["id"],
        "pipeline": name,
        "owner": "credit-risk",
        "kind": "drift",
        "subject": f"{name} 2005-Q1: drift",
        "test": False,
        "repeated": False,
        "alerts": [
            {
                "key": "drift/2005-Q1/version-1",
                "partition": "2005-Q1",
                "reason": "3 of 8 features drifted.",
                "links": {
                    "task": f"{UI}/dags/{name}_score/runs/run%202005-Q1/tasks/detect_drift",
                    "report": f"{UI}/relevo/reports/{name}/drift/2005-Q1/index.html",
                    "decisions": f"{UI}/relevo/decisions/{name}",
                },
            }
        ],
    }


def test_a_mail_arrives_once_and_quotes_without_markup_or_templates(
    make_project: Callable[..., Project], mail: MailReceiver
) -> None:
    project = make_project(team={"email": ["risk@bank.example", "ops@bank.example"]})
    project.round()
    project.drift("2005-Q1", reason="<script>{{ 7 * 7 }}</script> drifted.")
    project.round()
    project.round()
    ((recipients, received),) = mail.mails
    assert recipients == ["risk@bank.example", "ops@bank.example"]
    assert received["From"] == "relevo@bank.example"
    assert received["Subject"] == f"[Relevo] {project.pipeline.name} 2005-Q1: drift"
    assert str(received["Message-ID"]).endswith("@relevo>")
    body = received.get_payload(0).get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert "&lt;script&gt;{{ 7 * 7 }}&lt;/script&gt; drifted." in body
    assert f'href="{UI}/relevo/decisions/{project.pipeline.name}"' in body


def test_slack_gets_text_that_mentions_nobody(
    make_project: Callable[..., Project], web: WebReceiver
) -> None:
    project = make_project(team={"slack": "alerts_slack"})
    project.round()
    project.drift("2005-Q1", reason="<!channel> drifted.")
    project.round()
    ((path, _, document),) = web.requests
    assert path == "/services/T0/B0/secret"
    assert "&lt;!channel&gt; drifted." in document["text"]
    assert f"- decisions: {UI}/relevo/decisions/{project.pipeline.name}" in document["text"]


def test_pagerduty_knows_a_repeated_event_by_its_key(
    make_project: Callable[..., Project], web: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its provider is not among what is pinned; where it is installed it is tried."""
    pagerduty = pytest.importorskip("pagerduty")
    # The client speaks to one address, which is not ours.
    ours = property(lambda client: web.address, lambda client, address: None)
    monkeypatch.setattr(pagerduty.EventsApiV2Client, "url", ours)
    web.status, web.answer = 202, '{"status": "success", "dedup_key": "x"}'
    monkeypatch.setenv(
        "AIRFLOW_CONN_ON_CALL", json.dumps({"conn_type": "pagerduty_events", "password": "k" * 32})
    )
    project = make_project(team={"pagerduty": "on_call"})
    project.round()
    project.drift("2005-Q1")
    project.round()
    ((_, _, document),) = web.requests
    assert document["routing_key"] == "k" * 32
    assert document["dedup_key"] == document["payload"]["custom_details"]["id"]
    assert document["payload"]["severity"] == "warning"
    assert "3 of 8 features drifted." in document["payload"]["custom_details"]["text"]


def test_each_gets_what_it_asked_for(
    make_project: Callable[..., Project], scheduler: FakeScheduler, web: WebReceiver, mail: Any
) -> None:
    project = make_project(
        team={"webhook": "alerts_webhook", "about": ["drift"]},
        on_call={"email": ["ops@bank.example"], "about": ["failure", "gate"]},
    )
    project.round()
    dag_id = f"{project.pipeline.name}_score"
    scheduler.add_run(
        dag_id,
        "manual__1",
        conf={"partition": "2005-Q2"},
        tasks={"ingest_loans": "success", "validate_loans": None, "request_retraining": None},
    )
    scheduler.fail_task(dag_id, "manual__1", "validate_loans", 1.0, kind="gate", told="Too bad.")
    project.drift("2005-Q1")
    for _ in range(3):
        project.round()
    assert [document["kind"] for document in web.documents] == ["drift"]
    subjects = [received["Subject"] for _, received in mail.mails]
    assert subjects == [f"[Relevo] {project.pipeline.name} 2005-Q2: a gate closed"]
    # It is cleared, and fails again: that is another failure.
    scheduler.fail_task(dag_id, "manual__1", "validate_loans", 2.0, kind="gate", told="Too bad.")
    project.round()
    assert len(mail.mails) == 2


def test_one_that_is_down_keeps_nobody_else_from_being_told(
    make_project: Callable[..., Project], web: WebReceiver, mail: MailReceiver
) -> None:
    project = make_project(
        team={"webhook": "alerts_webhook"}, on_call={"email": ["ops@bank.example"]}
    )
    project.round()
    project.drift("2005-Q1")
    web.status = 503
    with pytest.raises(AirflowFailException) as raised:
        project.round()
    told = str(raised.value)
    assert (
        "receiver team must be told of drift (drift/2005-Q1/version-1), got after 1 attempt" in told
    )
    assert "503:Service Unavailable. It is tried again" in told
    assert len(mail.mails) == 1
    web.status = 200
    project.round(timedelta(hours=1))
    assert [document["repeated"] for document in web.documents] == [True]
    assert len(mail.mails) == 1


def test_one_that_never_ends_its_answer_keeps_nobody_else_from_being_told(
    make_project: Callable[..., Project], web: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers a byte at a time, so that no wait of the hook is too long."""
    monkeypatch.setattr(notifiers, "_DEADLINE_SECONDS", 0.5)
    with endless_receiver() as port:
        endless = {"conn_type": "http", "host": f"http://127.0.0.1:{port}"}
        monkeypatch.setenv("AIRFLOW_CONN_ENDLESS", json.dumps(endless))
        project = make_project(first={"webhook": "endless"}, second={"webhook": "alerts_webhook"})
        project.round()
        project.drift("2005-Q1")
        with pytest.raises(AirflowFailException, match=r"first .* 1 attempt: TimeoutError"):
            project.round()
    assert len(web.requests) == 1


def test_who_did_not_answer_is_asked_last_and_once_in_a_round(
    make_project: Callable[..., Project],
    scheduler: FakeScheduler,
    replace_by_autospec: Any,
) -> None:
    told: list[str] = []

    def tell(receiver: Receiver, letter: Letter, context: Any) -> None:
        told.append(f"{letter.kind} by {receiver.channel}")
        if receiver.channel == "webhook":
            raise ConnectionError

    replace_by_autospec("relevo.notifiers.tell", side_effect=tell)
    project = make_project(bad={"webhook": "alerts_webhook"}, good={"email": ["ops@bank.example"]})
    project.round()
    dag_id = f"{project.pipeline.name}_score"
    scheduler.add_run(dag_id, "manual__1", tasks={"ingest_loans": "failed"})
    project.drift("2005-Q1")
    for _ in range(2):
        with pytest.raises(AirflowFailException):
            project.round()
    assert told == [
        "failure by webhook",
        "failure by email",
        "drift by email",
        "drift by webhook",
    ]
    told.clear()
    project.drift("2005-Q2")
    with pytest.raises(AirflowFailException):
        project.round()
    assert told == ["drift by email", "drift by webhook"]


@pytest.mark.parametrize(
    "host",
    [
        "http://127.0.0.1:1/hooks/s3cret",
        "127.0.0.1:1/hooks/s3cret",
        "http://127.0.0.1:1/invoke?api=2&sig=s3cret",
        "http://127.0.0.1:1/invoke?s3cret",
        "http://127.0.0.1:1/invoke?sig=s3cret%20is it",
        "http://ops:s3cret@127.0.0.1:1/alerts",
    ],
)
def test_the_secret_part_of_an_address_is_not_told(
    make_project: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    host: str,
) -> None:
    masker = _secrets_masker()
    monkeypatch.setattr(masker, "patterns", set())
    monkeypatch.setattr(masker, "replacer", None)
    secret = {"conn_type": "http", "host": host}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS_WEBHOOK", json.dumps(secret))
    project = make_project(team={"webhook": "alerts_webhook"})
    project.round()
    project.drift("2005-Q1")
    with caplog.at_level(logging.DEBUG), pytest.raises(AirflowFailException) as raised:
        project.round()
    assert "ConnectionError" in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in str(project.lake.read_held(alert_outbox.TABLE).to_pylist())
    logged = caplog.text + "".join(capsys.readouterr())
    assert "Tenacity" in logged
    assert "s3cret" not in str(redact(logged))
    with pytest.raises(AirflowFailException, match=r"receiver team .* got ConnectionError"):
        project.round(test=project.pipeline.name)


def test_a_connection_that_is_missing_is_named(make_project: Callable[..., Project]) -> None:
    project = make_project(team={"webhook": "nobodys"})
    project.round()
    project.drift("2005-Q1")
    with pytest.raises(AirflowFailException, match="nobodys"):
        project.round()


def test_a_provider_that_is_missing_is_named(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "airflow.providers.slack.notifications.slack_webhook"
    monkeypatch.setitem(sys.modules, missing, None)
    project = make_project(team={"slack": "alerts_slack"})
    project.round()
    project.drift("2005-Q1")
    with pytest.raises(AirflowFailException, match="apache-airflow-providers-slack: must be inst"):
        project.round()


@pytest.mark.parametrize("moment", ["claim", "settle"])
def test_killed_before_or_after_it_was_sent(
    make_project: Callable[..., Project],
    web: WebReceiver,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Its retry tells nothing; later it is told again, which says so and has the same name."""

    class Killed(BaseException):
        """What no handler catches."""

    project = make_project(team={"webhook": "alerts_webhook"})
    project.round()
    project.drift("2005-Q1")
    happens = getattr(alert_outbox.Outbox, moment)

    def kill(self: Any, *args: Any) -> Any:
        if moment == "claim":
            happens(self, *args)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(alert_outbox.Outbox, moment, kill)
        with pytest.raises(Killed):
            project.round()
    before = [] if moment == "claim" else [False]
    assert [document["repeated"] for document in web.documents] == before
    project.round(timedelta())
    project.round()
    assert [document["repeated"] for document in web.documents] == before
    project.round(timedelta(minutes=11))
    project.round(timedelta(minutes=60))
    assert [document["repeated"] for document in web.documents] == [*before, True]
    assert len({document["id"] for document in web.documents}) == 1


def test_a_table_that_cannot_be_read_is_told_and_hides_no_other_pipeline(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(team={"webhook": "alerts_webhook"})
    name = project.pipeline.name
    monkeypatch.setattr(pipeline_file, "names", lambda: ("broken", name))
    whole = pipeline_file.load

    def load(wanted: str) -> Pipeline:
        if wanted == "broken":
            raise KeyError(wanted)
        return whole(wanted)

    monkeypatch.setattr(pipeline_file, "load", load)
    with pytest.raises(AirflowFailException, match="pipeline broken: KeyError"):
        project.round()
    assert alert_outbox.Outbox(project.lake, Origin("d", "r", "t")).since is not None


def test_what_cannot_be_read_hides_nothing_else_of_its_pipeline(
    make_project: Callable[..., Project], web: WebReceiver
) -> None:
    import pyarrow as pa

    project = make_project(team={"webhook": "alerts_webhook"})
    project.round()
    project.drift("2005-Q1")
    # As an earlier release might have written it.
    rows = with_partition(pa.table({"measured": ["2005-Q1"], "details": ["{}"]}), "2005-Q2")
    project.lake.write(
        PERFORMANCE, rows, partitions=["2005-Q2"], origin=Origin("d", "r", "measure")
    )
    with pytest.raises(AirflowFailException, match="performance must be looked for, got TypeErr"):
        project.round()
    assert [document["kind"] for document in web.documents] == ["drift"]


def test_a_message_that_cannot_be_written_keeps_nobody_else_from_being_told(
    make_project: Callable[..., Project], web: WebReceiver, mail: MailReceiver, monkeypatch: Any
) -> None:
    write = alert_messages.write

    def fails(pipeline: Pipeline, message: Message, links: Any) -> Letter:
        if message.receiver == "first":
            raise KeyError(message.kind)
        return write(pipeline, message, links)

    monkeypatch.setattr(alert_messages, "write", fails)
    project = make_project(
        first={"email": ["ops@bank.example"]}, second={"webhook": "alerts_webhook"}
    )
    project.round()
    project.drift("2005-Q1")
    with pytest.raises(AirflowFailException, match=r"receiver first .* KeyError"):
        project.round()
    assert (len(mail.mails), len(web.requests)) == (0, 1)


def test_a_test_message_reaches_each_receiver_and_is_not_on_record(
    make_project: Callable[..., Project], web: WebReceiver, mail: MailReceiver
) -> None:
    project = make_project(
        team={"webhook": "alerts_webhook"}, on_call={"email": ["ops@bank.example"]}
    )
    assert project.round(test=project.pipeline.name) == {project.pipeline.name: 2}
    assert web.documents[0]["alerts"][0]["reason"].startswith("This is a test: receiver team")
    assert web.documents[0]["test"]
    assert web.documents[0]["subject"] == f"{project.pipeline.name}: only a test"
    assert len(mail.mails) == 1
    assert not project.lake.exists(alert_outbox.TABLE)


def test_without_receivers_nothing_is_looked_for(
    make_project: Callable[..., Project], replace_by_autospec: Any
) -> None:
    search = replace_by_autospec("include.reports.alert_search.searches")
    assert make_project().round() == {}
    search.assert_not_called()
    assert timedelta(days=7) == alert_search.LOOK_BACK


@pytest.mark.parametrize(
    ("alert", "name", "path"),
    [
        (
            Alert("k", "approval", "2005-Q1", "", "x_train", "manual__1+0", "approve_promotion"),
            "answer",
            "/dags/x_train/runs/manual__1+0/tasks/approve_promotion/required_actions",
        ),
        (
            Alert("k", "failure", "2005-Q1", "", "x_train", "a b", "train_candidate", 1),
            "task",
            "/dags/x_train/runs/a%20b/tasks/train_candidate/mapped/1",
        ),
        (Alert("k", "deadline", "2005-Q1", "", "x_score"), "runs", "/dags/x_score"),
        (
            Alert("k", "gate", "2005-Q1", "", report="s3://reports/x/a.html"),
            "report",
            "/relevo/reports/x/a.html",
        ),
    ],
)
def test_links(monkeypatch: pytest.MonkeyPatch, alert: Alert, name: str, path: str) -> None:
    links = links_of(pipeline_file.load("loan_default"))
    assert links(alert)[name] == f"{UI}{path}"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{UI}/below/")
    assert links(alert)[name] == f"{UI}/below{path}"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    assert links(alert)[name] == path
