"""Make the accounts and databases of Airflow and MLflow, where they are missing.

Runs at each start: a password that was changed in ``.env`` is set, nothing is ever dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

ACCOUNTS = Path("/run/secrets/database_accounts.json")


def ensure(server: str, accounts: Mapping[str, Any]) -> list[str]:
    """Make what is missing.

    Args:
        server: Address of PostgreSQL with the name and password of its administrator.
        accounts: For each account its ``password`` and the names of its ``databases``.

    Returns:
        A line for each thing that was made.
    """
    made = []
    with psycopg.connect(server, autocommit=True) as connection:
        for account, wanted in accounts.items():
            name = sql.Identifier(account)
            found = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", [account]
            ).fetchone()
            if not found:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
                made.append(f"account {account}")
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(wanted["password"]))
            )
            for database in wanted["databases"]:
                exists = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [database]
                ).fetchone()
                if not exists:
                    # A name for everybody in the cluster; only its owner may connect.
                    connection.execute(
                        sql.SQL(
                            "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0"
                        ).format(sql.Identifier(database), name)
                    )
                    connection.execute(
                        sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(
                            sql.Identifier(database)
                        )
                    )
                    made.append(f"database {database}")
    return made


if __name__ == "__main__":
    for line in ensure(**json.loads(ACCOUNTS.read_text(encoding="utf-8"))) or ["nothing to do"]:
        print(line)
