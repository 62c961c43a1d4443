"""Which errors end a task at once, and which are tried again."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.errors import SourceError, UnavailableError
from relevo.operators.base import PipelineOperator


class Raising(PipelineOperator):
    def __init__(self, *, error: Exception, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def run(self, context: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (SourceError("a column is missing"), AirflowFailException),
        (UnavailableError("the database does not answer"), UnavailableError),
        (OSError("connection reset"), OSError),
    ],
)
def test_wrong_input_fails_at_once_and_an_outage_is_retried(
    error: Exception, seen: type[Exception]
) -> None:
    task = Raising(task_id="step", pipeline="loan_default", error=error)
    with pytest.raises(seen) as caught:
        task.execute({})
    assert caught.type is seen
    assert str(caught.value) == str(error)
