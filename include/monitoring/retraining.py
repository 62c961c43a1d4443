"""Whether to train a challenger now: a pure function of policy and ledger.

The same ledger gives the same answer, whenever and in whatever order it is asked, so that history
can be replayed under another policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from include.calendar.partitions import Frequency, Partition, parse
from include.errors import MonitoringError
from include.monitoring.performance import PerformanceRecord
from include.specification.sections.retraining import Retraining

NO_CHAMPION = "no champion"
CALENDAR = "every"

Drift = Literal["drift", "no drift", "cannot tell"]
Performance = Literal["drop", "no drop", "cannot tell"]
Outcome = Literal["requested", "promoted", "refused", "failed", "withdrawn"]
# What a training spends of the budget. One that failed or was withdrawn made no model: it must
# neither delay the next nor use up anything.
_COSTS: Mapping[str, float] = {"requested": 1, "promoted": 1, "refused": 0.5}
_FIRED = {"drift": "drift", "performance": "drop", "new_class": "new class"}


@dataclass(frozen=True)
class Observation:
    """What monitoring said of one partition.

    Args:
        partition: The partition that was watched.
        drift: Verdict on the batch.
        performance: Verdict on the labels that matured.
        new_class: Whether labels that matured named a class that the model does not know.
        has_champion: False if no model was in use, so that there was nothing to watch.
        untold: By trigger, why nothing could be told; for the reason of the decision.
    """

    partition: Partition
    drift: Drift
    performance: Performance
    new_class: Literal["new class", "no new class", "cannot tell"] = "cannot tell"
    has_champion: bool = True
    untold: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, partition: Partition, drift: Drift, reason: str, records: Sequence[PerformanceRecord]
    ) -> Self:
        """Sum up what was found in a partition; of what matured in it the worst counts.

        Args:
            partition: The partition that was watched.
            drift: Verdict on the batch.
            reason: Why that is the verdict.
            records: What was told of the performance in partitions that matured.
        """
        untold = {"drift": reason} if drift == "cannot tell" else {}
        if not records:
            untold |= dict.fromkeys(("performance", "new_class"), "no labels matured to judge by")
            return cls(partition, drift, "cannot tell", untold=untold)
        verdicts = {record.verdict for record in records}
        ranked: tuple[Performance, ...] = ("drop", "no drop", "cannot tell")
        performance = next(verdict for verdict in ranked if verdict in verdicts)
        if performance == "cannot tell":
            untold["performance"] = max(records, key=lambda record: record.partition).reason
        is_new = any(record.new_class == "new class" for record in records)
        return cls(
            partition,
            drift,
            performance,
            "new class" if is_new else "no new class",
            untold=untold,
        )

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return {**asdict(self), "partition": _written(self.partition)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**document, "partition": _read(document["partition"])})


@dataclass(frozen=True)
class TrainingRecord:
    """A training that was decided on, as of a partition, and how it ended so far."""

    partition: Partition
    outcome: Outcome

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return {"partition": _written(self.partition), "outcome": self.outcome}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(_read(document["partition"]), document["outcome"])


@dataclass(frozen=True)
class RetrainingDecision:
    """The policy's answer.

    Args:
        retrain: Whether to train a challenger as of the partition.
        reason: One sentence, for the yes as for the no.
        triggers: What called for it: ``no champion``, ``drift``, ``performance``, ``new_class``,
            ``every``.
        blocked_by: ``cooldown``, ``budget`` or ``freeze`` if that turned a yes into a no, else
            None.
    """

    retrain: bool
    reason: str
    triggers: tuple[str, ...]
    blocked_by: str | None

    def to_dict(self) -> dict[str, Any]:
        """Render as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**document, "triggers": tuple(document["triggers"])})


def decide_retraining(
    policy: Retraining,
    partition: Partition,
    observations: Sequence[Observation],
    trainings: Sequence[TrainingRecord],
) -> RetrainingDecision:
    """Decide whether to train a challenger as of a partition.

    - A trigger of ``policy.when`` calls if it fired in k of the latest n partitions
      (``persist``), ``partition`` being the latest. A partition that was not observed, or of
      which nothing could be told, did not fire, and the reason says that it was not measured.
      Observations made before a training still count
      after it: a cool-down of at least n - 1 keeps one from counting twice.
    - ``every`` calls when so many partitions have passed since the last training, the very first
      one included, or when there was none yet.
    - A partition without a champion always calls: nothing can be scored until there is one.
    - ``cooldown`` blocks: after a training as of p, the next is as of p + cooldown + 1 or later.
    - ``budget`` blocks once k trainings of the latest n partitions are spent.

    A refused training counts half for these two: half the cool-down, rounded down, and half a
    training. The one that made the first champion counts for neither: it replaced nobody. One
    that failed or was withdrawn counts for nothing: it made no model. Records of ``partition``
    itself and of later ones are ignored, so a re-run decides the same.

    Args:
        policy: The pipeline's retraining section.
        partition: The partition that is being decided.
        observations: In any order; of several for one partition, one that fired wins.
        trainings: In any order; several for one partition count once.

    Raises:
        MonitoringError: If a verdict or an outcome is unknown, or a frequency differs.
    """
    _demand_known(partition, observations, trainings)
    past = [item for item in trainings if item.outcome in _COSTS and item.partition < partition]
    last = max((item.partition for item in past), default=None)

    calls, silences = [], []
    if any(item.partition == partition and not item.has_champion for item in observations):
        calls.append((NO_CHAMPION, "there is no champion yet"))
    for trigger in policy.when:
        k, n = policy.persistence
        count = len(_fired(trigger, partition, n, observations))
        told = f"{trigger} in {count} of the latest {n} partitions"
        if count >= k:
            calls.append((trigger, told))
        else:
            silences.append(_silence(trigger, count, partition, policy.persistence, observations))
    if policy.every is not None:
        due = last.shift(policy.every) if last else partition
        told = f"the last training was as of {last}" if last else "there was no training yet"
        if partition >= due:
            calls.append((CALENDAR, f"{told}, one is due every {policy.every} partitions"))
        else:
            silences.append(f"{told}, the next is due as of {due}")

    triggers = tuple(name for name, _ in calls)
    why = "; ".join(told for _, told in calls)
    if not calls:
        return RetrainingDecision(False, "; ".join(silences) or "no trigger is set", (), None)
    costs = _costs(past)
    if block := _cool_down(policy, partition, costs):
        return RetrainingDecision(False, f"{why}; {block}", triggers, "cooldown")
    if block := _overspent(policy, partition, costs):
        return RetrainingDecision(False, f"{why}; {block}", triggers, "budget")
    return RetrainingDecision(True, why, triggers, None)


def _costs(past: Sequence[TrainingRecord]) -> dict[Partition, float]:
    """Say what each training but that of the first champion counts, by partition."""
    first = min((item.partition for item in past if item.outcome == "promoted"), default=None)
    costs: dict[Partition, float] = {}
    for item in past:
        if item.partition != first:
            cost = _COSTS[item.outcome]
            costs[item.partition] = max(cost, costs.get(item.partition, 0))
    return costs


def _cool_down(
    policy: Retraining, partition: Partition, costs: Mapping[Partition, float]
) -> str | None:
    """Name the training that holds the next back for longest; None if none does."""
    allowed, trained = max(
        (
            (trained.shift(int(policy.cooldown * cost) + 1), trained)
            for trained, cost in costs.items()
        ),
        default=(partition, partition),
    )
    if partition >= allowed:
        return None
    how = "" if costs[trained] == 1 else " and refused, which counts half"
    return (
        f"blocked by the cool-down: trained as of {trained}{how}, the next may be as of {allowed}"
    )


def _overspent(
    policy: Retraining, partition: Partition, costs: Mapping[Partition, float]
) -> str | None:
    """Say what was spent of the budget; None if something is left."""
    k, n = policy.spending
    latest = [cost for trained, cost in costs.items() if trained > partition.shift(-n)]
    if sum(latest) < k:
        return None
    refused = sum(cost < 1 for cost in latest)
    how = f", {refused} of them refused, which count half" if refused else ""
    return f"blocked by the budget: {len(latest)} trainings in {n} partitions{how}, {k} allowed"


def hold_back(decision: RetrainingDecision, freeze: str) -> RetrainingDecision:
    """Train nobody while the champion is frozen: the policy's yes becomes a no that says so.

    Args:
        decision: The policy's answer.
        freeze: Who froze the champion, since when, and why; '' if nobody did.
    """
    if not (freeze and decision.retrain):
        return decision
    reason = f"{decision.reason}; blocked by a freeze: {freeze}"
    return replace(decision, retrain=False, reason=reason, blocked_by="freeze")


def _fired(
    trigger: str, partition: Partition, n: int, observations: Iterable[Observation]
) -> set[Partition]:
    """Return those of the latest n partitions in which a trigger fired."""
    return {
        item.partition
        for item in observations
        if partition.shift(-n) < item.partition <= partition
        and getattr(item, trigger) == _FIRED[trigger]
    }


def _silence(
    trigger: str,
    fired: int,
    partition: Partition,
    persistence: tuple[int, int],
    observations: Iterable[Observation],
) -> str:
    """Say how often a trigger fired, and what was never measured, which is no good news."""
    k, n = persistence
    latest = [o for o in observations if partition.shift(-n) < o.partition <= partition]
    told = {o.partition for o in latest if getattr(o, trigger) != "cannot tell"}
    silence = f"{trigger} in {fired} of the latest {n} partitions, {k} needed"
    if len(told) == n:
        return silence
    untold = [o for o in latest if o.partition not in told]
    if untold:
        last = max(untold, key=lambda o: (o.partition, o.untold.get(trigger, "")))
        why = f"{last.partition}: {last.untold.get(trigger) or 'cannot tell'}"
    else:
        why = "nothing was observed"
    if not told:
        return f"{trigger} not measured in the latest {n} partitions ({why}), {k} needed"
    return f"{silence}, {n - len(told)} not measured ({why})"


def _demand_known(
    partition: Partition,
    observations: Iterable[Observation],
    trainings: Iterable[TrainingRecord],
) -> None:
    outcomes = (*sorted(_COSTS), "failed", "withdrawn")
    for observation in observations:
        for name, fired in _FIRED.items():
            known = (fired, f"no {fired}", "cannot tell")
            _demand_one_of(getattr(observation, name), known, f"{name} of {observation.partition}")
    for training in trainings:
        _demand_one_of(training.outcome, outcomes, f"training as of {training.partition}")
    for item in [o.partition for o in observations] + [t.partition for t in trainings]:
        if item.frequency != partition.frequency:
            raise MonitoringError(
                f"partition {item}: must be {partition.frequency} like {partition}, got "
                f"{item.frequency}. Look at the ledger."
            )


def _demand_one_of(value: str, known: Sequence[str], subject: str) -> None:
    if value not in known:
        raise MonitoringError(
            f"{subject}: must be one of {', '.join(known)}, got {value!r}. Look at the ledger."
        )


def _written(partition: Partition) -> dict[str, str]:
    return {"name": str(partition), "frequency": partition.frequency.value}


def _read(document: Mapping[str, str]) -> Partition:
    return parse(document["name"], Frequency(document["frequency"]))
