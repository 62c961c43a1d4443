"""Migrate the databases of a deployment: new ones at once, older ones only when told to.

The job `migrate` of docker-compose.yaml runs `python -m stack.migration` at each start, before
anything that would migrate unasked (MLflow's server does, when a table is missing).
`./relevo upgrade --compose` sets RELEVO_UPGRADE=yes after its backup. Airflow's address is in
its own settings; MLflow's are in MLFLOW_BACKEND_STORE_URI and MLFLOW_AUTH_DATABASE_URI.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from stack.errors import ConfigurationError, StackError

PERMISSION = "RELEVO_UPGRADE"


class State(Enum):
    """How a schema compares with what the installed release expects."""

    NEW = "new"
    CURRENT = "current"
    OLDER = "of an older release"
    UNKNOWN = "of a later release"


@dataclass(frozen=True)
class Schema:
    """Describe one set of tables.

    Args:
        name: As shown.
        address: SQLAlchemy address of the database, with its password.
        package: Installed package that has the revisions.
        directory: Folder of the revisions below the package.
        version_table: Names the revision of the tables.
        migrate: Brings the tables to the newest revision.
    """

    name: str
    address: str
    package: str
    directory: str
    version_table: str
    migrate: Callable[[], None]

    def state(self) -> State:
        """Compare the tables with the revisions of the installed release."""
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory
        from sqlalchemy import create_engine

        specification = find_spec(self.package)
        if specification is None or not specification.submodule_search_locations:
            raise ConfigurationError(f"Package {self.package}: must be installed, it is not.")
        folder = Path(next(iter(specification.submodule_search_locations))) / self.directory
        scripts = ScriptDirectory(str(folder))
        engine = create_engine(self.address)
        try:
            with engine.connect() as connection:
                context = MigrationContext.configure(
                    connection, opts={"version_table": self.version_table}
                )
                found = set(context.get_current_heads())
        finally:
            engine.dispose()
        if not found:
            return State.NEW
        if found == set(scripts.get_heads()):
            return State.CURRENT
        known = {script.revision for script in scripts.walk_revisions()}
        return State.OLDER if found <= known else State.UNKNOWN


def migrate_airflow() -> None:
    """Migrate Airflow's tables and those of its auth manager, which its command does together.

    Raises:
        ConfigurationError: It failed.
    """
    program = Path(sys.executable).parent / "airflow"
    done = subprocess.run([program, "db", "migrate"], check=False)
    if done.returncode != 0:
        raise ConfigurationError(
            f"Command `airflow db migrate`: must succeed, got exit code {done.returncode}. Its "
            "output is above."
        )


def migrate_mlflow(address: str) -> None:
    """Migrate MLflow's tables as `mlflow db upgrade` does, which would show a password."""
    from mlflow.db import upgrade

    upgrade.callback(address)


def migrate_mlflow_accounts(address: str) -> None:
    """Migrate the tables of MLflow's accounts as `mlflow.server.auth db upgrade` does."""
    from mlflow.server.auth.db.cli import upgrade

    upgrade.callback(url=address, revision="head")


def schemas(environment: Mapping[str, str]) -> tuple[Schema, ...]:
    """Describe every set of tables of a deployment.

    Raises:
        ConfigurationError: An address of MLflow is missing.
    """
    from airflow.configuration import conf

    airflow = conf.get_mandatory_value("database", "sql_alchemy_conn")
    tracking = _address(environment, "MLFLOW_BACKEND_STORE_URI")
    accounts = _address(environment, "MLFLOW_AUTH_DATABASE_URI")
    return (
        Schema(
            name="Airflow",
            address=airflow,
            package="airflow",
            directory="migrations",
            version_table="alembic_version",
            migrate=migrate_airflow,
        ),
        Schema(
            name="Airflow's accounts",
            address=airflow,
            package="airflow.providers.fab",
            directory="migrations",
            version_table="alembic_version_fab",
            migrate=migrate_airflow,
        ),
        Schema(
            name="MLflow",
            address=tracking,
            package="mlflow",
            directory="store/db_migrations",
            version_table="alembic_version",
            migrate=partial(migrate_mlflow, tracking),
        ),
        Schema(
            name="MLflow's accounts",
            address=accounts,
            package="mlflow",
            directory="server/auth/db/migrations",
            version_table="alembic_version_auth",
            migrate=partial(migrate_mlflow_accounts, accounts),
        ),
    )


def _address(environment: Mapping[str, str], variable: str) -> str:
    address = environment.get(variable)
    if not address:
        raise ConfigurationError(
            f"Variable {variable}: must be the address of a database, got nothing. Set it in "
            "/run/secrets/environment."
        )
    return address


def migrate(found: Sequence[Schema], is_allowed: bool) -> list[str]:
    """Bring every schema to the newest revision.

    Args:
        found: The schemas.
        is_allowed: Whether tables of an older release may be migrated: a backup was made.

    Returns:
        A line for each schema.

    Raises:
        ConfigurationError: A schema is of a later release, or of an older one and that is not
            allowed. Then none was touched.
    """
    states = {schema: schema.state() for schema in found}
    for schema, state in states.items():
        if state is State.UNKNOWN:
            raise ConfigurationError(
                f"Database {schema.name}: must be of the installed release or an older one, got a "
                "revision that this release does not know. Run the later release, or restore a "
                "backup of this one."
            )
        if state is State.OLDER and not is_allowed:
            raise ConfigurationError(
                f"Database {schema.name}: must be of the installed release, got an older one. Run "
                "`./relevo upgrade --compose`, which backs up first."
            )
    lines = []
    for schema, state in states.items():
        # One migration may have brought the tables of another along.
        if state is not State.CURRENT and schema.state() is not State.CURRENT:
            schema.migrate()
        lines.append(f"{schema.name}: was {state.value}")
    return lines


def main() -> int:
    """Run the job; the exit code is 0 only if every schema is of the installed release."""
    try:
        for line in migrate(schemas(os.environ), os.environ.get(PERMISSION) == "yes"):
            print(line)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
