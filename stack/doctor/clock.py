"""How far a server's clock is from ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from stack.doctor.checkup import Outcome, failed, not_checked, ok, warning

WARN_SECONDS = 60
# S3 refuses signatures that are 900 s off; tokens of Airflow live from "not before" on.
FAIL_SECONDS = 300


def compare(headers: Mapping[str, str]) -> Outcome:
    """Judge the Date header of an answer that came just now."""
    date = headers.get("Date")
    if date is None:
        return not_checked("the answer has no Date header")
    skew = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine"
    remedy = "Set both clocks by NTP (chrony, systemd-timesyncd)."
    if abs(skew) > FAIL_SECONDS:
        return failed(found, f"{remedy} Signed requests are refused when clocks differ.")
    if abs(skew) > WARN_SECONDS:
        return warning(found, remedy)
    return ok(f"within {max(1, round(abs(skew)))} s of this machine")
