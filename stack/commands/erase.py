"""`./relevo erase`: take somebody's rows out of everything that a pipeline keeps."""

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
from stack.terminal import console, report, shown_errors


def erase(
    name: Name,
    file: Annotated[
        Path, typer.Argument(help="Ids of the pipeline's entity, one a line.", dir_okay=False)
    ],
    reason: Reason = "",
    landed_only: Annotated[
        bool,
        typer.Option(
            "--landed-only", help="Landed files alone, for tasks that may not write them."
        ),
    ] = False,
    local: Local = False,
) -> None:
    """Take somebody's rows out of every version of every table, landed files, pages and logs."""
    from include.errors import SourceError
    from include.ingestion.entity_ids import read_ids
    from include.steps import erasure
    from include.storage.lake_tables import Lake

    layout = Layout.from_environment()
    with shown_errors():
        pipeline = named_pipeline.load(name)
        try:
            ids = read_ids(file.read_bytes(), f"file {file.name}")
        except OSError as error:
            raise StackError(
                f"file {file}: must be there to be read, got {error.strerror}. Correct the path."
            ) from error
        except SourceError as error:
            raise StackError(str(error)) from error
        if not landed_only:
            reason = platform_run.given_reason(reason)
            # Before anything is handed in, which would stay.
            platform_run.demand_unpaused(platform_run.reach_airflow(layout), "platform_erase")
        with open_store(layout, local=local) as settings:
            lake = Lake(settings, name)
            if landed_only:
                changed = erasure.erase_landed(lake, pipeline, ids)
            else:
                request = erasure.hand_in(lake, pipeline, ids, reason)
    if landed_only:
        console.print(
            f"taken out of {counted(changed, 'landed file')}; clear the task that waits for it"
        )
        return
    report(
        f"handed in {counted(len(ids), 'id')} as {request}, which its run deletes when it is done"
    )
    platform_run.do("platform_erase", name, reason, request=request)
