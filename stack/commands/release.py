"""`./relevo release`: put repaired rows of quarantine back into their partition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from include.wording import counted
from stack.commands import named_pipeline, platform_run
from stack.commands.platform_run import Name, Reason
from stack.commands.store_access import Local, open_store
from stack.embedded.layout import Layout
from stack.errors import StackError
from stack.terminal import report, shown_errors


def release(
    name: Name,
    dataset: Annotated[str, typer.Option(help="The source whose rows they are.")],
    partition: Annotated[str, typer.Option(help="In which partition they landed.")],
    file: Annotated[
        Path,
        typer.Option(
            help="The .csv or .parquet of `./relevo quarantine --export`, repaired.",
            dir_okay=False,
        ),
    ],
    reason: Reason = "",
    local: Local = False,
) -> None:
    """Put repaired rows of quarantine back into their partition, if the suite lets them pass."""
    from include.calendar.partitions import parse
    from include.errors import RelevoError
    from include.registry.champions import Registry
    from include.steps import quarantined_rows
    from include.steps import release as steps
    from include.steps.generations import in_use_now
    from include.storage.lake_tables import Lake

    layout = Layout.from_environment()
    with shown_errors():
        pipeline = named_pipeline.load(name)
        reason = platform_run.given_reason(reason)
        # Before anything is handed in, which would stay.
        platform_run.demand_unpaused(platform_run.reach_airflow(layout), "platform_release")
        try:
            data = file.read_bytes()
        except OSError as error:
            raise StackError(
                f"file {file}: must be there to be read, got {error.strerror}. Correct the path."
            ) from error
        with open_store(layout, local=local) as settings:
            lake = Lake(settings, name)
            try:
                Registry(lake).demand_in_service()
                parse(partition, pipeline.partition)
                quarantined_rows.demand_dataset(pipeline, dataset)
                table = in_use_now(lake, pipeline).quarantine_table(dataset)
                held = quarantined_rows.quarantined_rows(lake, table, partition)
                rows = quarantined_rows.corrected(data, file.name, held)
                request = steps.hand_in(lake, pipeline, dataset, partition, rows)
            except RelevoError as error:
                raise StackError(str(error)) from error
    report(
        f"handed in {counted(len(rows), 'row')} as {request}, which its run deletes when it is done"
    )
    platform_run.do(
        "platform_release", name, reason, dataset=dataset, partition=partition, request=request
    )
