"""`./relevo demo`: the demonstration on the embedded stack or on docker-compose."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from stack.airflow_api import AirflowApi
from stack.commands.compose import docker_compose
from stack.commands.up import ensure_up
from stack.embedded.configuration import ADMIN, Configuration
from stack.embedded.environment import library_environment
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack, uninterrupted
from stack.terminal import console, report, shown_errors

if TYPE_CHECKING:
    from stack.commands.demo_lifecycle import Pages

# Set in the container `tools` alone, where everything that the demonstration needs is in the
# environment; the other variables may also be exported for the doctor.
INSIDE = "RELEVO_AIRFLOW_UI_URL"


def demo(
    partitions: Annotated[
        int | None, typer.Option(min=1, help="How many quarters to score; all that fit if unset.")
    ] = None,
    compose: Annotated[
        bool, typer.Option("--compose", help="On docker-compose instead of the embedded stack.")
    ] = False,
    summary: Annotated[
        bool, typer.Option("--summary", hidden=True, help="Print the result and run nothing.")
    ] = False,
) -> None:
    """Run a whole model lifecycle on the example data."""
    with shown_errors():
        if compose:
            _on_compose(partitions)
        elif summary:
            from stack.commands.demo_lifecycle import summary as describe

            print(describe())
        elif os.environ.get(INSIDE):
            _inside(partitions)
        else:
            _on_embedded_stack(partitions)


def _on_embedded_stack(partitions: int | None) -> None:
    from stack.commands.demo_lifecycle import Pages
    from stack.commands.demo_lifecycle import summary as describe

    stack = Stack(Layout.from_environment())
    started = ensure_up(stack)
    configuration = Configuration.load(stack.layout)
    os.environ.update(library_environment(stack.layout, configuration))
    pages = Pages(
        airflow=configuration.airflow_url,
        login=f"user {ADMIN}, password in {stack.layout.airflow_passwords}",
        mlflow=configuration.mlflow_url,
        end="done; ./relevo down stops the stack",
    )
    try:
        _run(AirflowApi.of(configuration), pages, partitions)
    except KeyboardInterrupt:
        if started:
            with uninterrupted():
                stack.down(report)
        raise
    (stack.layout.state / "demo.json").write_text(describe() + "\n", encoding="utf-8")


def _on_compose(partitions: int | None) -> None:
    layout = Layout.from_environment()
    layout.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = () if partitions is None else ("--partitions", str(partitions))
    docker_compose("up", "--detach", "--build", "--wait")
    docker_compose("run", "--rm", "tools", "demo", *wanted)
    docker_compose(
        *("run", "--rm", "--no-TTY", "tools", "demo", "--summary"),
        output=layout.state / "demo-compose.json",
    )


def _inside(partitions: int | None) -> None:
    from stack.commands.demo_lifecycle import Pages

    user = os.environ["RELEVO_AIRFLOW_USER"]
    pages = Pages(
        airflow=os.environ[INSIDE],
        login=f"user {user}, password AIRFLOW_ADMIN_PASSWORD in .env",
        mlflow=os.environ["RELEVO_MLFLOW_UI_URL"],
        end="done; docker compose down stops everything, data is kept",
    )
    url, password = os.environ["RELEVO_AIRFLOW_URL"], os.environ["RELEVO_AIRFLOW_PASSWORD"]
    api = AirflowApi(url, password, user)
    _run(api, pages, partitions)


def _run(api: AirflowApi, pages: Pages, partitions: int | None) -> None:
    from stack.commands import demo_lifecycle as lifecycle

    lifecycle.run(api, pages, console, partitions=partitions)
