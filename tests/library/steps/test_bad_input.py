"""Every case of the corpus of bad inputs, from the landed file to the tables, on a real store."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from include.quality import suites
from include.quality.suites import load_suite
from include.storage.settings import StoreSettings
from tests.corpus import changes, csv_text, files, json_text, labels, parquet_types
from tests.corpus.case import Landed
from tests.corpus.driving import by_the_library, drive, ground, write_suites

GROUPS = (files, csv_text, json_text, parquet_types, changes, labels)
CASES = [case for group in GROUPS for case in group.CASES]


@pytest.fixture(autouse=True)
def own_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_suites(tmp_path)
    monkeypatch.setattr(suites, "load_suite", functools.partial(load_suite, folder=tmp_path))


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_lands_is_kept_or_quarantined_or_refused(
    case: Landed, store_settings: StoreSettings, caplog: pytest.LogCaptureFixture
) -> None:
    drive(ground(store_settings, case), case, by_the_library, caplog)
