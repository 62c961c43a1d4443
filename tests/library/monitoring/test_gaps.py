"""What counts as a gap, and what to do about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from include.calendar.partitions import Frequency, Partition, parse
from include.monitoring.gaps import Gap, gaps, lacks


def month(number: int) -> Partition:
    return parse(f"2005-{number:02}", Frequency.MONTHLY)


DUE = {month(number): datetime(2005, number + 1, 2, 6) for number in range(1, 8)}


def found(**held: Any) -> list[Gap]:
    """List the gaps of seven months, of which all is there but for what is given."""
    everything = {str(month(number)) for number in range(1, 8)}
    complete: dict[str, Any] = {
        "scored": everything,
        "labelled": everything,
        "decided": everything,
        "unjudged": {},
        "outdated": {},
        "untrained": {},
    }
    return gaps("p", lacks(DUE, **{**complete, **held}), DUE)


def names(*numbers: int) -> set[str]:
    return {str(month(number)) for number in numbers}


def test_nothing_is_missing() -> None:
    assert found() == []


def test_runs_that_are_missing_are_one_gap_with_one_backfill() -> None:
    held = names(1, 2, 6, 7)
    (gap,) = found(scored=held, labelled=held, decided=held)
    assert (gap.partitions, gap.missing) == ("2005-03 to 2005-05", ("scores", "labels"))
    assert gap.reason == (
        "no run has scored it: none was made, or it failed or is under way; no run has validated "
        "the labels that landed in it"
    )
    assert gap.remedy == (
        "./relevo airflow backfill create --dag-id p_score --from-date 2005-04-02T06:00:00 "
        "--to-date 2005-06-02T06:00:00 --reprocess-behavior completed --max-active-runs 1"
    )


def test_what_lies_apart_or_lacks_something_else_is_another_gap() -> None:
    listed = found(
        scored=names(1, 2, 4, 6, 7), labelled=names(1, 2, 3, 5, 6, 7), decided=names(1, 7)
    )
    assert [(gap.partitions, gap.missing) for gap in listed] == [
        ("2005-02", ("decision",)),
        ("2005-03", ("scores",)),
        ("2005-04", ("labels",)),
        ("2005-05", ("scores",)),
        ("2005-06", ("decision",)),
    ]


def test_a_run_that_decided_has_validated_its_labels_though_there_were_none() -> None:
    assert found(labelled=set()) == []


def test_what_nobody_judged_is_for_the_run_in_which_it_matured() -> None:
    listed = found(
        unjudged={month(1): month(3), month(2): month(3), month(4): month(9)},
        outdated={month(3): month(5)},
    )
    assert [(gap.partitions, gap.missing, gap.reason) for gap in listed] == [
        (
            "2005-01 to 2005-02",
            ("performance",),
            "nobody has judged its predictions, although its labels have matured",
        ),
        (
            "2005-03",
            ("performance",),
            "it was judged by predictions made later; since then its own have been made",
        ),
        (
            "2005-04",
            ("performance",),
            "nobody has judged its predictions, although its labels have matured",
        ),
    ]
    assert listed[0].remedy == (
        "./relevo airflow tasks clear p_score -t measure_performance -d "
        "-s 2005-04-02T06:00:00 -e 2005-04-02T06:00:00 -y"
    )
    assert listed[2].remedy == "clear measure_performance in the run about 2005-09"


def test_without_a_date_each_partition_is_triggered() -> None:
    expected = [month(number) for number in (1, 2)]
    listed = gaps(
        "p",
        lacks(expected, scored=(), labelled=(), decided=(), unjudged={}, outdated={}, untrained={}),
        {},
    )
    assert [gap.remedy for gap in listed] == [
        './relevo airflow dags trigger p_score -c \'{"partition": "2005-01"}\'',
        './relevo airflow dags trigger p_score -c \'{"partition": "2005-02"}\'',
    ]


def test_each_training_without_a_verdict_is_a_gap_of_its_own() -> None:
    early = parse("2004-12", Frequency.MONTHLY)
    listed = found(
        untrained={early: "failed", month(3): "failed", month(4): "failed", month(5): "requested"}
    )
    assert [(gap.partitions, gap.missing) for gap in listed] == [
        (f"2005-0{number}", ("training",)) for number in (3, 4, 5)
    ]
    assert "failed, and none as of a later partition came to a verdict" in listed[0].reason
    assert "was asked for and has not begun" in listed[2].reason
    assert listed[0].remedy == (
        """./relevo airflow dags trigger p_train -c '{"partition": "2005-03"}'"""
    )
