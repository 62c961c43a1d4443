"""The commands behind `./relevo`: one module of `stack/commands` each."""

from __future__ import annotations

import os

import typer

from stack.commands.airflow import ALL_PASSES_ON, airflow
from stack.commands.audit import audit
from stack.commands.backup import backup, restore
from stack.commands.check import check
from stack.commands.clean import clean
from stack.commands.compose import app as compose
from stack.commands.decisions import decisions
from stack.commands.demo import demo
from stack.commands.doctor import doctor
from stack.commands.down import down
from stack.commands.erase import erase
from stack.commands.freeze import freeze
from stack.commands.gaps import gaps
from stack.commands.history import history
from stack.commands.land import land
from stack.commands.licences import licences
from stack.commands.lint import lint
from stack.commands.lock import lock
from stack.commands.logs import logs
from stack.commands.maintain import maintain
from stack.commands.migrate import migrate
from stack.commands.mutate import mutate
from stack.commands.new import new
from stack.commands.plan import plan
from stack.commands.predictions import predictions
from stack.commands.promote import promote
from stack.commands.quarantine import quarantine
from stack.commands.refuse import refuse
from stack.commands.release import release
from stack.commands.retire import retire
from stack.commands.rollback import rollback
from stack.commands.run import run
from stack.commands.sbom import sbom
from stack.commands.stale import stale
from stack.commands.status import status
from stack.commands.test import PASSES_ON, test
from stack.commands.torture import torture
from stack.commands.unfreeze import unfreeze
from stack.commands.up import up
from stack.commands.upgrade import upgrade
from stack.commands.withdraw import withdraw
from stack.embedded.environment import ONE_THREAD

app = typer.Typer(
    name="relevo",
    help="Train, score, watch and retrain models on Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(down)
app.command()(status)
app.command()(logs)
app.command(context_settings=PASSES_ON)(test)
app.command()(lint)
app.command()(lock)
app.command()(up)
app.command()(demo)
app.add_typer(compose, name="compose")
app.command()(run)
app.command()(check)
app.command()(plan)
app.command()(new)
app.command()(land)
app.command()(predictions)
app.command()(decisions)
app.command()(gaps)
app.command()(stale)
app.command()(quarantine)
app.command()(release)
app.command()(history)
app.command()(rollback)
app.command()(promote)
app.command()(refuse)
app.command()(freeze)
app.command()(unfreeze)
app.command()(withdraw)
app.command()(migrate)
app.command()(erase)
app.command()(retire)
app.command()(maintain)
app.command()(clean)
app.command(context_settings=ALL_PASSES_ON)(airflow)
app.command()(audit)
app.command()(sbom)
app.command()(licences)
app.command()(doctor)
app.command()(mutate)
app.command()(torture)
app.command()(backup)
app.command()(restore)
app.command()(upgrade)


def main() -> None:
    """Run the command line, which computes as tasks do."""
    os.environ.update(ONE_THREAD)
    app(prog_name="relevo")


if __name__ == "__main__":
    main()
