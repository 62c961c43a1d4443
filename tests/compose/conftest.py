"""The deployment of docker-compose.yaml as a user would start it, from a copy of the project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.compose.deployment import PROJECT, Deployment, copy_project, run


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its .env, ports of its own and a name of its own."""
    directory = tmp_path_factory.mktemp("compose") / "relevo"
    copy_project(directory, PROJECT)
    return directory


@pytest.fixture(scope="session")
def deployment(project: Path) -> Iterator[Deployment]:
    """The running deployment; afterwards nothing of it is left."""
    found = Deployment(project)
    run(["docker", "compose", "down", "--volumes", "--remove-orphans"], project)
    try:
        found.compose("build", "--quiet")
        found.up()
        yield found
    finally:
        if not os.environ.get("RELEVO_KEEP_COMPOSE"):
            found.compose("down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fourth loan of the example data, approved from 2001 to 2005, as two files."""
    from include.example_data.landing import LOAN_COLUMNS, LOANS, OUTCOME_COLUMNS

    folder = tmp_path_factory.mktemp("slices")
    folder.chmod(0o755)
    records = pd.read_parquet(LOANS)
    records = records[records["loan_id"].str[-1].isin(list("048"))]
    for name, columns, moment in (
        ("loans", LOAN_COLUMNS, "ApprovalDate"),
        ("outcomes", OUTCOME_COLUMNS, "label_time_24"),
    ):
        inside = records[records[moment].between("2001-01-01", "2005-12-31 23:59:59")]
        path = folder / f"{name}.parquet"
        inside[list(columns)].to_parquet(path, index=False)
        path.chmod(0o644)
    return folder
