"""Write ``docs/bad-input.md`` from the corpus, so that the page says what the tests hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.corpus import LANDED, functions, models, specification
from tests.corpus.case import Kept, Landed, Outcome, Quarantined, Refused

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
_STEPS = {"ingest": "when it is ingested", "validate": "when it is validated"}
_HEAD = """\
# Bad input

What Relevo does with files, labels, feature functions, models and names that are not as they
should be. The page is written from the {count} cases that the tests run (`python -m
tests.corpus.page`), so it says what happens and not what should.

Three things can happen to what lands, and no fourth:

- **kept**: every row is in the table, exactly as it landed; where something was left aside, a
  warning in the log of the task says so;
- **quarantine**: rows that cannot be used are moved to the table `quarantine_<source>` with their
  reasons, and the others go on, as long as no more than `max_quarantined` are moved. Rows landed
  are rows kept and rows quarantined, each of them once;
- **refused**: the task fails at once, without retries, with a message that names source, partition
  and what is at fault, and what to do. What was there before stays. If it was the first batch
  of its source, its columns and types are those of the table from then on.

Landing the same again gives the same tables. To correct a batch, land it again and clear the
task that ingests it, with downstream.
"""
_TAIL = """
## Where the cases are

`tests/corpus/` holds them, one small builder each. `tests/library/steps/test_bad_input.py` sends
files through the steps that the tasks call, and looks at all tables from outside;
`tests/operators/test_bad_input_operators.py` sends those that differ in kind through the tasks of
the DAG. Found another? Add a case there: what arrives, and what must happen.
"""


def text() -> str:
    """Write the page."""
    sections = [
        *((heading, "what lands", list(map(_landed, cases))) for heading, cases in LANDED.items()),
        (
            "Feature functions",
            "a function that",
            [_said(c.what, c.says, "kept") for c in (*functions.CASES, *functions.SECOND)],
        ),
        (
            "Models, and batches that they score",
            "what a champion meets",
            [_said(case.what, case.says, "every row is scored") for case in models.CASES],
        ),
        (
            "Pipeline files, suites and names",
            "what a person writes",
            [_said(case.what, case.says, "") for case in specification.CASES],
        ),
    ]
    count = sum(len(rows) for _, _, rows in sections)
    tables = (_table(heading, first, rows) for heading, first, rows in sections)
    return _HEAD.format(count=count) + "".join(tables) + _TAIL


def _table(heading: str, first: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [f"\n## {heading}\n", f"| {first} | what happens | what is said |", "|---|---|---|"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _landed(case: Landed) -> tuple[str, str, str]:
    return (case.what + _given(case), _happens(case.outcome), _told(case.outcome))


def _given(case: Landed) -> str:
    types = case.source.get("types", {})
    named = ", ".join(f"{column}: {kind}" for column, kind in types.items())
    return f" (types: {named})" if named else ""


def _happens(outcome: Outcome) -> str:
    match outcome:
        case Kept():
            return "kept"
        case Quarantined(reasons=reasons):
            moved = len(reasons)
            return f"{moved} {'row goes' if moved == 1 else 'rows go'} to quarantine"
        case Refused(by=step):
            return f"refused {_STEPS[step]}"


def _told(outcome: Outcome) -> str:
    match outcome:
        case Kept(told=told):
            return f"a warning: {told}" if told else ""
        case Quarantined(reasons=reasons):
            return "; ".join(dict.fromkeys(reasons.values()))
        case Refused(says=says):
            return " ... ".join(says)


def _said(what: str, says: Sequence[str] | None, well: str) -> tuple[str, str, str]:
    return (what, well, "") if says is None else (what, "refused", " ... ".join(says))


def _cell(words: str) -> str:
    """Write words so that Markdown shows them as they are."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(words.split()))


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
