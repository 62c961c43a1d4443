"""Pipeline files, suites and names of the corpus of bad inputs: each is refused with a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import RelevoError
from include.quality.suites import load_suite
from include.specification.pipeline_file import load
from tests.corpus.specification import CASES, RIGHT, UNIQUE, Named, _of


def test_what_is_edited_is_right(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(RIGHT)
    (tmp_path / "s.json").write_text(_of(UNIQUE))
    assert load("p", tmp_path).entity == "id"
    assert len(load_suite("s", tmp_path)["expectations"]) == 1


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_it_is_refused_with_a_message(case: Named, tmp_path: Path) -> None:
    with pytest.raises(RelevoError) as caught:
        case.read(tmp_path)
    message = str(caught.value)
    for words in case.says:
        assert words in message, message
        message = message.partition(words)[2]
