"""Run checks one after another, each with its own patience, and keep secrets out of what they say.

A check that raises or takes too long has failed; it never ends the visit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from include.errors import RelevoError
from stack.errors import StackError

LONGEST_FOUND = 400


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"
    NOT_CONFIGURED = "not configured"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Args:
        verdict: How it ended.
        found: What is there.
        remedy: What to do about it; empty if nothing.
    """

    verdict: Verdict
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that a part must do.

    Args:
        name: As shown.
        run: Tries it.
        remedy: What to do if it raises.
        seconds: How long it may take.
        gate: The checks after it make no sense if it fails.
    """

    name: str
    run: Callable[[], Outcome]
    remedy: str
    seconds: float = 15.0
    gate: bool = False


@dataclass(frozen=True)
class Visit:
    """The checks of one part.

    Args:
        part: Name of the part.
        checks: In the order in which they run.
        close: Ends what the checks share, e.g. a session.
    """

    part: str
    checks: tuple[Check, ...]
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        part: Name of the part.
        check: Name of the check.
        verdict: How it ended.
        found: What is there.
        remedy: What to do about it; empty if nothing.
    """

    part: str
    check: str
    verdict: Verdict
    found: str
    remedy: str


def ok(found: str) -> Outcome:
    """Say that all is well."""
    return Outcome(Verdict.OK, found)


def warning(found: str, remedy: str) -> Outcome:
    """Say that something works and should be otherwise."""
    return Outcome(Verdict.WARNING, found, remedy)


def failed(found: str, remedy: str) -> Outcome:
    """Say that something does not work."""
    return Outcome(Verdict.FAILED, found, remedy)


def not_checked(found: str, remedy: str = "") -> Outcome:
    """Say that nothing was learnt, and why."""
    return Outcome(Verdict.NOT_CHECKED, found, remedy)


def not_configured(part: str, remedy: str) -> Visit:
    """Make the visit of a part that the settings do not name."""
    outcome = Outcome(Verdict.NOT_CONFIGURED, "no setting names it", remedy)
    return Visit(part, (Check("settings", lambda: outcome, ""),))


def examine(visit: Visit, secrets: Collection[str]) -> Iterator[Finding]:
    """Run the checks of a part, and yield each finding as it is made.

    Args:
        visit: The part and its checks.
        secrets: Values that must not be shown.
    """
    try:
        for number, check in enumerate(visit.checks, start=1):
            outcome = _attempt(check)
            yield Finding(
                part=visit.part,
                check=check.name,
                verdict=outcome.verdict,
                found=_hidden(outcome.found, secrets),
                remedy=_hidden(outcome.remedy, secrets),
            )
            left = len(visit.checks) - number
            if check.gate and outcome.verdict is Verdict.FAILED and left:
                found = f"{left} more, because of the failure above"
                yield Finding(visit.part, "the rest", Verdict.NOT_CHECKED, found, "")
                return
    finally:
        visit.close()


def _attempt(check: Check) -> Outcome:
    outcomes: list[Outcome] = []

    def attempt() -> None:
        try:
            outcomes.append(check.run())
        # Whatever a client raises is the finding.
        except Exception as error:
            outcomes.append(failed(described(error), check.remedy))

    # Not a pool: its threads would be waited for at the end, a hanging one for ever.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(check.seconds)
    return outcomes[0] if outcomes else failed(f"no end within {check.seconds:.0f} s", check.remedy)


def described(error: BaseException) -> str:
    """Render an error in one line; ours are sentences already."""
    text = " ".join(str(error).split())
    ours = isinstance(error, StackError | RelevoError)
    return text if ours else f"{type(error).__name__}: {text}"


def _hidden(text: str, secrets: Collection[str]) -> str:
    # The longest first: one secret may be a part of another.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text if len(text) <= LONGEST_FOUND else f"{text[:LONGEST_FOUND]}..."
