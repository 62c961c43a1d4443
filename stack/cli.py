"""The commands behind `./relevo`."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import typer
from rich.console import Console
from rich.table import Table

from stack.configuration import ADMIN, Configuration
from stack.errors import StackError
from stack.layout import Layout
from stack.operation import Stack

app = typer.Typer(
    name="relevo",
    help="Train, score, watch and retrain models on Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _shown_errors() -> Iterator[None]:
    """Turn errors of the stack into a message and exit code 1, an interrupt into 130."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        yield
    except StackError as error:
        errors.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        errors.print("interrupted", style="red")
        raise typer.Exit(130) from None


def _report(line: str) -> None:
    console.print(line, markup=False)


def _print_addresses(layout: Layout) -> None:
    configuration = Configuration.load(layout)
    console.print(f"Airflow  {configuration.airflow_url}  (user {ADMIN})", markup=False)
    console.print(f"MLflow   {configuration.mlflow_url}", markup=False)
    console.print(f"The password is in {layout.airflow_passwords}", markup=False, soft_wrap=True)


def _ensure_up(stack: Stack) -> bool:
    with console.status("starting the stack"):
        started = stack.up(_report)
    console.print("The stack is up." if started else "The stack is already running.")
    _print_addresses(stack.layout)
    return started


@app.command()
def up() -> None:
    """Start the embedded stack and wait until it is healthy."""
    with _shown_errors():
        _ensure_up(Stack(Layout.from_environment()))


@app.command()
def down() -> None:
    """Stop every part of the embedded stack; data is kept."""
    with _shown_errors():
        stopped = Stack(Layout.from_environment()).down(_report)
        console.print("The stack is down." if stopped else "Nothing was running.")


@app.command()
def status() -> None:
    """Show every part; the exit code is 0 only if all are healthy."""
    with _shown_errors():
        stack = Stack(Layout.from_environment())
        if not stack.is_running():
            trouble = "supervisord is gone, its parts are not" if stack.has_orphans() else "down"
            raise StackError(f"Stack {stack.layout.state}: {trouble}. Run `./relevo up`.")
        rows = stack.status()
    table = Table("part", "state", "pid", "uptime", "restarts", "address", "health")
    for row in rows:
        table.add_row(
            row.name,
            row.state.state,
            str(row.state.pid or "-"),
            f"{row.state.uptime_seconds:.0f} s" if row.state.pid else "-",
            str(row.restarts),
            row.address or "-",
            "[green]healthy[/]" if row.trouble is None else f"[red]{row.trouble}[/]",
        )
    console.print(table)
    raise typer.Exit(0 if all(row.trouble is None for row in rows) else 1)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
