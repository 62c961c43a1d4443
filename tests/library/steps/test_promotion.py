"""What becomes of a verdict: asked about, answered, put in use, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec

import pytest
from mlflow import MlflowClient

from include.calendar.partitions import Frequency, parse
from include.errors import TrainingError
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.steps import promotion, training_course
from include.steps.promotion import Answer, Verdict
from include.steps.training import close
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

AS_OF = parse("2005-Q2", Frequency.QUARTERLY)


class Run:
    """A DAG run that has registered a challenger, and may be told another verdict."""

    def __init__(self, lake: Lake, pipeline: Pipeline, origin: Origin) -> None:
        tracking = create_autospec(Tracking, instance=True)
        tracking.client = create_autospec(MlflowClient, instance=True)
        tracking.register.return_value = 1
        tracking.versions.side_effect = [[], [1], [1]]
        self.lake, self.pipeline, self.origin = lake, pipeline, origin
        self.registry = Registry(lake, tracking)
        model = ModelVersion(lake.pipeline, 0, str(AS_OF), "r", "c", (), (), {}, {})
        self.registry.register(model, "models:/m", origin)

    def judge(self, decision: str, reason: str = "") -> None:
        evidence = {"challenger": 1}
        ledger.record(
            self.lake, "promotion", str(AS_OF), decision, reason or decision,
            origin=self.origin, evidence=evidence,
        )  # fmt: skip

    def verdict(self) -> Verdict | None:
        return promotion.verdict_of(self.lake, str(AS_OF), self.origin.dag_run_id)

    def ask(self, said: Answer, verdict: Verdict | None = None) -> None:
        asked_about = verdict or self.verdict()
        assert asked_about is not None
        promotion.ask(self.lake, asked_about, str(AS_OF), self.origin)
        promotion.answer(self.lake, str(AS_OF), said, f"{said} by Ada.", self.origin)

    def carry_out(self) -> tuple[int | None, str]:
        # As the task begins.
        training_course.start(self.lake, self.pipeline, AS_OF, self.origin)
        return promotion.carry_out(self.lake, self.registry, self.pipeline, AS_OF, self.origin)

    def close(self) -> tuple[str, str]:
        return close(self.lake, self.registry, self.pipeline, AS_OF, self.origin)

    @property
    def champion(self) -> int | None:
        found = self.registry.champion_as_of(AS_OF.shift(1))
        return None if found is None else found.version


@pytest.fixture
def run(lake: Lake, make_pipeline: Callable[..., Pipeline], origin: Origin) -> Run:
    """A run of a pipeline that asks nobody."""
    return Run(lake, make_pipeline(), origin)


@pytest.fixture
def asking(lake: Lake, make_pipeline: Callable[..., Pipeline], origin: Origin) -> Run:
    """A run of a pipeline whose promotions a person must agree to, with a challenger accepted."""
    made = Run(lake, make_pipeline(promotion={"approval": "required"}), origin)
    made.judge("promoted")
    return made


def test_without_a_verdict_nothing_is_put_in_use(run: Run) -> None:
    assert run.verdict() is None
    assert run.carry_out() == (None, "No verdict was reached: look at the task that failed.")
    assert run.close()[0] == "failed"
    assert run.champion is None


def test_the_verdict_of_another_run_is_none_of_ours(run: Run, origin: Origin) -> None:
    run.judge("promoted")
    other = Origin("p_train", "another run", "t")
    carried_out = promotion.carry_out(run.lake, run.registry, run.pipeline, AS_OF, other)
    assert carried_out == (None, "No verdict was reached: look at the task that failed.")


def test_the_latest_verdict_is_carried_out_each_time(run: Run) -> None:
    for decision, champion in (("promoted", 1), ("refused", None), ("promoted", 1)):
        run.judge(decision, f"because {decision}")
        for _ in range(2):  # a retry does nothing else
            assert run.carry_out() == (champion, f"because {decision}")
            assert run.close() == (decision, f"because {decision}")
            assert run.champion == champion
    assert [item.decision for item in ledger.entries(run.lake, "training")] == [
        "started",
        "promoted",
        "refused",
        "promoted",
    ]


def test_whoever_closes_mends_an_alias_that_mlflow_did_not_take(run: Run) -> None:
    run.judge("promoted")
    client: Any = run.registry.tracking_or_fail().client
    client.set_registered_model_alias.side_effect = OSError("MLflow is away")
    with pytest.raises(OSError, match="away"):
        run.carry_out()
    client.set_registered_model_alias.side_effect = None
    client.set_registered_model_alias.reset_mock()
    assert run.close()[0] == "promoted"
    client.set_registered_model_alias.assert_called_once_with(run.lake.pipeline, "champion", "1")


def test_a_file_that_asks_nobody_any_more(asking: Run, make_pipeline: Any) -> None:
    asking.ask("expired")
    assert asking.close()[0] == "failed"
    asking.pipeline = make_pipeline()
    assert asking.carry_out()[0] == 1
    assert asking.close()[0] == "promoted"
    assert asking.champion == 1


def test_a_persons_no_counts_also_then(asking: Run, make_pipeline: Any) -> None:
    asking.ask("rejected")
    asking.pipeline = make_pipeline()
    told = "Version 1 was not approved. rejected by Ada."
    assert asking.carry_out() == (None, told)
    assert asking.close() == ("refused", told)
    assert asking.champion is None


def test_what_was_accepted_but_not_carried_out_is_a_failure(run: Run) -> None:
    run.judge("promoted")
    assert run.close() == ("failed", "Version 1 was accepted but not put in use.")


def test_a_task_that_outlives_its_run_promotes_nothing(run: Run) -> None:
    """Of a run that somebody marks, the last task may come before this one is ended."""
    training_course.start(run.lake, run.pipeline, AS_OF, run.origin)
    run.judge("promoted")
    assert run.close()[0] == "failed"
    with pytest.raises(TrainingError, match="must be under way to promote, got failed"):
        promotion.carry_out(run.lake, run.registry, run.pipeline, AS_OF, run.origin)
    assert run.champion is None
    assert run.carry_out()[0] == 1  # cleared
    assert run.close()[0] == "promoted"


def test_what_may_not_score_goes_before_later_partitions_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.judge("promoted")
    run.carry_out()
    run.judge("refused")
    monkeypatch.setattr(ledger, "record", create_autospec(ledger.record, side_effect=OSError))
    with pytest.raises(OSError):  # noqa: PT011
        run.close()
    assert run.champion is None


def test_nothing_is_put_in_use_unasked(asking: Run) -> None:
    told = "Nobody approved version 1 after its latest verdict: clear approve_promotion."
    assert asking.carry_out() == (None, told)
    assert asking.close()[0] == "failed"


@pytest.mark.parametrize(
    ("said", "champion", "outcome"),
    [
        ("approved", 1, ("promoted", "promoted")),
        ("rejected", None, ("refused", "Version 1 was not approved. rejected by Ada.")),
        ("expired", None, ("failed", "expired by Ada.")),
    ],
)
def test_each_answer(asking: Run, said: Answer, champion: int | None, outcome: Any) -> None:
    asking.ask(said)
    assert asking.carry_out() == (champion, outcome[1])
    assert asking.close() == outcome
    assert asking.champion == champion
    found = [(item.decision, item.superseded) for item in ledger.entries(asking.lake, "approval")]
    assert found == [("asked", False), (said, False)]


def test_a_person_may_be_asked_again_and_say_something_else(asking: Run) -> None:
    for said, champion in (("approved", 1), ("rejected", None), ("expired", None), ("approved", 1)):
        asking.ask(said)  # type: ignore[arg-type]
        asking.carry_out()
        asking.close()
        assert asking.champion == champion


def test_asking_again_takes_nothing_back_until_there_is_an_answer(asking: Run) -> None:
    asking.ask("approved")
    asking.carry_out()
    verdict = asking.verdict()
    assert verdict is not None
    promotion.ask(asking.lake, verdict, str(AS_OF), asking.origin)
    assert asking.champion == 1
    assert asking.close()[0] == "failed"  # the question was left open
    assert asking.champion is None


def test_a_yes_is_no_yes_to_a_later_verdict(asking: Run) -> None:
    asking.ask("approved")
    asking.carry_out()
    before = asking.verdict()
    asking.judge("promoted", "by another rule")
    # Killed before anybody was asked: the promotion of before does not stand for this verdict.
    assert asking.close() == (
        "failed",
        "Nobody approved version 1 after its latest verdict: clear approve_promotion.",
    )
    assert asking.champion is None
    asking.ask("approved", before)  # a late answer to the question of before
    assert asking.carry_out()[0] is None
    asking.ask("approved")
    assert asking.carry_out() == (1, "by another rule")
    assert asking.close() == ("promoted", "by another rule")


def test_a_training_begins_again_only_after_it_failed(asking: Run) -> None:
    def begin() -> list[str]:
        training_course.start(asking.lake, asking.pipeline, AS_OF, asking.origin)
        return [item.decision for item in ledger.entries(asking.lake, "training")]

    assert begin() == begin() == ["started"]
    asking.close()
    assert begin() == begin() == ["started", "failed", "started"]
    asking.ask("approved")
    asking.carry_out()
    asking.close()
    # build_training_set alone was cleared: the training has ended all the same.
    assert begin() == ["started", "failed", "started", "promoted"]
