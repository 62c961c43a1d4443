"""What people do by hand: once, on record, and in order with what the gate does at that moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import create_autospec

import pytest

from include.calendar.partitions import Frequency, parse
from include.errors import HeldBackError, RegistryError, TrainingError
from include.registry import interventions, succession
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.reports.decisions_page import decisions, render_decisions
from include.reports.history import history
from include.specification.pipeline import Pipeline
from include.steps import promotion, training_course
from include.steps.interventions import Done, freeze, refuse, unfreeze
from include.steps.rollback import Handover, promote
from include.steps.training import close
from include.storage import ledger
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from tests.library.steps.test_rollback import LATER, TRAIN, World

BY_HAND = Origin("platform_freeze", "manual__1", "freeze")
AS_OF = parse("2005-Q4", Frequency.QUARTERLY)
CLOSING = replace(TRAIN, dag_run_id="train_4")


class Hand(World):
    """The same world, in which people decide about versions; a fourth one waits for its verdict."""

    def __init__(self, lake: Lake, pipeline: Pipeline, version: ModelVersion) -> None:
        super().__init__(lake, pipeline, version)
        made = replace(version, pipeline=lake.pipeline, partition=str(AS_OF), run_id="train_4")
        self.challenger = self.registry.register(made, "models:/m", CLOSING).version
        self.score("2005-Q4", 3)
        self._asked: dict[Origin, datetime] = {}

    def asked_at(self, run: Origin) -> datetime:
        """When a run was triggered: it stays that also if it is cleared."""
        return self._asked.setdefault(run, datetime.now(UTC).replace(tzinfo=None))

    def judge(self, decision: str = "promoted", champion: int | None = 3) -> None:
        seen = interventions.seen(self.registry.events())
        evidence = {"challenger": self.challenger, "champion": champion, **seen}
        ledger.record(self.lake, "promotion", str(AS_OF), decision, f"{decision}: so it is",
                      origin=CLOSING, evidence=evidence)  # fmt: skip

    def carry_out(self) -> tuple[int | None, str]:
        return promotion.carry_out(self.lake, self.registry, self.pipeline, AS_OF, CLOSING)

    def close(self) -> tuple[str, str]:
        return close(self.lake, self.registry, self.pipeline, AS_OF, CLOSING)

    def give_up(self) -> None:
        training_course.give_up(self.lake, self.pipeline, str(AS_OF), CLOSING)

    def freeze(self, run: str = "manual__1", why: str = "an audit") -> Done:
        origin = replace(BY_HAND, dag_run_id=run)
        return freeze(self.lake, Registry(self.lake), why, "Ada", self.asked_at(origin), origin)

    def unfreeze(self, run: str = "manual__7") -> Done:
        origin = Origin("platform_unfreeze", run, "unfreeze")
        at, why = self.asked_at(origin), "the audit is over"
        return unfreeze(self.lake, Registry(self.lake), why, "Bob", at, origin)

    def refuse(self, version: int, run: str = "manual__8") -> Done:
        origin = Origin("platform_refuse", run, "refuse")
        at, why = self.asked_at(origin), "it is unfair"
        return refuse(self.lake, Registry(self.lake), version, why, "Ada", at, origin)

    def promote(self, version: int, run: str = "manual__9", asked_at: datetime = LATER) -> Handover:
        origin = Origin("platform_promote", run, "promote")
        return promote(
            self.lake, self.registry, self.pipeline, version, "we need it", "Ada", asked_at, origin
        )

    def entries(self) -> list[tuple[str, str, str]]:
        found = ledger.entries(self.lake, "freeze", "by_hand")
        return [(entry.partition, entry.decision, entry.reason) for entry in found]

    def events(self) -> list[tuple[str, int]]:
        return [(row["event"], row["version"]) for row in self.registry.events()]

    @property
    def champion(self) -> int | None:
        return succession.effective(self.registry.events(), None)

    def interrupt(self, monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any]) -> None:
        """Let something else be committed between the look and the commit of the next event."""
        real, left = Registry.add, [deed]

        def add(registry: Registry, make: Any, origin: Origin) -> bool:
            def late(held: list[Event]) -> Event | None:
                event: Event | None = make(held)
                if left:
                    left.pop()()
                return event

            return real(registry, late if left else make, origin)

        monkeypatch.setattr(Registry, "add", add)


@pytest.fixture
def hand(lake: Lake, make_pipeline: Callable[..., Pipeline], version: ModelVersion) -> Hand:
    return Hand(lake, make_pipeline(), version)


@pytest.fixture
def asking(lake: Lake, make_pipeline: Callable[..., Pipeline], version: ModelVersion) -> Hand:
    """A pipeline whose promotions a person must agree to."""
    return Hand(lake, make_pipeline(promotion={"approval": "required"}), version)


FROZEN = "Version 3 is frozen: nothing takes its place. Ada: an audit"


class TestFreeze:
    def test_who_froze_it_since_when_and_why_is_on_record_until_it_ends(self, hand: Hand) -> None:
        assert hand.freeze() == Done(FROZEN, True)
        assert interventions.freeze_told(hand.registry.events()).endswith("UTC by Ada: an audit")
        assert "the champion, version 3, is frozen since" in render_decisions(hand.lake)
        assert hand.unfreeze() == Done("Version 3 is not frozen any more. Bob: the audit is over",
                                       True)  # fmt: skip
        assert "is frozen since" not in render_decisions(hand.lake)
        assert hand.entries() == [
            ("2005-Q4", "frozen", FROZEN),
            ("2005-Q4", "unfrozen", "Version 3 is not frozen any more. Bob: the audit is over"),
        ]
        told = [(item.what, item.outcome, item.who) for item in history(hand.lake)]
        assert told[-2:] == [("freeze", "frozen", "Ada"), ("freeze", "unfrozen", "Bob")]
        told = [(item.about, item.decision, item.champion) for item in decisions(hand.lake)]
        assert told[-2:] == [("freeze", "frozen", "v3"), ("freeze", "unfrozen", "v3")]

    def test_twice_changes_nothing_and_says_so(self, hand: Hand) -> None:
        assert hand.unfreeze("manual__0") == Done(
            "The champion is not frozen: nothing changed.", False
        )
        hand.freeze()
        before = hand.events(), hand.entries()
        again = hand.freeze("manual__2", "another audit")
        assert not again.changed
        assert again.told.startswith("The champion, version 3, is frozen since 20")
        assert again.told.endswith("UTC by Ada: an audit: nothing changed.")
        assert (hand.events(), hand.entries()) == before

    def test_a_run_that_is_cleared_after_it_ended_freezes_nothing(self, hand: Hand) -> None:
        hand.freeze()
        hand.unfreeze()
        assert hand.freeze() == Done(f"{FROZEN}. Somebody took that back since.", True)
        assert not interventions.freeze_told(hand.registry.events())

    def test_runs_of_one_name_are_told_apart_by_what_they_do(self, hand: Hand) -> None:
        """Somebody names both runs after the audit, and clears the first one later."""
        hand.freeze("audit")
        hand.unfreeze("audit")
        before = hand.events(), hand.entries()
        assert hand.freeze("audit").told == f"{FROZEN}. Somebody took that back since."
        assert (hand.events(), hand.entries()) == before

    @pytest.mark.parametrize("run", ["manual__1", "manual__2"])
    def test_killed_before_the_ledger_the_same_run_or_the_next_deed_finishes_it(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch, run: str
    ) -> None:
        broken = create_autospec(ledger.record, side_effect=OSError)
        monkeypatch.setattr(ledger, "record", broken)
        with pytest.raises(OSError):  # noqa: PT011
            hand.freeze()
        monkeypatch.undo()
        assert hand.entries() == []
        assert hand.freeze(run).changed == (run == "manual__1")
        assert hand.entries() == [("2005-Q4", "frozen", FROZEN)]
        (entry,) = ledger.entries(hand.lake, "freeze")
        assert (entry.dag_id, entry.dag_run_id) == ("platform_freeze", "manual__1")

    def test_killed_at_the_moment_of_another_deed_any_later_one_finishes_it(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the latest one no more when somebody looks next."""

        def killed() -> None:
            with monkeypatch.context() as broken:
                failing = create_autospec(ledger.record, side_effect=OSError)
                broken.setattr(ledger, "record", failing)
                with pytest.raises(OSError):  # noqa: PT011
                    hand.freeze()

        hand.interrupt(monkeypatch, killed)
        assert hand.refuse(2).changed
        assert {decision for _, decision, _ in hand.entries()} == {"frozen", "refused"}

    def test_without_a_champion(self, lake: Lake) -> None:
        with pytest.raises(RegistryError, match=r"to be frozen, got none\. Trigger .*_train first"):
            freeze(lake, Registry(lake), "why", "Ada", LATER, BY_HAND)

    def test_nobody_puts_another_version_in_use(self, hand: Hand) -> None:
        hand.freeze()
        before = hand.events()
        expected = r"must not be frozen .*by Ada: an audit\. Unfreeze it first \(platform_unfreeze"
        for deed in (hand.roll_back, lambda: hand.promote(hand.challenger)):
            with pytest.raises(RegistryError, match=expected):
                deed()
        assert hand.events() == before
        hand.unfreeze()
        assert hand.roll_back().version == 2

    def test_nor_at_the_moment_at_which_it_is_frozen(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hand.interrupt(monkeypatch, hand.freeze)
        with pytest.raises(RegistryError, match="must not be frozen to put another version in use"):
            hand.roll_back()
        assert hand.champion == 3

    def test_a_training_ends_as_refused_and_says_why(self, hand: Hand) -> None:
        hand.judge()
        hand.freeze()
        version, reason = hand.carry_out()
        assert version is None
        assert reason.startswith("refused: the champion, version 3, is frozen since ")
        assert reason.endswith("by Ada: an audit; the gate: promoted: so it is")
        assert hand.carry_out() == (None, reason)  # tried again
        assert hand.close() == ("refused", reason)
        entry = ledger.latest(hand.lake, "promotion", str(AS_OF), CLOSING.dag_run_id)
        assert entry is not None
        assert (entry.decision, entry.reason) == ("refused", reason)
        frozen = {"freeze": "frozen/3"}
        assert entry.evidence == {"challenger": hand.challenger, "champion": 3, **frozen}
        assert (hand.champion, hand.alias) == (3, "3")

    def test_after_it_has_ended_a_new_verdict_promotes(self, hand: Hand) -> None:
        hand.judge()
        hand.freeze()
        hand.carry_out()
        hand.unfreeze()
        assert hand.carry_out()[0] is None  # cleared alone: the verdict of then stands
        hand.judge()
        assert hand.carry_out() == (hand.challenger, "promoted: so it is")
        assert hand.close()[0] == "promoted"

    def test_a_promotion_that_comes_second_is_refused(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The freeze is committed between the look of the promotion and its commit."""
        hand.judge()
        hand.interrupt(monkeypatch, hand.freeze)
        version, reason = hand.carry_out()
        assert version is None
        assert "is frozen since" in reason
        assert hand.champion == 3
        assert hand.close() == ("refused", reason)

    def test_a_freeze_that_comes_second_holds_whom_it_finds(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hand.judge()
        hand.interrupt(monkeypatch, hand.carry_out)
        assert hand.freeze().told == FROZEN.replace("3", "4")
        assert (hand.champion, hand.alias) == (4, "4")
        assert hand.carry_out()[0] == 4  # tried again, its own promotion stands
        assert hand.close()[0] == "promoted"

    def test_a_champion_that_is_frozen_stays_whatever_its_training_says_when_cleared(
        self, hand: Hand, version: ModelVersion
    ) -> None:
        hand.freeze()
        origin = replace(TRAIN, dag_run_id="train_3")
        assert hand.registry.take_back(parse("2005-Q3", Frequency.QUARTERLY), "no", origin) == ()
        other = replace(TRAIN, dag_run_id="train_2")
        assert hand.registry.take_back(parse("2005-Q2", Frequency.QUARTERLY), "no", other) == (2,)
        with pytest.raises(HeldBackError, match="is frozen since"):
            hand.train(version, "2005-Q3", "train_3", fit="from corrected data")
        assert hand.champion == 3
        hand.unfreeze()
        assert hand.registry.take_back(parse("2005-Q3", Frequency.QUARTERLY), "no", origin) == (3,)

    @pytest.mark.parametrize(
        ("look", "deed"),
        [
            *(("before", "close"), ("meanwhile", "carry_out"), ("meanwhile", "give_up")),
            ("after", "carry_out"),
        ],
    )
    def test_and_after_it_was_unfrozen_until_the_next_verdict(
        self, hand: Hand, look: str, deed: str
    ) -> None:
        """Its training is cleared and comes to a no, and a task of it acts only afterwards."""
        hand.judge()
        hand.carry_out()
        if look == "before":
            hand.judge("refused")
        hand.freeze()
        if look == "meanwhile":
            hand.judge("refused")
        hand.unfreeze()
        if look == "after":
            hand.judge("refused")
        getattr(hand, deed)()
        assert hand.champion == (3 if look == "after" else 4)
        hand.judge("refused")
        hand.close()
        assert hand.champion == 3

    def test_nor_does_another_version_of_its_own_training_take_its_place_then(
        self, hand: Hand
    ) -> None:
        hand.judge()
        hand.carry_out()
        hand.freeze()
        made = replace(hand.registry.get(hand.challenger), run_id="cleared")
        hand.challenger = hand.registry.register(made, "models:/m", CLOSING).version
        hand.judge()
        assert hand.carry_out()[0] is None
        hand.unfreeze()
        assert (hand.carry_out()[0], hand.close()[0]) == (None, "refused")
        assert (hand.champion, hand.alias) == (4, "4")

    @pytest.mark.parametrize("is_frozen", [True, False])
    def test_a_no_of_a_person_counts_by_when_it_was_said(
        self, asking: Hand, is_frozen: bool
    ) -> None:
        def ask(said: promotion.Answer) -> None:
            verdict = promotion.verdict_of(asking.lake, str(AS_OF), CLOSING.dag_run_id)
            assert verdict is not None
            promotion.ask(asking.lake, verdict, str(AS_OF), CLOSING)
            promotion.answer(asking.lake, str(AS_OF), said, "Bob", CLOSING)

        asking.judge()
        ask("approved")
        asking.carry_out()
        asking.freeze()
        if is_frozen:
            ask("rejected")
        asking.unfreeze()
        if not is_frozen:
            ask("rejected")
        asking.carry_out()
        assert asking.champion == (4 if is_frozen else 3)

    def test_nobody_is_asked(self, asking: Hand) -> None:
        asking.judge()
        verdict = promotion.verdict_of(asking.lake, str(AS_OF), CLOSING.dag_run_id)
        assert promotion.unasked(asking.registry, verdict) == ""
        asking.freeze()
        assert "is frozen since" in promotion.unasked(asking.registry, verdict)


class TestRefuse:
    def test_it_is_not_promoted_any_more(self, hand: Hand) -> None:
        hand.judge()
        told = "Version 4 is refused: it is not promoted, and not gone back to. Ada: it is unfair"
        assert hand.refuse(4) == Done(told, True)
        assert hand.entries() == [("2005-Q4", "refused", told)]
        version, reason = hand.carry_out()
        assert version is None
        assert reason.startswith("refused: version 4 was refused on ")
        assert hand.close() == ("refused", reason)
        assert hand.champion == 3

    def test_nor_at_the_moment_at_which_it_is_refused(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hand.judge()
        hand.interrupt(monkeypatch, lambda: hand.refuse(4))
        assert "version 4 was refused on" in hand.carry_out()[1]
        assert hand.champion == 3

    def test_a_version_that_is_promoted_at_that_moment_is_in_use(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hand.judge()
        hand.interrupt(monkeypatch, hand.carry_out)
        with pytest.raises(RegistryError, match=r"must not be in use, got 4, the champion\. Roll"):
            hand.refuse(4)
        assert hand.champion == 4

    @pytest.mark.parametrize("said", ["approved", "expired", None])
    def test_one_that_waits_for_an_answer_ends_as_refused(
        self, asking: Hand, said: promotion.Answer | None
    ) -> None:
        asking.judge()
        verdict = promotion.verdict_of(asking.lake, str(AS_OF), CLOSING.dag_run_id)
        assert verdict is not None
        promotion.ask(asking.lake, verdict, str(AS_OF), CLOSING)
        asking.refuse(4)
        if said is not None:
            promotion.answer(asking.lake, str(AS_OF), said, f"{said} by Bob.", CLOSING)
        if said == "approved":
            assert asking.carry_out()[0] is None
        assert asking.close()[0] == "refused"
        assert asking.champion == 3

    def test_it_is_not_gone_back_to(self, hand: Hand) -> None:
        hand.refuse(2)
        with pytest.raises(RegistryError, match=r"must not be refused, got: version 2 was refused"):
            hand.roll_back(2)
        assert hand.roll_back().version == 1

    def test_nor_when_the_version_after_it_is_taken_back(self, hand: Hand) -> None:
        hand.refuse(2)
        third = replace(TRAIN, dag_run_id="train_3")
        hand.registry.take_back(parse("2005-Q3", Frequency.QUARTERLY), "no", third)
        assert (hand.champion, hand.alias) == (1, "1")

    def test_twice_changes_nothing_and_says_so(self, hand: Hand) -> None:
        hand.refuse(2)
        before = hand.events(), hand.entries()
        again = hand.refuse(2, "manual__2")
        assert not again.changed
        assert again.told.startswith("Version 2 was refused on 20")
        assert again.told.endswith("by Ada: it is unfair: nothing changed.")
        assert (hand.events(), hand.entries()) == before

    def test_what_cannot_be_refused(self, hand: Hand) -> None:
        before = hand.events()
        with pytest.raises(RegistryError, match=r"got 3, the champion\. Roll back first"):
            hand.refuse(3)
        with pytest.raises(RegistryError, match="version 9 must be registered, got none"):
            hand.refuse(9)
        assert hand.events() == before

    def test_a_promotion_by_hand_takes_it_back(self, hand: Hand) -> None:
        hand.refuse(2)
        assert hand.promote(2).version == 2
        assert (hand.champion, hand.alias) == (2, "2")
        assert hand.refuse(2) == Done(
            "Version 2 is refused: it is not promoted, and not gone back to. Ada: it is unfair. "
            "Somebody took that back since.",
            True,
        )
        hand.roll_back(3)
        assert hand.refuse(2, "manual__2").changed


class TestReprocessing:
    """Version 3 is in use by hand, and its own training, repeated, has made version 5."""

    @pytest.fixture
    def scores(self, hand: Hand, version: ModelVersion) -> Callable[[], int]:
        hand.judge()
        hand.carry_out()
        hand.roll_back(3)
        hand.train(version, "2005-Q3", "train_3", fit="from corrected data")
        kept = hand.registry.get(3)
        return lambda: hand.registry.successor(kept, AS_OF.shift(1)).version

    def test_a_version_that_was_refused_scores_nothing(
        self, hand: Hand, scores: Callable[[], int]
    ) -> None:
        assert scores() == 5
        hand.refuse(5)
        assert scores() == 3

    def test_nor_does_one_that_was_taken_back(self, hand: Hand, scores: Callable[[], int]) -> None:
        third = replace(TRAIN, dag_run_id="train_3")
        hand.registry.take_back(parse("2005-Q3", Frequency.QUARTERLY), "no", third)
        assert scores() == 3

    def test_a_champion_that_is_frozen_goes_on(self, hand: Hand, scores: Callable[[], int]) -> None:
        hand.freeze()
        assert scores() == 3
        hand.unfreeze()
        assert scores() == 5


class TestAskedBefore:
    """A run that waited, or was skipped and is cleared, ends nothing that came after it."""

    def test_a_freeze_of_later_stays(self, hand: Hand) -> None:
        assert not hand.unfreeze("early").changed
        hand.freeze()
        before = hand.events(), hand.entries()
        with pytest.raises(
            RegistryError, match=r"got version 3, frozen since .* Ada: an audit\. L"
        ):
            hand.unfreeze("early")
        assert (hand.events(), hand.entries()) == before
        assert not hand.freeze("early_too").changed
        hand.unfreeze()
        with pytest.raises(
            RegistryError, match=r"got version 3, unfrozen since .* by Bob: the aud"
        ):
            hand.freeze("early_too")
        assert not interventions.freeze_told(hand.registry.events())

    def test_a_version_that_was_promoted_by_hand_later_is_not_refused(self, hand: Hand) -> None:
        hand.refuse(4)
        assert not hand.refuse(4, "early").changed
        hand.promote(4)
        hand.roll_back(3)
        with pytest.raises(
            RegistryError, match=r"got version 4, restored since .* Ada: we need it"
        ):
            hand.refuse(4, "early")
        assert not interventions.refusal_told(hand.registry.events(), 4)

    def test_nor_is_one_promoted_that_was_refused_later(self, hand: Hand) -> None:
        at = hand.asked_at(BY_HAND)
        hand.refuse(4)
        with pytest.raises(
            RegistryError, match=r"got version 4, refused since .* Ada: it is unfai"
        ):
            hand.promote(4, asked_at=at)
        assert hand.promote(4).changed


class TestPromote:
    def test_a_version_that_the_gate_refused_is_in_use_from_the_next_partition_on(
        self, hand: Hand
    ) -> None:
        hand.judge("refused")
        hand.carry_out()
        hand.close()
        done = hand.promote(4)
        assert (done.version, done.instead_of, done.changed) == (4, 3, True)
        assert done.told == (
            "Version 4 is in use by hand instead of version 3, from 2006-Q1 on. Its verdict had "
            'been "refused: so it is". Ada: we need it'
        )
        assert hand.champions("2005-Q4", "2006-Q1", "2007-Q1") == [3, 4, 4]
        assert hand.alias == "4"
        (entry,) = ledger.entries(hand.lake, "by_hand")
        assert (entry.decision, entry.reason) == ("promoted", done.told)
        assert entry.evidence == {"by": "Ada", "champion": 3, "restored": 4}
        # How its training ended stays on record.
        assert ledger.training_states(hand.lake)["2005-Q4"] == "refused"
        assert [(item.what, item.who) for item in history(hand.lake)][-1] == ("by_hand", "Ada")
        assert decisions(hand.lake)[-1].champion == "v3 -> v4"

    def test_of_one_trained_as_of_a_later_partition_than_was_scored(
        self, hand: Hand, version: ModelVersion
    ) -> None:
        made = replace(version, pipeline=hand.lake.pipeline, partition="2006-Q2", run_id="late")
        late = hand.registry.register(made, "models:/m", replace(TRAIN, dag_run_id="late"))
        assert "from 2006-Q3 on. It was never judged. Ada" in hand.promote(late.version).told
        assert hand.champions("2006-Q1", "2006-Q2", "2006-Q3") == [3, 3, 5]

    def test_twice_changes_nothing_and_says_so(self, hand: Hand) -> None:
        hand.promote(4)
        before = hand.events(), hand.entries()
        again = hand.promote(4, "manual__10")
        assert (again.changed, again.told) == (
            *(False, "Version 4 is in use already: nothing changed."),
        )
        assert (hand.events(), hand.entries()) == before

    @pytest.mark.parametrize("call", ["record", "alias"])
    @pytest.mark.parametrize("run", ["manual__9", "manual__10"])
    def test_killed_half_way_the_same_run_or_the_next_one_finishes_it(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch, call: str, run: str
    ) -> None:
        move = hand.tracking.client.set_registered_model_alias
        if call == "record":
            broken = create_autospec(ledger.record, side_effect=OSError)
            monkeypatch.setattr(ledger, "record", broken)
        else:
            move.side_effect = OSError
        with pytest.raises(OSError):  # noqa: PT011
            hand.promote(4)
        monkeypatch.undo()
        move.side_effect = None
        assert hand.promote(4, run).changed == (run == "manual__9")
        assert hand.alias == "4"
        (entry,) = ledger.entries(hand.lake, "by_hand")
        assert (entry.dag_id, entry.dag_run_id) == ("platform_promote", "manual__9")
        assert [name for name, _ in hand.events()].count("restored") == 1

    def test_the_first_one_of_a_pipeline_without_a_champion(
        self, lake: Lake, make_pipeline: Callable[..., Pipeline], version: ModelVersion
    ) -> None:
        hand = Hand(lake, make_pipeline(), version)
        for number in (3, 2, 1):
            origin = replace(TRAIN, dag_run_id=f"train_{number}")
            hand.registry.take_back(parse(f"2005-Q{number}", Frequency.QUARTERLY), "no", origin)
        assert hand.champion is None
        done = hand.promote(4)
        assert done.told.startswith("Version 4 is in use by hand, from 2006-Q1 on.")
        assert (done.instead_of, hand.alias) == (None, "4")

    def test_what_cannot_be_promoted(self, hand: Hand) -> None:
        before = hand.events()
        with pytest.raises(RegistryError, match="version 9 must be registered, got none"):
            hand.promote(9)
        with pytest.raises(RegistryError, match=r"in use since .* ask again if it shall not"):
            hand.promote(4, asked_at=datetime(2020, 1, 1))
        features = hand.registry.get
        hand.registry.get = create_autospec(  # type: ignore[method-assign]
            features, side_effect=lambda number: replace(features(number), numeric=("gone",))
        )
        with pytest.raises(RegistryError, match="got none named gone"):
            hand.promote(4)
        assert hand.events() == before

    def test_one_can_go_back_from_it_and_to_it(self, hand: Hand) -> None:
        hand.promote(4)
        assert hand.roll_back().version == 3
        assert not hand.roll_back(None, replace(BY_HAND, dag_run_id="manual__2")).changed
        again = hand.roll_back(4, replace(BY_HAND, dag_run_id="manual__3"))
        assert (again.version, hand.alias) == (4, "4")

    def test_a_later_training_is_compared_with_it_and_takes_over(
        self, hand: Hand, version: ModelVersion
    ) -> None:
        hand.promote(4)
        later = AS_OF.shift(1)
        incumbent = hand.registry.incumbent(later, replace(TRAIN, dag_run_id="train_5"))
        assert incumbent is not None
        assert incumbent.version == 4
        hand.train(version, str(later), "train_5")
        assert hand.champion == 5

    @pytest.mark.parametrize("other", [1, 2])
    def test_a_verdict_does_not_override_it_at_the_moment_of_the_promotion(
        self, hand: Hand, monkeypatch: pytest.MonkeyPatch, other: int
    ) -> None:
        """By a rollback or by hand, between the look of the promotion and its commit."""
        hand.judge()
        deed = hand.roll_back if other == 2 else hand.promote
        hand.interrupt(monkeypatch, lambda: deed(other))
        with pytest.raises(TrainingError, match=f"in use, version {other}, got a verdict against"):
            hand.carry_out()
        assert (hand.champion, hand.alias) == (other, str(other))
        hand.judge(champion=other)
        assert hand.carry_out()[0] == 4

    def test_its_own_training_goes_on(self, hand: Hand) -> None:
        """It may have waited for an answer, or be cleared: it is not compared with itself."""
        hand.judge()
        hand.promote(4)
        incumbent = hand.registry.incumbent(AS_OF, CLOSING, 4)
        assert incumbent is not None
        assert incumbent.version == 3
        assert hand.carry_out()[0] == 4
        hand.judge("refused")
        hand.carry_out()
        assert hand.close()[0] == "refused"
        assert (hand.champion, hand.alias) == (4, "4")  # a person put it there
