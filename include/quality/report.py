"""What a suite found in one batch: the failures, and which rows go to quarantine why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from include.wording import some

_EXAMPLES = 5


@dataclass(frozen=True)
class Failure:
    """One expectation that did not hold, or by which rows are quarantined.

    Args:
        expectation: Its type.
        column: Its column or columns, ``(table)`` if it names none.
        rule: Its other arguments, as ``name=value``.
        severity: ``critical``, ``warning`` or ``info``.
        kind: ``failed``, or ``error`` if it could not be evaluated.
        level: ``row`` if it points at rows, else ``dataset``.
        unexpected: Number of unexpected rows; 0 at data set level.
        examples: A few distinct unexpected values as text.
        files: A few of the files that hold unexpected rows.
        detail: What was found instead.
        stops: Whether it stops the batch.
    """

    expectation: str
    column: str
    rule: str
    severity: str
    kind: Literal["failed", "error"]
    level: Literal["row", "dataset"]
    unexpected: int
    examples: tuple[str, ...]
    files: tuple[str, ...]
    detail: str
    stops: bool

    def __str__(self) -> str:
        """Render on one line: severity, kind, column, rule, and what was found."""
        where = f" in {some(self.files)}" if self.files else ""
        return f"{self.severity} {self.kind}: {self.expected}, got {self.detail}{where}"

    @property
    def expected(self) -> str:
        """Column and rule, e.g. ``NoEmp: expect_column_values_to_be_between(min_value=0)``."""
        return f"{self.column}: {self.expectation}" + (f"({self.rule})" if self.rule else "")


@dataclass(frozen=True)
class ValidationReport:
    """What a suite found in one batch.

    Args:
        suite: Name of the suite.
        source: Where the rows come from, e.g. the source's name in the pipeline file.
        partition: Name of the partition.
        rows: Number of rows checked.
        files: Files that the rows come from (their ``_file``), sorted.
        failures: What did not hold; what stops the batch first, then by severity and column.
        reasons: Row position in the frame (from 0) to why it goes to quarantine.
        statistics: Counts of expectations: evaluated, successful, unsuccessful.
        result: The result as Great Expectations tells it, ready for JSON, lists capped.
    """

    suite: str
    source: str
    partition: str
    rows: int
    files: tuple[str, ...]
    failures: tuple[Failure, ...]
    reasons: Mapping[int, tuple[str, ...]]
    statistics: Mapping[str, int]
    result: Mapping[str, Any]

    @property
    def quarantined(self) -> int:
        """Number of rows to move to quarantine."""
        return len(self.reasons)

    @property
    def quarantined_share(self) -> float:
        """Share of rows to move to quarantine, in [0, 1]."""
        return self.quarantined / self.rows

    @property
    def stopping(self) -> tuple[Failure, ...]:
        """What stops the whole batch."""
        return tuple(failure for failure in self.failures if failure.stops)

    def summary(self) -> dict[str, Any]:
        """Summarize for logs and XCom: counts, and the first five failures, never rows."""
        return {
            "suite": self.suite,
            "source": self.source,
            "partition": self.partition,
            "rows": self.rows,
            "quarantined": self.quarantined,
            **self.statistics,
            "stopping": len(self.stopping),
            "failures": [
                {
                    "expectation": failure.expectation,
                    "column": failure.column,
                    "severity": failure.severity,
                    "kind": failure.kind,
                    "unexpected": failure.unexpected,
                }
                for failure in self.failures[:_EXAMPLES]
            ],
            "failures_left_out": max(0, len(self.failures) - _EXAMPLES),
        }
