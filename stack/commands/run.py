"""`./relevo run`: a pipeline's steps in one process, without Airflow, on a sample."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.commands import named_pipeline
from stack.embedded.configuration import Configuration
from stack.embedded.environment import library_environment
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.errors import StackError
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from include.specification.pipeline import Pipeline
    from include.storage.object_store import ObjectStore

# What the steps need; Airflow is not among them.
NEEDED = ("store", "postgres", "mlflow", "spark")
SAMPLE_ROWS = 5_000


def run(
    name: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    partition: Annotated[
        str | None, typer.Option(help="Partition to score; the latest that landed if unset.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Rows of a partition to work on; 0 takes all.")
    ] = SAMPLE_ROWS,
    local: Annotated[
        bool,
        typer.Option("--local", help="Start what is needed if the stack is down, then stop it."),
    ] = False,
) -> None:
    """Run a pipeline's steps in this process, without Airflow, on a sample."""
    with shown_errors():
        pipeline = named_pipeline.load(name)
        layout = Layout.from_environment()
        with _stack(layout, local=local) as configuration:
            os.environ.update(library_environment(layout, configuration))
            _run(layout, pipeline, partition, sample or None)


@contextlib.contextmanager
def _stack(layout: Layout, *, local: bool) -> Iterator[Configuration]:
    stack = Stack(layout)
    if local:
        os.umask(0o077)
        with stack.running(NEEDED, report) as configuration:
            yield configuration
        return
    if not stack.is_running():
        raise StackError(
            f"Stack {layout.state}: must be running, got down. Run `./relevo up`, or add --local "
            "to start just the store, MLflow and Spark for this run."
        )
    yield Configuration.load(layout)


def _run(layout: Layout, pipeline: Pipeline, partition: str | None, sample: int | None) -> None:
    # Here, because the library reads its settings from the environment that was just set.
    from include.development import local_run
    from include.errors import RelevoError
    from include.spark.session import connect
    from include.storage.object_store import ObjectStore
    from include.storage.settings import Settings

    def tell(step: str, outcome: str, seconds: float) -> None:
        console.print(f"{seconds:6.1f} s  {step:<34} {outcome}", markup=False, soft_wrap=True)

    try:
        settings = Settings.from_environment()
        with connect(settings.spark_remote) as spark:
            result = local_run.run(
                spark, settings, pipeline, tell, partition=partition, sample=sample
            )
        folder = layout.state / "run" / pipeline.name
        pages = _save(ObjectStore(settings.store), result.pages, folder)
    except RelevoError as error:
        raise StackError(str(error)) from error
    for page in pages:
        console.print(f"page  {page}", markup=False, soft_wrap=True)
    if not result.promoted:
        raise StackError(
            f"Pipeline {pipeline.name}: the challenger was refused, so nothing was scored. Look at "
            "the evidence page, then change the features, the candidates or the promotion rules."
        )


def _save(store: ObjectStore, uris: tuple[str, ...], folder: Path) -> list[Path]:
    """Copy pages next to the stack's files, where a browser can open them."""
    from include.storage.object_store import bucket_and_key

    saved = []
    for uri in uris:
        _, key = bucket_and_key(uri)
        target = folder.joinpath(*key.split("/")[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.read(uri))
        saved.append(target)
    return saved
