"""The page about maintenance: what, why, how many bytes, and what was left."""

from __future__ import annotations

from include.reports.maintenance_page import Line, lines, render_maintenance
from include.steps.maintenance_plan import Item, Outcome, Plan

OLD = Item("data file", "s3://lake/loans/features/a.parquet", 1_000, "In no version <needed>")
OTHER = Item("data file", "s3://lake/loans/features/b.parquet", 500, OLD.why)
TABLE = Item("compaction", "ledger", 0, "17 small files")
MADE = "2026-03-01T03:30:00+00:00"
PLAN = Plan("loans", MADE, "2025-12-01T03:30:00+00:00", "A run is open.", [OLD, OTHER, TABLE],
            {"data": (12, 34_567)})  # fmt: skip
DONE = Outcome(PLAN, [OLD, TABLE], [OTHER], {"data": (11, 33_567)}, "2026-03-01T03:31:00+00:00")


def test_a_plan_is_no_deed() -> None:
    page = render_maintenance(PLAN)
    assert "Planned 2026-03-01 03:30 UTC; nothing was removed yet." in page
    assert "A run is open." in page
    assert "34,567" in page
    assert "bytes won" not in page
    assert "In no version &lt;needed&gt;" in page


def test_what_was_done_and_what_was_left() -> None:
    assert lines(DONE) == [
        Line("data file", (2, 1_500), (1, 1_000), (1, 500)),
        Line("compaction", (1, 0), (1, 0), (0, 0)),
    ]
    page = render_maintenance(DONE)
    assert "33,567" in page
    assert "the next run looks again" in page


def test_nothing_to_do() -> None:
    assert "There is nothing to do." in render_maintenance(Plan("loans", MADE, MADE, "", [], {}))


def test_of_very_many_the_first_are_shown() -> None:
    many = [Item("report", f"s3://reports/loans/{n}", 1, "old") for n in range(1_234)]
    page = render_maintenance(Plan("loans", MADE, MADE, "", many, {}))
    assert "The first 200 of 1,234" in page
    assert page.count("s3://reports/loans/") == 200
