"""`./relevo check` and `./relevo plan`, as they are typed, without a running stack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from include.development.planning import PlannedDag, PlannedTask, traffic
from include.specification.pipeline_file import load
from include.storage.object_store import ObjectStore
from stack.airflow_api import AirflowApi
from stack.commands import check as check_command
from stack.commands.dag_outline import outline
from stack.commands.plan import deployed_dags
from stack.errors import StackError

PROJECT = Path(__file__).parents[3]
SCORE_STEPS = (
    "(ingest_loans | ingest_labels) > (validate_loans | validate_labels) > compute_features > "
    "validate_features > await_training > score_batch > (detect_drift | measure_performance) > "
    "decide_retraining > request_retraining"
)


def relevo(project: Path, state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of a project in a process of its own, which knows of no store."""
    shell = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
    return subprocess.run(
        [sys.executable, "-m", "stack.cli", *arguments],
        cwd=project,
        env={**shell, "RELEVO_STATE": str(state), "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the loan pipeline alone."""
    for name in ("include", "plugins", "dags", "expectations", "stack"):
        ignored = shutil.ignore_patterns("*.parquet", "example_data")
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=ignored)
    for path in (tmp_path / "include" / "pipelines").glob("*.yaml"):
        if path.stem != "loan_default":
            path.unlink()
    return tmp_path


def test_a_right_pipeline_is_ok_and_shows_its_dags(tmp_path: Path) -> None:
    done = relevo(PROJECT, tmp_path, "check", "loan_default")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "loan_default: ok"
    assert lines[1] == (
        "  loan_default_score  0 6 5 1,4,7,10 * until 2009-01-31 (UTC); over, 17 runs from "
        "2005-01-05 to 2009-01-05, by backfill"
    )
    assert lines[2].strip() == SCORE_STEPS
    assert lines[3] == (
        "  loan_default_train  when loan_default_score asks for it, or by hand; one run a "
        "partition; the first scoring run needs one as of 2004-Q3 or earlier"
    )
    assert "train_candidate [hist_gradient_boosting, logistic_regression]" in lines[4]
    assert list(tmp_path.iterdir()) == []


def test_wrong_and_right_pipelines_side_by_side(project: Path) -> None:
    pipelines = project / "include" / "pipelines"
    text = (pipelines / "loan_default.yaml").read_text()
    broken = text.replace("task: binary", "task: binry").replace("window: 8", "window: many")
    (pipelines / "broken.yaml").write_text(broken)
    live = text.replace(", end: 2009-01-31", "").replace("start: 2005-01-01", "start: 2999-01-01")
    (pipelines / "live.yaml").write_text(live.replace("landing/loan_default", "landing/live"))

    late = text.replace(", end: 2009-01-31", "").replace("landing/loan_default", "landing/late")
    (pipelines / "late.yaml").write_text(late)

    done = relevo(project, project / "state", "check")

    assert done.returncode == 1
    assert done.stdout.splitlines()[:3] == [
        "broken: 2 errors",
        "  error  broken.yaml:3: task: not a valid value, got 'binry'; did you mean 'binary'?",
        "  error  broken.yaml:13: training.window: must be a whole number, got 'many'.",
    ]
    assert "live: ok, 1 warning" in done.stdout
    assert "no file of dags/ declares live" in done.stdout
    assert (
        "live_score  0 6 5 1,4,7,10 * (UTC); next 2999-01-05 06:00 for 2998-Q4, 2999-04-05 06:00 "
        "for 2999-Q1, 2999-07-05 06:00 for 2999-Q2"
    ) in done.stdout
    assert re.search(r"late_score .* \(UTC\); next .*; before them the latest 25 that", done.stdout)
    assert "loan_default: ok" in done.stdout


def test_a_name_that_is_no_pipeline(tmp_path: Path) -> None:
    done = relevo(PROJECT, tmp_path, "check", "loan_defalt")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().endswith("did you mean 'loan_default'?")


def test_a_plan_without_a_stack(tmp_path: Path) -> None:
    done = relevo(PROJECT, tmp_path, "plan", "loan_default")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "ingest_loans IngestSourceOperator landed loans draft of raw_loans" in rows
    assert "score_batch ScoreBatchOperator features, registry predictions, profiles" in rows
    assert any(row.startswith("train_candidate x 2 TrainCandidateOperator") for row in rows)
    assert "labels s3://lake/loan_default/labels/" in rows
    assert (
        "outcomes labels s3://landing/loan_default/outcomes/{partition}/ loan_default_outcomes"
        in rows
    )
    assert done.stdout.count("the stack is down: start it with `./relevo up`") == 2


def test_a_plan_of_a_wrong_file_is_its_error(project: Path) -> None:
    path = project / "include" / "pipelines" / "loan_default.yaml"
    path.write_text(path.read_text().replace("task: binary", "task: binry"))
    done = relevo(project, project / "state", "plan", "loan_default")
    assert done.returncode == 1
    assert done.stderr.startswith("loan_default.yaml:3: task: not a valid value")


def test_the_traffic_of_every_task_is_known() -> None:
    (score, train) = outline(["loan_default"])["loan_default"]
    known = traffic(load("loan_default"))
    assert [
        task.task_id for dag in (score, train) for task in dag.tasks if task.task_id not in known
    ] == []


def test_a_factory_that_fails_says_why() -> None:
    with pytest.raises(
        StackError, match=r"(?s)DAGs of no_such_pipeline: .*its file must be"
    ) as caught:
        outline(["no_such_pipeline"])
    assert "no_such_pipeline.yaml" in str(caught.value)


def test_what_airflow_serves_is_read_as_dags() -> None:
    api = create_autospec(AirflowApi, instance=True)
    api.has_dag.side_effect = lambda dag_id: dag_id == "p_score"
    api.dag.return_value = {"timetable_summary": "0 6 1 * *"}
    api.tasks.return_value = [
        {
            "task_id": name,
            "class_ref": {
                "module_path": "relevo.operators",
                "class_name": f"{name.title()}Operator",
            },
            "downstream_task_ids": following,
        }
        for name, following in (("ingest", ["score"]), ("score", None))
    ]
    planned = [PlannedDag(name, "", ()) for name in ("p_score", "p_train")]
    assert deployed_dags(api, planned) == {
        "p_score": PlannedDag(
            "p_score",
            "0 6 1 * *",
            (
                PlannedTask("ingest", "IngestOperator", ()),
                PlannedTask("score", "ScoreOperator", ("ingest",)),
            ),
        )
    }


def test_a_store_that_does_not_answer_is_told_and_stops_nothing(
    shell: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_command._store() is None
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("RELEVO_STORE_ACCESS_KEY", "key")
    monkeypatch.setenv("RELEVO_STORE_SECRET_KEY", "secret")
    monkeypatch.setattr(check_command, "_line", lambda text, style: print(text))
    assert check_command._store() is None
    assert capsys.readouterr().out.startswith("Landed data are not looked at. ")


def test_a_store_that_answers_is_looked_at(store: ObjectStore) -> None:
    assert check_command._store() == store.settings
