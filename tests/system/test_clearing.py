"""docs/clearing.md on a running stack: cleared with a corrected input, then with a changed file.

With an unchanged input it is tested beside the lifecycle (`test_clearing_any_single_task...`).
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import pytest

from stack.torture import comparison, data, place
from stack.torture.observation import LEDGER, REGISTRY, World
from stack.torture.place import Place
from stack.torture.project import HISTORY
from stack.torture.story import Story
from tests.system.conftest import until

NAME = "clearing"
# Two partitions are scored; the second is trained on by hand, so on the rows of the first.
FIRST, SECOND = "2020-05", "2020-06"
BY_HAND = "by_hand"
GOOD = frozenset({"success", "skipped"})


class Cleared:
    """A world that has ended, whose tasks are cleared one at a time."""

    def __init__(self, held: Place) -> None:
        self.place = held
        self.story = Story(held, NAME, scored=2)
        self.file = held.layout.repository / "include" / "pipelines" / f"{NAME}.yaml"
        self.story.prepare()
        self.story.train()
        until(self.story.begin_scoring, "the first training")
        until(self.story.is_quiet, "the backfill")
        self.runs = {
            name: (self.story.score_dag, run["dag_run_id"])
            for name in (FIRST, SECOND)
            if (run := self.story.run_of(name))
        }
        self.runs[BY_HAND] = (self.story.train_dag, BY_HAND)
        held.api.trigger(self.story.train_dag, {"partition": SECOND}, run_id=BY_HAND)
        assert self.ended(*self.runs[BY_HAND]) == "success"
        self.before = self.story.observe()

    def ended(self, dag_id: str, run_id: str) -> str:
        """Wait for a run; returns its state."""
        state = ""

        def has_ended() -> bool:
            nonlocal state
            state = self.place.api.dag_run(dag_id, run_id)["state"]
            return state in ("success", "failed")

        until(has_ended, run_id)
        return state

    def states(self, run: str, task: str) -> set[str]:
        """Tell how a task ended, of one that is mapped each part."""
        found = self.place.api.task_instances(*self.runs[run])
        return {item["state"] for item in found if item["task_id"] == task}

    def clear(self, run: str, task: str, *, ends: Set[str] = GOOD) -> set[str]:
        """Clear one task alone; returns what changed: tables, and what was added to the ledger.

        Entries are ``ledger: <kind> <decision>`` and ``registry: <event>``.
        """
        before = self.before
        self.place.api.clear_task_instances(*self.runs[run], [task])
        self.ended(*self.runs[run])  # green or red by its last tasks, which were not cleared
        assert self.states(run, task) <= ends, f"{task} of {run}"
        self.before = self.story.observe()
        return changes(before, self.before)

    def message(self, run: str, task: str) -> str:
        """Read the log of a task's latest try."""
        dag_id, run_id = self.runs[run]
        (found,) = [
            item
            for item in self.place.api.task_instances(dag_id, run_id)
            if item["task_id"] == task
        ]
        return self.place.api.task_log(dag_id, run_id, task, -1, found["try_number"])

    def edit(self, old: str, new: str) -> None:
        """Change the pipeline file."""
        text = self.file.read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        self.file.write_text(text.replace(old, new), encoding="utf-8")


def changes(before: World, after: World) -> set[str]:
    """Tell which tables hold other rows, and what was added to ledger and registry."""
    found = {
        table
        for table in comparison.DATA_TABLES
        if comparison.digests(before, table) != comparison.digests(after, table)
    }
    for table, told in ((LEDGER, ("kind", "decision")), (REGISTRY, ("event",))):
        known = {row["key"] for row in before.rows(table)}
        found |= {
            f"{table}: {' '.join(row[name] for name in told)}"
            for row in after.rows(table)
            if row["key"] not in known
        }
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cleared]:
    """One world for the whole page: what a row changes is there for the next."""
    folder: Path = tmp_path_factory.mktemp("clearing") / "stack"
    with place.running(folder, print) as held:
        yield Cleared(held)


def marks(world: Cleared) -> set[Any]:
    rows = world.before.rows("predictions")
    return {row["back_scored"] for row in rows if row["partition"] == FIRST}


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_with_a_corrected_input_then_with_a_changed_file(world: Cleared) -> None:
    correct_scoring(world)
    correct_training(world)
    change_scoring(world)
    change_training(world)
    mark(world, world.story.score_dag, "compute_features", "request_retraining")
    mark(world, world.story.train_dag, "train_candidate", "close_training")


def mark(world: Cleared, dag_id: str, during: str, last: str) -> None:
    """Mark a run as failed while a task runs: it is red until it is cleared as a whole."""
    run, api = f"marked_{during}", world.place.api
    world.runs[run] = (dag_id, run)
    api.trigger(dag_id, {"partition": SECOND}, run_id=run)
    until(lambda: "running" in world.states(run, during), f"{during} to run")
    api.mark_dag_run(dag_id, run, "failed")
    assert world.ended(dag_id, run) == "failed"
    assert world.states(run, last) == {"failed"}
    assert "RUNNING" not in world.story.observe().runs.values()
    api.clear_failed_tasks(dag_id, run)
    assert world.ended(dag_id, run) == "failed"
    assert world.states(run, during) == {"success"}
    assert "failed or did not run" in world.message(run, last)
    tasks = {task["task_id"] for task in api.task_instances(dag_id, run)}
    api.clear_task_instances(dag_id, run, sorted(tasks))
    assert world.ended(dag_id, run) == "success"


def correct_scoring(world: Cleared) -> None:
    """Some values of a feature were wrong, and some labels."""
    loans, outcomes = data.rows_of(world.story.partitions[0], HISTORY)
    loans.loc[20:39, "x"] += 0.5
    outcomes.loc[20:39, "bad"] = 1 - outcomes.loc[20:39, "bad"]
    first, second = world.story.partitions
    data.put(world.place.objects, NAME, "loans", first, loans)
    data.put(world.place.objects, NAME, "outcomes", second, outcomes)
    assert world.clear(FIRST, "ingest_loans") == set()
    assert world.clear(FIRST, "validate_loans") == {"raw_loans"}
    assert world.clear(FIRST, "compute_features") == set()
    assert world.clear(FIRST, "validate_features") == {"features"}
    assert world.clear(FIRST, "await_training") == set()
    assert marks(world) == {False}
    assert world.clear(FIRST, "score_batch") == {"predictions", "profiles"}
    assert marks(world) == {True}
    assert world.clear(FIRST, "detect_drift") == {"drift"}
    assert world.clear(FIRST, "decide_retraining") <= {"ledger: retraining no"}
    assert world.clear(FIRST, "request_retraining") == set()
    assert world.clear(SECOND, "ingest_labels") == set()
    assert world.clear(SECOND, "validate_labels") == {"raw_outcomes", "labels"}
    # Judged is what was made then, by the labels of now.
    assert world.clear(SECOND, "measure_performance") == {"performance"}


def correct_training(world: Cleared) -> None:
    """The rows that it trains on were corrected above."""
    assert world.clear(BY_HAND, "build_training_set") == {"training_sets"}
    assert world.clear(BY_HAND, "validate_training_set") == set()
    assert world.clear(BY_HAND, "explore_training_set") == set()
    fit_and_end(world)


def change_scoring(world: Cleared) -> None:
    world.edit("clearing/loans/", "clearing/elsewhere/")
    assert world.clear(FIRST, "ingest_loans", ends={"failed"}) == set()
    assert "clearing/elsewhere/2020-05" in world.message(FIRST, "ingest_loans")
    world.edit("clearing/elsewhere/", "clearing/loans/")
    assert world.clear(FIRST, "ingest_loans") == set()

    strict = "suite: clearing_loans\n    max_quarantined: 0"
    world.edit(f"{strict}.2", f"{strict}.0")
    assert world.clear(FIRST, "validate_loans", ends={"failed"}) == set()
    assert "at most 0.00% of 160 rows may go" in world.message(FIRST, "validate_loans")
    world.edit(f"{strict}.0", f"{strict}.2")
    assert world.clear(FIRST, "validate_loans") == set()

    function = world.file.with_suffix(".py")
    code = function.read_text(encoding="utf-8")
    function.write_text(code.replace('"y"', '(loans.y / 2).alias("y")'), encoding="utf-8")
    assert world.clear(FIRST, "compute_features") == set()
    assert world.clear(FIRST, "validate_features") == {"features", "quarantine_features"}

    world.edit("k_nearest_neighbors: {}", "random_forest: {}")
    by = {row["model_version"] for row in world.before.rows("predictions")}
    assert world.clear(FIRST, "score_batch") == {"predictions", "profiles"}  # of other features
    assert {row["model_version"] for row in world.before.rows("predictions")} == by
    world.edit("random_forest: {}", "k_nearest_neighbors: {}")

    world.edit("minimum_rows: 50", "minimum_rows: 5000")
    assert world.clear(FIRST, "detect_drift") == {"drift"}
    world.edit("metric: roc_auc", "metric: log_loss")
    assert world.clear(SECOND, "measure_performance") == {"performance"}
    world.edit("persist: 1 of 1", "persist: 3 of 3")
    (decided,) = world.clear(SECOND, "decide_retraining")
    assert decided == "ledger: retraining no"
    assert world.clear(SECOND, "request_retraining") == set()


def change_training(world: Cleared) -> None:
    world.edit("window: 3", "window: 4")
    assert world.clear(BY_HAND, "build_training_set") == {"training_sets"}
    world.edit("require: {roc_auc: 0.6}", "require: {roc_auc: 0.999999}")
    assert fit_and_end(world) == "refused"


def fit_and_end(world: Cleared) -> str:
    """Clear the tasks after the training set one by one; returns the verdict."""
    runs = len(world.before.runs)
    assert world.clear(BY_HAND, "train_candidate") == set()
    assert len(world.before.runs) == runs + 2  # one for each candidate
    assert world.clear(BY_HAND, "select_challenger") == {"registry: registered"}
    champion = world.before.champion_as_of(None)
    (verdict,) = world.clear(BY_HAND, "evaluate_challenger")
    ended = verdict.removeprefix("ledger: promotion ")
    events = world.clear(BY_HAND, "promote_challenger")
    if ended == "refused":
        assert events <= {"registry: rolled_back"}
    else:
        assert "registry: promoted" in events
        assert world.before.champion_as_of(None) != champion
    assert world.clear(BY_HAND, "close_training") <= {f"ledger: training {ended}"}
    return ended
