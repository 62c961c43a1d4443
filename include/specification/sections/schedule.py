"""When scoring runs."""

from __future__ import annotations

from datetime import date

from pydantic import Field, ValidationInfo, field_validator

from include.specification.sections.section import Section

_MOST_YEARS = 500


class Schedule(Section):
    """When ``<pipeline>_score`` runs.

    Args:
        cron: Cron expression, UTC; each run is about the latest partition closed before it.
        start: First day on which a run may be due.
        end: Last day on which a run may be due, at most 500 years after the first; None for a
            live pipeline.
        catch_up: How many missed runs, the latest aside, are made up for after an outage or a
            pause, in order; what is older stays a gap, which ``./relevo gaps`` lists.
    """

    cron: str
    start: date
    end: date | None = None
    catch_up: int = Field(default=24, ge=0, le=1000)

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        from croniter import croniter

        # croniter also takes seconds, years and names such as @daily.
        if len(cron.split()) != 5 or not croniter.is_valid(cron):
            raise ValueError("must be a cron expression of five fields such as 0 6 1 * *")
        return cron

    @field_validator("end")
    @classmethod
    def _is_after_start(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start")
        if end is not None and start is not None and end <= start:
            raise ValueError(f"must be later than start {start}")
        # Every run until then is listed, whoever writes 9999-12-31 for "never".
        if end is not None and start is not None and end.year > start.year + _MOST_YEARS:
            raise ValueError(
                f"must be at most {_MOST_YEARS} years after start {start}; leave it out for a "
                "live pipeline"
            )
        return end
