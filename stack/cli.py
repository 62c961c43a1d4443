"""The commands behind `./relevo`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from stack.bootstrap import DEVELOPMENT, INSTALLER, RUNTIME
from stack.commands.backup import backup, restore
from stack.commands.check import check
from stack.commands.compose import app as compose
from stack.commands.demo import demo
from stack.commands.doctor import doctor
from stack.commands.land import land
from stack.commands.mutate import mutate
from stack.commands.new import new
from stack.commands.plan import plan
from stack.commands.run import run
from stack.commands.supply_chain import audit, licences, sbom
from stack.commands.up import up
from stack.commands.upgrade import upgrade as upgrade_databases
from stack.embedded.layout import REPOSITORY, Layout
from stack.embedded.operation import Stack
from stack.embedded.parts import PARTS
from stack.errors import ConfigurationError, StackError
from stack.terminal import console, report, shown_errors

LOG_NAMES = ("supervisord", *(part.name for part in PARTS))

app = typer.Typer(
    name="relevo",
    help="Train, score, watch and retrain models on Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


@app.command()
def down() -> None:
    """Stop every part of the embedded stack; data is kept."""
    with shown_errors():
        stack = Stack(Layout.from_environment())
        with console.status("stopping the stack"):
            stopped = stack.down(report)
        console.print("The stack is down." if stopped else "Nothing was running.")


@app.command()
def status() -> None:
    """Show every part; the exit code is 0 only if all are healthy."""
    with shown_errors():
        stack = Stack(Layout.from_environment())
        if not stack.is_running():
            trouble = "supervisord is gone, its parts are not" if stack.has_orphans() else "down"
            raise StackError(f"Stack {stack.layout.state}: {trouble}. Run `./relevo up`.")
        rows = stack.status()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("part", "state", "pid", "uptime", "restarts", "address"):
        table.add_column(heading, no_wrap=True)
    table.add_column("health", overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            row.state.state.lower(),
            str(row.state.pid or "-"),
            _duration(row.state.uptime_seconds) if row.state.pid else "-",
            str(row.restarts),
            row.address or "-",
            "[green]healthy[/]" if row.trouble is None else f"[red]{escape(row.trouble)}[/]",
        )
    console.print(table)
    raise typer.Exit(0 if all(row.trouble is None for row in rows) else 1)


@app.command()
def logs(
    part: Annotated[str, typer.Argument(help=f"One of: {', '.join(LOG_NAMES)}.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many to show.")] = 200,
) -> None:
    """Show the log of a part."""
    with shown_errors():
        if part not in LOG_NAMES:
            known = ", ".join(LOG_NAMES)
            raise ConfigurationError(f"Part {part}: is unknown. Name one of {known}.")
        path = Layout.from_environment().log_of(part)
        if not path.exists():
            raise ConfigurationError(f"Part {part}: has no log yet. Run `./relevo up`.")
    sys.stdout.flush()
    # -F goes on with the new file after the log was rotated.
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)])


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(
    context: typer.Context,
    compose: Annotated[
        bool, typer.Option("--compose", help="The stage on docker-compose, 25 minutes.")
    ] = False,
) -> None:
    """Run the tests; arguments are handed to pytest."""
    os.chdir(REPOSITORY)
    if compose:
        command = [sys.executable, "-m", "tests.compose.engine", *context.args]
    else:
        with shown_errors():
            _ensure_chromium()
        chosen = any(os.path.exists(word.split("::")[0]) for word in context.args)
        ours = [] if chosen else ["tests", "--ignore=tests/compose"]
        command = [sys.executable, "-m", "pytest", *ours, *context.args]
    sys.stdout.flush()
    os.execv(command[0], command)


def _ensure_chromium() -> None:
    """Install Debian's Chromium for the browser test.

    Raises:
        ConfigurationError: There is none and it cannot be installed from here.
    """
    if shutil.which("chromium"):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ConfigurationError(
            "Program chromium: is needed by the browser test and is not on the PATH. Install it "
            "(on Debian, as root: apt-get install chromium) and run again."
        )
    console.print("installing chromium")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (
        ("update",),
        ("install", "--yes", "--no-install-recommends", "chromium"),
    ):
        answer = subprocess.run(
            ["apt-get", "--quiet", "--quiet", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise ConfigurationError(
                f"apt-get {arguments[0]}: must install chromium for the browser test, got "
                f"{answer.stderr.strip()[-500:]!r}. Install chromium by hand and run again."
            )


@app.command()
def lock(
    upgrade: Annotated[bool, typer.Option(help="Take newer releases where allowed.")] = False,
) -> None:
    """Pin requirements*.in, with hashes, into requirements*.txt."""
    uv = str(Layout.from_environment().bin / "uv")
    for pinned in (RUNTIME, DEVELOPMENT, INSTALLER):
        wanted = str(pinned.removesuffix(".txt")) + ".in"
        command = [uv, "pip", "compile", wanted, "--quiet", "--generate-hashes"]
        command += ["--python-version", "3.11", "--output-file", pinned]
        command += ["--upgrade"] if upgrade else []
        console.print(f"{wanted} -> {pinned}")
        status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
        if status != 0:
            raise typer.Exit(status)


app.command()(up)
app.command()(demo)
app.add_typer(compose, name="compose")
app.command()(run)
app.command()(check)
app.command()(plan)
app.command()(new)
app.command()(land)
app.command()(audit)
app.command()(sbom)
app.command()(licences)
app.command()(doctor)
app.command()(mutate)
app.command()(backup)
app.command()(restore)
app.command("upgrade")(upgrade_databases)


def main() -> None:
    """Run the command line."""
    app(prog_name="relevo")


if __name__ == "__main__":
    main()
