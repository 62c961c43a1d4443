"""Which names columns may have."""

from __future__ import annotations

import unicodedata

import pytest

from include.errors import SourceError
from include.ingestion.storable_columns import check_names

ACUTE = "caf\u00e9"


@pytest.mark.parametrize(
    "name",
    [
        *("petal.width", "`tick`", "it's", 'say "hi"', "a/b", "a\\b", " lead", "trail ", "*", "."),
        *("[]{}():,;=", "${x}", "{{ x }}", "%s", "tab\tnew\nline", "#", "1", "class", "select"),
        *("\u65e5\u672c\u8a9e", "\U0001f600", "nbsp\u00a0x", "\ufeffbom", "x" * 5000, ACUTE),
        *("label", "known_at", "held_out", "source_partition", "score", "prediction", "entity"),
    ],
)
def test_whatever_a_file_allows_is_a_name(name: str) -> None:
    check_names("file a", ["id", name])


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["x", "X"], "tables do not tell apart, got 'x' and 'X'. Rename one of them."),
        (["\u00c4", "a", "\u00e4"], "got '\u00c4' and '\u00e4'. Rename one of them."),
        ([ACUTE, unicodedata.normalize("NFD", ACUTE)], "the way an accent is stored"),
        (["a", "b", "a"], "hold each column once, got 'a' more than once. Rename"),
        (["a", ""], "must name every column, got none for column 2"),
        (["a\0b", "a"], r"the character NUL in names, .* got 'a\\x00b'. Rename the column."),
        (["_x"], "which Relevo adds itself, got '_x'. Rename the column."),
        (["Partition"], "which Relevo adds itself, got 'Partition'. Rename the column."),
        (["(predictions)"], r"which Relevo adds itself, got '\(predictions\)'. Rename"),
    ],
)
def test_other_names_are_refused_and_told(names: list[str], rule: str) -> None:
    with pytest.raises(SourceError, match=rule) as caught:
        check_names("file a", names)
    assert str(caught.value).startswith("file a must ")


def test_what_cannot_be_seen_is_told_and_what_is_long_is_cut() -> None:
    with pytest.raises(SourceError) as caught:
        check_names("file a", ["_tab\t", "_" + "x" * 500])
    assert r"'_tab\t', '_xxx" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_many_columns_take_no_time() -> None:
    check_names("file a", [f"c{number}" for number in range(20_000)])
