"""Every case of the corpus of bad inputs, from the landed file to the tables, on a real store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from include.quality import data_docs, suites
from include.quality.suites import load_suite
from include.storage.settings import StoreSettings
from tests.corpus import landed_cases
from tests.corpus.case import Kept, Landed
from tests.corpus.driving import ByTheLibrary, drive, ground, write_suites

CASES = landed_cases()


@pytest.fixture(scope="module")
def read_suite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Read a suite of the corpus once: that takes a fifth of the time of a small batch."""
    folder = tmp_path_factory.mktemp("suites")
    write_suites(folder)
    return functools.cache(functools.partial(load_suite, folder=folder))


@pytest.fixture(autouse=True)
def own_suites(read_suite: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "load_suite", read_suite)


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_lands_is_kept_or_quarantined_or_refused(
    case: Landed,
    store_settings: StoreSettings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if isinstance(case.outcome, Kept):  # a page without failures takes a third of the time
        monkeypatch.setattr(data_docs, "publish_data_docs", lambda *_: None)
    drive(ground(store_settings, case), case, ByTheLibrary(), caplog)
