"""The rounds of a torture: worlds side by side, faults, recovery, and what must hold after."""

from __future__ import annotations

import pickle
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stack.errors import StackError
from stack.torture import comparison, faults, invariants
from stack.torture.faults import Fault
from stack.torture.gate import Hit
from stack.torture.injection import Injection
from stack.torture.observation import World
from stack.torture.place import Place
from stack.torture.story import AWAY, Story, tolerate

Say = Callable[[str], None]
POLL_SECONDS = 2.0
# An Airflow that was killed, a store that hung and six clears: all fit.
ROUND_MINUTES = 60.0
# How often a round looks at what is on record while faults happen.
LOOK_SECONDS = 30.0
EQUALITY = "world equals the reference world"
EQUALITY_IN_PART = "world equals the reference world up to a run that failed"
QUIET = "every run ends, by clearing what failed"


@dataclass(frozen=True)
class Size:
    """How large a torture is.

    Args:
        scored: Partitions that a world scores.
        worlds: Worlds of a round, side by side.
        faults: Planned faults of a round.
    """

    scored: int = 8
    worlds: int = 4
    faults: int = 200


@dataclass
class Round:
    """What came of a round.

    Args:
        number: From 1 on; 0 is the reference world.
        pipelines: Its worlds.
        planned: The faults as planned.
        hits: The faults that happened.
        violations: By pipeline and invariant, what did not hold.
        seconds: How long it took.
        clears: How often a failed run was cleared.
    """

    number: int
    pipelines: list[str]
    planned: list[Fault] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    violations: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    clears: int = 0


@dataclass
class Torture:
    """A whole run.

    Args:
        place: The stack.
        seed: What all faults are drawn from.
        size: How large the rounds are.
        say: Gets a line for each thing that happens.
        checked: How often each invariant was checked.
        rounds: What came of every round so far.
    """

    place: Place
    seed: int
    size: Size
    say: Say
    checked: Counter[str] = field(default_factory=Counter)
    rounds: list[Round] = field(default_factory=list)

    def run(self, deadline: float) -> None:
        """Tell the reference world, then rounds until the time is over, at least one.

        Args:
            deadline: `time.monotonic()` after which no further round begins.

        Raises:
            StackError: The reference world, without a fault, did not end well.
        """
        reference = self._reference()
        number = 1
        while number == 1 or time.monotonic() < deadline:
            self._round(number, reference)
            number += 1

    def _reference(self) -> World:
        story = Story(self.place, "torture_0000", self.size.scored)
        result = Round(0, [story.pipeline])
        worlds = self._tell([story], result, None)
        self._keep(worlds)
        if result.violations:
            listed = "; ".join(f"{v['invariant']}: {v['found']}" for v in result.violations)
            raise StackError(
                f"Reference world: must hold without faults, got {listed}. Look at "
                f"{self.place.layout.state}."
            )
        self.say(f"reference world told in {result.seconds:.0f} s")
        return worlds[0]

    def _round(self, number: int, reference: World) -> None:
        first = (number - 1) * self.size.worlds + 1
        names = [f"torture_{first + step:04d}" for step in range(self.size.worlds)]
        # Every other world has its partitions shuffled, all of them active at once.
        stories = [
            Story(
                self.place,
                name,
                self.size.scored,
                random.Random(f"{self.seed}/{name}") if world % 2 == 0 else None,
            )
            for world, name in enumerate(names, first)
        ]
        partitions = [str(partition) for partition in stories[0].partitions]
        planned = faults.plan(self.seed, number, names, partitions, self.size.faults)
        for fault in planned:
            self.say(f"  planned {fault.number:2} after {fault.after:3}: {_told(fault)}")
        result = Round(number, names, planned)
        self.rounds.append(result)
        injection = Injection.begin(self.place, stories, planned)
        worlds = self._tell(stories, result, injection)
        for story, world in zip(stories, worlds, strict=True):
            self._equal(result, reference, world, story.failed)
        if result.violations:
            self._keep(worlds)
        self.say(
            f"round {number}: {len(result.hits)} of {len(planned)} faults, {result.clears} clears, "
            f"{len(result.violations)} violations, {result.seconds:.0f} s"
        )

    def _tell(
        self, stories: Sequence[Story], result: Round, injection: Injection | None
    ) -> list[World]:
        """Let worlds happen, mend what fails, wait until all is quiet, and check."""
        begun = time.monotonic()
        deadline = begun + ROUND_MINUTES * 60
        for story in stories:
            story.prepare()
            story.train()
        earlier: dict[str, World] = {}
        scoring: set[str] = set()
        hopeless: list[str] = []
        looked = time.monotonic()
        while True:
            if injection is not None:
                done = sum(tolerate(story.finished_tasks, 0) for story in stories)
                injection.advance(done)
                self._tell_hits(result, injection.happened())
            hopeless = [line for story in stories for line in tolerate(story.mend, list[str]())]
            for story in stories:
                if story.pipeline not in scoring and tolerate(story.begin_scoring, False):
                    scoring.add(story.pipeline)
            quiet = len(scoring) == len(stories) and all(
                tolerate(story.is_quiet, False) for story in stories
            )
            if quiet and (injection is None or not injection.finish()):
                break
            if hopeless or time.monotonic() > deadline:
                break
            if injection is not None and time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                self._look(result, stories, earlier)
            time.sleep(POLL_SECONDS)
        if injection is not None:
            self._tell_hits(result, injection.end())
        open_runs = [line for story in stories for line in tolerate(story.unfinished, list[str]())]
        worlds = [story.observe() for story in stories]
        for story, world in zip(stories, worlds, strict=True):
            mine = [line for line in hopeless + open_runs if story.pipeline in line]
            self._check(result, world, QUIET, mine)
            for name, check in invariants.OF_ONE.items():
                self._check(result, world, name, check(world))
            if story.pipeline in earlier:
                self._compare(result, earlier[story.pipeline], world)
            tolerate(story.retire, None)
        result.clears = sum(sum(story.clears.values()) for story in stories)
        result.seconds = time.monotonic() - begun
        return worlds

    def _equal(
        self, result: Round, reference: World, world: World, failed: Collection[str]
    ) -> None:
        found = comparison.differences(reference, world)
        last = comparison.first_failure(world, failed)
        if not found or last is None:
            self._check(result, world, EQUALITY, found)
            return
        told, expected = (comparison.until(each, last) for each in (world, reference))
        self._check(result, world, EQUALITY_IN_PART, comparison.differences(expected, told))

    def _tell_hits(self, result: Round, hits: list[Hit]) -> None:
        kinds = {fault.number: fault.kind for fault in result.planned}
        for hit in hits:
            if hit not in result.hits:
                result.hits.append(hit)
                at = datetime.fromtimestamp(hit.at, UTC)
                told = f"  {at:%H:%M:%S} fault {hit.fault}, {kinds[hit.fault]}: {hit.what}"
                self.say(f"{told} {hit.victim}".rstrip())

    def _look(self, result: Round, stories: Sequence[Story], earlier: dict[str, World]) -> None:
        """Compare what is on record with what was; the store may be away."""
        for story in stories:
            try:
                world = story.observe()
            except AWAY as error:
                self.say(f"  cannot look at {story.pipeline} now ({type(error).__name__})")
                continue
            if story.pipeline in earlier:
                self._compare(result, earlier[story.pipeline], world)
            earlier[story.pipeline] = world

    def _compare(self, result: Round, before: World, after: World) -> None:
        for name, check in invariants.OF_TWO.items():
            self._check(result, after, name, check(before, after))

    def _check(self, result: Round, world: World, invariant: str, found: Sequence[str]) -> None:
        self.checked[invariant] += 1
        for line in found:
            entry = {"pipeline": world.pipeline, "invariant": invariant, "found": line}
            if entry not in result.violations:
                result.violations.append(entry)
                self.say(f"  VIOLATION {world.pipeline} {invariant}: {line}")

    def _keep(self, worlds: Sequence[World]) -> None:
        """Leave what was seen beside the stack, for looking."""
        folder = Path(self.place.layout.state.parent) / "worlds"
        folder.mkdir(exist_ok=True)
        for world in worlds:
            (folder / f"{world.pipeline}.pickle").write_bytes(pickle.dumps(world))


def _told(fault: Fault) -> str:
    details: dict[str, Any] = dict(fault.details)
    shown = ", ".join(f"{key} {value}" for key, value in details.items() if key != "gate")
    return f"{fault.kind} ({fault.pipeline}; {shown})"
