"""`./relevo maintain`: what the DAG platform_maintain would remove; it changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from include.storage.settings import RETENTION_DAYS
from stack.commands import named_pipeline
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from include.steps.maintenance_plan import Plan


def maintain(
    name: Annotated[
        str | None, typer.Argument(help="Name of the pipeline; every pipeline if unset.")
    ] = None,
    days: Annotated[int, typer.Option(help="How long what was replaced stays.")] = RETENTION_DAYS,
    local: Local = False,
) -> None:
    """List what the DAG platform_maintain would remove; changes nothing."""
    from include.steps.maintenance import AirflowRuns, Maintenance
    from include.steps.removal import retired_pipelines
    from include.storage.lake_tables import Lake
    from include.storage.settings import retention

    # Airflow and MLflow are not asked: what open runs may still need is left by the DAG.
    nobody = AirflowRuns(open_since=lambda dag_ids: None, is_open=lambda dag_id, run_id: True)
    with shown_errors(), open_store(Layout.from_environment(), local=local) as settings:
        stays = retention(days)
        # Those that are retired may have no file any more.
        retired = retired_pipelines(settings)
        wanted = named_pipeline.load_all(name) if name not in retired else []
        pipelines = {item.name: item for item in wanted}
        for each in sorted({*pipelines, *retired}) if name is None else [name]:
            maintenance = Maintenance(
                Lake(settings, each), nobody, stays, pipeline=pipelines.get(each)
            )
            _show(maintenance.draw_up(datetime.now(UTC)))


def _show(plan: Plan) -> None:
    from include.reports.maintenance_page import lines

    found = lines(plan)
    if plan.held_back:
        report(f"{plan.pipeline}: {plan.held_back}")
    if not found:
        report(f"{plan.pipeline}: nothing to do")
        return
    report(f"{plan.pipeline}: what was replaced before {plan.cutoff[:16]} UTC is needed no more")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("kind", "how many", "bytes", "the first of them", "why"):
        table.add_column(head, overflow="fold")
    for line in found:
        first = next(item for item in plan.items if item.kind == line.kind)
        count, size = line.planned
        table.add_row(line.kind, f"{count:,}", f"{size:,}", escape(first.name), escape(first.why))
    console.print(table)
