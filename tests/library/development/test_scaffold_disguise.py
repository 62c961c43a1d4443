"""Columns that follow from the target, dates with constant parts, and types in the test."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.development.scaffold import writing
from include.development.scaffold.feature_module import selected
from include.development.scaffold.proposal import Place, Proposal, Wish, propose
from include.development.scaffold.sampling import Sample
from include.development.scaffold.testing import feature_test

ROWS = 400


def proposal_of(columns: Any, **wish: Any) -> Proposal:
    table = (
        columns
        if isinstance(columns, pa.Table)
        else pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False)
    )
    sample = Sample(table, table.num_rows, "parquet")
    return propose(Wish("p", **wish), Place(uri=writing.default_uri("p")), sample)


def left_out(columns: Any, target: str = "target") -> dict[str, str]:
    proposal = proposal_of(columns, target=target)
    return {item.name: item.reason for item in proposal.left_out}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


class TestClasses:
    def test_a_coarser_form_of_the_classes(self, rng: np.random.Generator) -> None:
        kind = rng.choice(["none", "mild", "severe", "fatal"], ROWS, p=[0.7, 0.2, 0.07, 0.03])
        found = left_out(
            {
                "target": kind,
                "is_severe": np.isin(kind, ["severe", "fatal"]),
                "code": pd.Series(kind).map(
                    {"none": "a7", "mild": "b1", "severe": "c3", "fatal": "d"}
                ),
                "age": rng.normal(size=ROWS),
            }
        )
        reason = "looks like the target in disguise: review (it is a function of target: each class"
        assert list(found) == ["is_severe", "code"]
        assert all(text.startswith(reason) for text in found.values())

    def test_a_coarser_form_with_gaps_and_a_few_other_rows(self, rng: np.random.Generator) -> None:
        kind = rng.choice(["none", "mild", "severe"], ROWS)
        is_severe = pd.Series(kind == "severe").astype(float)
        wrong = is_severe.where(np.arange(ROWS) % 200 > 0, 1 - is_severe)  # 2 of 400 rows
        found = left_out(
            {
                "target": kind,
                "gaps": is_severe.mask(rng.random(ROWS) < 0.2),
                "wrong": wrong,
                "rare": (np.arange(ROWS) % 199 == 0).astype(int),  # 3 rows of any class
                "age": rng.normal(size=ROWS),
            }
        )
        assert list(found) == ["gaps", "wrong"]

    def test_one_stray_row_makes_it_a_column_like_any_other(self, rng: np.random.Generator) -> None:
        kind = rng.choice(["none", "mild", "severe"], ROWS)
        hint = kind == "severe"
        hint[np.flatnonzero(kind == "none")[:40]] = True
        assert left_out({"target": kind, "hint": hint, "age": rng.normal(size=ROWS)}) == {}


class TestNumbers:
    def test_the_target_times_a_constant_in_logarithms_and_in_ranges(
        self, rng: np.random.Generator
    ) -> None:
        price = np.exp(rng.normal(size=ROWS) * 3)  # so skewed that no shallow tree fits it
        found = left_out(
            {
                "target": price,
                "cents": price * 100,
                "level": -np.log(price),
                "band": np.digitize(price, [0.1, 1.0, 10.0]),
                "is_dear": np.where(price > 5, "dear", "cheap"),
                "rooms": rng.integers(1, 30, ROWS),
            }
        )
        told = {name: text.rpartition("target: ")[2].rstrip(")") for name, text in found.items()}
        assert told == {
            "cents": "the same order",
            "level": "the same order",
            "band": "each value is a range of it",
            "is_dear": "each value is a range of it",
        }

    @pytest.mark.parametrize("sign", [1, -1])
    def test_two_columns_that_add_up_to_it_or_differ_by_it(
        self, rng: np.random.Generator, sign: int
    ) -> None:
        first, second = rng.normal(100, 40, ROWS).round(2), rng.normal(50, 40, ROWS).round(2)
        other = rng.normal(size=ROWS)
        total = (first + sign * second).round(2)
        columns = {"target": total, "first": first, "second": second, "other": other}
        word = "plus" if sign == 1 else "minus"
        reason = f"looks like the target in disguise: review (first {word} second is target)"
        assert left_out(columns) == {"first": reason, "second": reason}

    @pytest.mark.parametrize("word", ["times", "over"])
    def test_two_columns_whose_product_or_ratio_it_is(
        self, rng: np.random.Generator, word: str
    ) -> None:
        price, count = rng.gamma(3, 10, ROWS).round(2) + 1, rng.integers(1, 20, ROWS)
        target = (price * count if word == "times" else price / count).round(3)
        other = rng.normal(size=ROWS)
        reason = f"looks like the target in disguise: review (price {word} count is target)"
        columns = {"target": target, "price": price, "count": count, "other": other}
        assert left_out(columns) == {"price": reason, "count": reason}

    def test_parts_one_of_which_is_nearly_the_target_beside_a_column_of_few_values(
        self, rng: np.random.Generator
    ) -> None:
        casual, registered = rng.poisson(3, ROWS), rng.poisson(60, ROWS)
        note = pd.Series(rng.normal(size=ROWS)).mask(np.arange(ROWS) > 1)
        columns = {"target": casual + registered, "casual": casual, "registered": registered}
        assert list(left_out({**columns, "note": note})) == ["casual", "registered"]

    def test_ranges_with_a_few_rows_elsewhere(self, rng: np.random.Generator) -> None:
        price = rng.gamma(3, 10, ROWS)
        band = np.digitize(price, [10, 20, 30, 50])
        band[:2] = 0
        columns = {"target": price, "band": band, "rooms": rng.integers(1, 30, ROWS)}
        assert list(left_out(columns)) == ["band"]

    def test_zeros_that_come_together_are_no_product(self, rng: np.random.Generator) -> None:
        amount, share = rng.gamma(3, 10, ROWS), rng.random((3, ROWS))
        target, first, second = np.where(share < [[0.02], [0.1], [0.1]], amount, 0.0)
        assert left_out({"target": target, "first": first, "second": second}) == {}

    def test_a_part_that_is_nearly_always_zero_is_told_by_the_other_alone(
        self, rng: np.random.Generator
    ) -> None:
        first = rng.normal(100, 40, ROWS)
        fee = np.zeros(ROWS)
        fee[:4] = 1.0
        found = left_out({"target": first + fee, "first": first, "fee": fee})
        assert list(found) == ["first"]
        assert "R2" in found["first"]

    @pytest.mark.parametrize("is_class", [True, False])
    def test_marks_for_missing_beyond_32_bits(
        self, rng: np.random.Generator, is_class: bool
    ) -> None:
        target = rng.integers(0, 2, ROWS) if is_class else rng.normal(size=ROWS)
        size = np.where(rng.random(ROWS) < 0.1, np.finfo("float64").max, rng.normal(size=ROWS))
        assert left_out({"target": target, "size": size, "low": -size}) == {}

    def test_columns_that_only_go_along_are_kept(self, rng: np.random.Generator) -> None:
        size = rng.normal(size=ROWS)
        price = size + rng.normal(size=ROWS)
        columns = {"target": price, "size": size, "zone": rng.integers(0, 5, ROWS)}
        assert left_out(columns) == {}


class TestDates:
    @pytest.mark.parametrize(
        ("start", "frequency", "parts"),
        [
            ("2020-01-06 06:00", "7D", set()),  # Mondays at six
            ("2020-01-01 06:00", "D", {"at_weekday"}),
            ("2020-01-01 06:30", "31h", {"at_weekday", "at_hour"}),
        ],
    )
    def test_constant_parts_are_not_proposed(
        self, rng: np.random.Generator, start: str, frequency: str, parts: set[str]
    ) -> None:
        times = pd.date_range(start, periods=30, freq=frequency)
        columns = {
            "at": np.repeat(times, 20),
            "target": rng.normal(size=600),
            "size": rng.normal(size=600),
        }
        for form in (columns, {**columns, "at": columns["at"].strftime("%Y-%m-%d %H:%M:%S")}):
            proposal = proposal_of(form, target="target", time="at", partition="weekly")
            _, names = selected(proposal)
            assert {name for name in names if name.startswith("at_")} == parts


def test_the_test_declares_the_types_of_the_data(rng: np.random.Generator) -> None:
    table = pa.table(
        {
            "number": pa.array(range(1000, 1000 + ROWS), pa.int32()),
            "small": pa.array([None, *rng.integers(0, 40, ROWS - 1)], pa.int16()),
            "share": pa.array(rng.normal(size=ROWS).astype("float32"), pa.float32()),
            "price": pa.array([Decimal(n % 7) / 4 for n in range(ROWS)], pa.decimal128(12, 2)),
            "is_old": pa.array(rng.random(ROWS) < 0.5, pa.bool_()),
            "zone": pa.array(rng.choice(["a", "b"], ROWS)).dictionary_encode(),
            "target": pa.array(rng.choice(["x", "y"], ROWS)),
        }
    )
    text = feature_test(proposal_of(table, target="target", entity="number"))
    assert "from decimal import Decimal\nfrom typing import Any" in text
    for column in (
        "`number` int, ",
        "`small` smallint, ",
        "`share` float, ",
        "`price` decimal(12,2), ",
        "`is_old` boolean, ",
        "`zone` string",
    ):
        assert f'    "{column}"' in text
    assert 'Decimal("0.75")' in text
    compile(text, "test_p.py", "exec")
