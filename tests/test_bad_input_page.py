"""The page about bad input says what the corpus says."""

from __future__ import annotations

from tests.corpus import landed_cases
from tests.corpus.page import PAGE, text


def test_the_page_is_the_corpus() -> None:
    assert PAGE.read_text(encoding="utf-8") == text(), "run: python -m tests.corpus.page"


def test_every_case_is_told_apart() -> None:
    named = [case.what for case in landed_cases()]
    assert len(named) == len(set(named)) >= 60
