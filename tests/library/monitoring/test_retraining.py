"""Retraining: persistence, cool-down, budget and calendar, replayed to the same answer."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from include.calendar.partitions import Frequency, Partition, parse
from include.errors import MonitoringError
from include.monitoring.retraining import (
    Observation,
    Outcome,
    RetrainingDecision,
    TrainingRecord,
    decide_retraining,
    hold_back,
)
from include.specification.sections.retraining import Retraining


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


NOW = quarter("2006-Q1")
POLICY = Retraining.model_validate(
    {"when": ["drift", "performance"], "persist": "2 of 3", "cooldown": 2, "budget": "2 in 8"}
)


def seen(back: int, drift: bool = True, drop: bool = False, **other: Any) -> Observation:
    return Observation(
        NOW.shift(-back),
        "drift" if drift else "no drift",
        "drop" if drop else "no drop",
        **other,
    )


def calm(*back: int) -> list[Observation]:
    return [seen(item, drift=False) for item in back]


def trained(back: int, outcome: Any = "promoted") -> TrainingRecord:
    return TrainingRecord(NOW.shift(-back), outcome)


# Long ago, so that nothing after it made the first champion.
FIRST = TrainingRecord(NOW.shift(-40), "promoted")


def decide(
    observations: list[Observation] | None = None,
    trainings: list[TrainingRecord] | None = None,
    policy: Retraining = POLICY,
    *,
    first: TrainingRecord | None = FIRST,
    **changes: Any,
) -> RetrainingDecision:
    policy = policy.model_copy(update=changes)
    past = [*([first] if first else []), *(trainings or [])]
    return decide_retraining(policy, NOW, observations or [], past)


class TestPersistence:
    def test_two_of_three_call(self) -> None:
        decision = decide([seen(0), seen(2)])
        assert decision == RetrainingDecision(
            True, "drift in 2 of the latest 3 partitions", ("drift",), None
        )

    def test_one_of_three_does_not(self) -> None:
        decision = decide([seen(0), *calm(1, 2), seen(3), seen(4)])
        assert decision == RetrainingDecision(
            False,
            "drift in 1 of the latest 3 partitions, 2 needed; "
            "performance in 0 of the latest 3 partitions, 2 needed",
            (),
            None,
        )

    def test_triggers_do_not_add_up_but_are_all_named(self) -> None:
        assert not decide([seen(0), seen(1, drift=False, drop=True)]).retrain
        both = decide([seen(0, drop=True), seen(1, drop=True)])
        assert both.triggers == ("drift", "performance")

    def test_cannot_tell_and_no_observation_did_not_fire(self) -> None:
        unsure = Observation(NOW, "cannot tell", "cannot tell")
        assert not decide([unsure, seen(1)]).retrain
        assert not decide([]).retrain

    def test_what_was_never_measured_is_told(self) -> None:
        def unsure(back: int, **why: str) -> Observation:
            return Observation(NOW.shift(-back), "no drift", "cannot tell", untold=why)

        why = "no labels matured to judge by"
        never = [unsure(0, performance=why), unsure(1, performance="3 rows"), unsure(2)]
        assert decide(never).reason == (
            "drift in 0 of the latest 3 partitions, 2 needed; performance not measured in the "
            f"latest 3 partitions (2006-Q1: {why}), 2 needed"
        )
        assert decide([*calm(0), *never[1:]]).reason.endswith(
            "performance in 0 of the latest 3 partitions, 2 needed, 2 not measured (2005-Q4: 3 "
            "rows)"
        )
        assert decide([seen(0), *calm(1)], when=("drift",)).reason == (
            "drift in 1 of the latest 3 partitions, 2 needed, 1 not measured (nothing was observed)"
        )
        assert decide([], when=("drift",)).reason == (
            "drift not measured in the latest 3 partitions (nothing was observed), 2 needed"
        )

    def test_of_two_observations_of_a_partition_the_one_that_tells_counts(self) -> None:
        twice = [Observation(NOW, "cannot tell", "no drop", untold={"drift": "2 rows"}), *calm(0)]
        told = {decide([*o, *calm(1, 2)]).reason for o in itertools.permutations(twice)}
        assert told == {
            "drift in 0 of the latest 3 partitions, 2 needed; performance in 0 of the latest 3 "
            "partitions, 2 needed"
        }

    def test_new_classes_call_like_any_other_trigger(self) -> None:
        def told(back: int, new_class: Any) -> Observation:
            return seen(back, drift=False, new_class=new_class)

        when = ("new_class",)
        news = [told(0, "new class"), told(1, "cannot tell"), told(2, "no new class")]
        assert decide(news, when=when).reason == (
            "new_class in 1 of the latest 3 partitions, 2 needed, 1 not measured (2005-Q4: cannot "
            "tell)"
        )
        decision = decide([*news, told(2, "new class")], when=when)
        assert (decision.retrain, decision.triggers) == (True, ("new_class",))
        assert decision.reason == "new_class in 2 of the latest 3 partitions"
        assert not decide([seen(0), seen(1)], when=when).retrain

    def test_duplicates_count_once_and_firing_wins(self) -> None:
        assert not decide([seen(0), seen(0), seen(0)]).retrain
        twice = [seen(0), seen(0, drift=False), seen(1)]
        assert all(decide(list(order)).retrain for order in itertools.permutations(twice))

    def test_the_future_is_ignored(self) -> None:
        assert not decide([seen(0), seen(-1), seen(-2)]).retrain
        assert decide([seen(0), seen(1)], [trained(-1), trained(-2)]).retrain

    def test_only_asked_triggers_count(self) -> None:
        assert not decide([seen(0), seen(1)], when=("performance",)).retrain
        silent = decide([seen(0), seen(1)], when=())
        assert silent.reason == "no trigger is set"


class TestFreeze:
    def test_a_yes_becomes_a_no_that_says_so(self) -> None:
        yes = decide([seen(0), seen(1)])
        no = hold_back(yes, "frozen by Ada")
        assert (no.retrain, no.blocked_by, no.triggers) == (False, "freeze", yes.triggers)
        assert no.reason == f"{yes.reason}; blocked by a freeze: frozen by Ada"

    def test_everything_else_stays(self) -> None:
        yes, no = decide([seen(0), seen(1)]), decide([seen(0), seen(1)], when=())
        assert hold_back(yes, "") == yes
        assert hold_back(no, "frozen by Ada") == no


class TestCoolDown:
    @pytest.mark.parametrize(("back", "retrain"), [(1, False), (2, False), (3, True)])
    def test_partitions_that_must_pass(self, back: int, retrain: bool) -> None:
        decision = decide([seen(0), seen(1)], [trained(back)])
        assert decision.retrain == retrain
        assert decision.blocked_by == (None if retrain else "cooldown")
        assert decision.triggers == ("drift",)

    def test_reason(self) -> None:
        assert decide([seen(0), seen(1)], [trained(1)]).reason == (
            "drift in 2 of the latest 3 partitions; blocked by the cool-down: "
            "trained as of 2005-Q4, the next may be as of 2006-Q3"
        )

    @pytest.mark.parametrize(
        ("outcome", "held_back"),
        [("requested", 2), ("promoted", 2), ("refused", 1), ("failed", 0), ("withdrawn", 0)],
    )
    def test_how_many_partitions_an_outcome_holds_back(self, outcome: str, held_back: int) -> None:
        retrain = [
            decide([seen(0), seen(1)], [trained(back, outcome)]).retrain for back in (1, 2, 3)
        ]
        assert retrain == [back > held_back for back in (1, 2, 3)]

    @pytest.mark.parametrize(("cooldown", "held_back"), [(0, 0), (1, 0), (3, 1), (4, 2), (5, 2)])
    def test_half_of_it_after_a_refused_training_rounded_down(
        self, cooldown: int, held_back: int
    ) -> None:
        for back in (1, 2, 3):
            decision = decide([seen(0), seen(1)], [trained(back, "refused")], cooldown=cooldown)
            assert decision.retrain == (back > held_back)
        decision = decide([seen(0), seen(1)], [trained(1, "refused")], cooldown=4)
        assert decision.reason.endswith(
            "blocked by the cool-down: trained as of 2005-Q4 and refused, which counts half, the "
            "next may be as of 2006-Q3"
        )

    def test_an_earlier_promotion_may_hold_back_longer_than_a_refused_training(self) -> None:
        decision = decide([seen(0), seen(1)], [trained(3), trained(1, "refused")], cooldown=5)
        assert (decision.retrain, decision.blocked_by) == (False, "cooldown")
        assert "trained as of 2005-Q2, the next may be as of 2006-Q4" in decision.reason

    def test_the_training_of_the_first_champion_begins_none(self) -> None:
        assert decide([seen(0), seen(1)], [trained(1)], first=None).retrain
        refused_before = [trained(2, "refused"), trained(1)]
        assert decide([seen(0), seen(1)], refused_before, first=None).retrain
        assert not decide([seen(0), seen(1)], [trained(1, "requested")], first=None).retrain
        second = [trained(2), trained(1)]
        assert decide([seen(0), seen(1)], second, first=None).blocked_by == "cooldown"

    def test_no_cool_down(self) -> None:
        assert decide([seen(0), seen(1)], [trained(1)], cooldown=0).retrain

    def test_rerun_ignores_its_own_record(self) -> None:
        before = decide([seen(0), seen(1)])
        assert decide([seen(0), seen(1)], [trained(0)]) == before


class TestBudget:
    def test_full_budget_blocks(self) -> None:
        decision = decide([seen(0), seen(1)], [trained(3), trained(7)])
        assert (decision.retrain, decision.blocked_by) == (False, "budget")
        assert decision.reason.endswith(
            "blocked by the budget: 2 trainings in 8 partitions, 2 allowed"
        )

    def test_old_failed_and_repeated_trainings_do_not(self) -> None:
        for trainings in (
            [trained(3), trained(8)],
            [trained(3), trained(5, "failed")],
            [trained(3), trained(3, "requested")],
        ):
            assert decide([seen(0), seen(1)], trainings).retrain

    def test_a_refused_training_spends_half(self) -> None:
        refused = [trained(back, "refused") for back in (3, 4, 5, 6)]
        assert decide([seen(0), seen(1)], refused[:3]).retrain
        decision = decide([seen(0), seen(1)], refused)
        assert (decision.retrain, decision.blocked_by) == (False, "budget")
        assert decision.reason.endswith(
            "blocked by the budget: 4 trainings in 8 partitions, 4 of them refused, which count "
            "half, 2 allowed"
        )
        assert decide([seen(0), seen(1)], [trained(3), refused[1]]).retrain
        assert not decide([seen(0), seen(1)], [trained(3), *refused[1:3]]).retrain

    def test_of_several_records_about_a_partition_the_dearest_counts(self) -> None:
        twice = [trained(3, "refused"), trained(3), trained(5, "refused")]
        assert all(
            decide([seen(0), seen(1)], list(o)).retrain for o in itertools.permutations(twice)
        )
        dear = [*twice, trained(4, "refused")]
        assert not any(
            decide([seen(0), seen(1)], list(o)).retrain for o in itertools.permutations(dear)
        )

    def test_the_training_of_the_first_champion_spends_nothing(self) -> None:
        assert decide([seen(0), seen(1)], [trained(3), trained(7)], first=None).retrain
        assert not decide(
            [seen(0), seen(1)], [trained(3), trained(5), trained(7)], first=None
        ).retrain

    def test_cool_down_is_named_first(self) -> None:
        assert decide([seen(0), seen(1)], [trained(1), trained(4)]).blocked_by == "cooldown"


class TestCalendar:
    def test_due_after_so_many_partitions(self) -> None:
        policy = Retraining(every=4, budget="8 in 8")
        assert decide(trainings=[trained(4)], policy=policy).triggers == ("every",)
        early = decide(trainings=[trained(3), trained(9)], policy=policy)
        assert early.reason == "the last training was as of 2005-Q2, the next is due as of 2006-Q2"

    def test_due_without_any_training(self) -> None:
        decision = decide(policy=Retraining(every=4), first=None)
        assert decision.retrain
        assert decision.reason == ("there was no training yet, one is due every 4 partitions")


class TestFirstTraining:
    def test_no_champion_calls_at_once(self) -> None:
        decision = decide([seen(0, drift=False, has_champion=False)])
        assert (decision.retrain, decision.triggers) == (True, ("no champion",))
        assert decision.reason == "there is no champion yet"

    def test_it_and_refused_trainings_are_trainings_to_the_calendar(self) -> None:
        policy = Retraining(every=4, budget="8 in 8")
        for only in (trained(2), trained(2, "refused")):
            decision = decide(trainings=[only], policy=policy, first=None)
            assert decision.reason.startswith("the last training was as of 2005-Q3")

    def test_it_only_matters_now_and_keeps_the_cool_down(self) -> None:
        assert not decide([seen(1, drift=False, has_champion=False)]).retrain
        without = [seen(0, drift=False, has_champion=False)]
        assert decide(without, [trained(1, "refused")]).blocked_by == "cooldown"
        assert decide(without, [trained(1, "failed")]).retrain


class TestReplay:
    def test_order_does_not_matter(self) -> None:
        observations = [seen(back, drift=back % 2 == 0, drop=back == 1) for back in range(4)]
        trainings = [trained(3), trained(5, "refused")]
        answers = {
            decide(list(left), list(right), first=None)
            for left in itertools.permutations(observations)
            for right in itertools.permutations(trainings)
        }
        assert len(answers) == 1

    @pytest.mark.parametrize(
        ("outcome", "budget", "quarters", "trained_as_of"),
        [
            ("promoted", "4 in 8", 12, ["2004-Q2", "2005-Q1", "2005-Q4", "2006-Q3"]),
            # Every other quarter, while the budget lasts.
            ("refused", "1 in 8", 16, ["2004-Q2", "2004-Q4", "2006-Q2", "2006-Q4"]),
        ],
    )
    def test_a_run_of_drift(
        self, outcome: Outcome, budget: str, quarters: int, trained_as_of: list[str]
    ) -> None:
        trainings = [FIRST]
        start = quarter("2004-Q1")
        observations = [Observation(start.shift(i), "drift", "no drop") for i in range(quarters)]
        for observation in observations:
            decision = decide_retraining(
                POLICY.model_copy(update={"budget": budget}),
                observation.partition,
                observations,
                trainings,
            )
            if decision.retrain:
                trainings.append(TrainingRecord(observation.partition, outcome))
        assert [str(item.partition) for item in trainings[1:]] == trained_as_of


def test_unknown_words_and_frequencies_are_errors() -> None:
    with pytest.raises(MonitoringError, match="drift of 2006-Q1: must be one of"):
        decide([Observation(NOW, "maybe", "no drop")])  # type: ignore[arg-type]
    with pytest.raises(MonitoringError, match="new_class of 2006-Q1: must be one of"):
        decide([seen(0, new_class="drop")])
    with pytest.raises(MonitoringError, match="training as of 2005-Q4: must be one of"):
        decide(trainings=[trained(1, "done")])
    monthly = parse("2005-12", Frequency.MONTHLY)
    with pytest.raises(MonitoringError, match="partition 2005-12: must be quarterly"):
        decide(trainings=[TrainingRecord(monthly, "promoted")])


def test_round_trips_through_json() -> None:
    for item in (seen(1), trained(2), decide([seen(0), seen(1)], [trained(1)])):
        document = json.loads(json.dumps(item.to_dict()))
        assert type(item).from_dict(document) == item
    before = seen(1).to_dict()
    del before["new_class"], before["untold"]
    assert Observation.from_dict(before) == seen(1)
