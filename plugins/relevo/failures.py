"""Which errors of the library are tried again, and what is kept of those that are told."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from include.errors import RelevoError, UnavailableError

# XCom with the reason of a task that failed, for those who are told of it.
REASON = "relevo_failure"
_LONGEST_REASON = 2000
_log = logging.getLogger(__name__)


class DeadlineMissedError(AirflowFailException):
    """Something that was waited for did not come in time."""


@dataclass(frozen=True)
class Reason:
    """Why a task failed, in words that are written for people.

    Args:
        kind: ``gate`` if Relevo refused to go on, ``deadline`` if it waited too long.
        told: The message.
    """

    kind: Literal["failure", "gate", "deadline"]
    told: str


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Turn an error of the library into a failure without retries.

    A :class:`~include.errors.RelevoError` says that the input or the state is wrong, which trying
    again does not change. Everything else may be tried again, a store or a database that does not
    answer too.

    Raises:
        AirflowFailException: In place of such an error.
    """
    try:
        yield
    except UnavailableError:
        raise
    except RelevoError as error:
        raise AirflowFailException(str(error)) from error


@contextmanager
def reason_kept(context: Any) -> Iterator[None]:
    """Keep why a task fails where the alerts find it; whatever it raises goes on.

    Of errors that nobody wrote for people only the type is kept: they may quote anything.
    """
    try:
        yield
    except AirflowSkipException:
        raise
    except AirflowTaskTimeout as error:
        _keep(context, Reason("deadline", f"It took too long ({error})."))
        raise
    except DeadlineMissedError as error:
        _keep(context, Reason("deadline", str(error)))
        raise
    except (AirflowFailException, RelevoError) as error:
        is_refusal = isinstance(error.__cause__, RelevoError)
        _keep(context, Reason("gate" if is_refusal else "failure", str(error)))
        raise
    except Exception as error:
        _keep(context, Reason("failure", f"{type(error).__name__}: its log says more."))
        raise


def _keep(context: Any, reason: Reason) -> None:
    # The task fails for its own reason, whatever goes wrong here.
    try:
        kept = Reason(reason.kind, reason.told[:_LONGEST_REASON])
        context["ti"].xcom_push(key=REASON, value=asdict(kept))
    except Exception:
        _log.warning("Why the task fails was not kept", exc_info=True)
