"""A real Airflow with roles: FAB auth manager, SQLite, an api-server and nothing else."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from include.storage.settings import StoreSettings
from stack.embedded.configuration import prepare
from stack.embedded.environment import airflow_environment
from stack.embedded.health import check_page
from stack.embedded.layout import Layout
from stack.embedded.ports import LOOPBACK

START_SECONDS = 120
ANSWER_SECONDS = 60
MANAGER = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
BACKEND = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
# A new database, for all that this process makes: to migrate one takes as long as to serve it.
_MIGRATED = Path(tempfile.mkdtemp(prefix="fab-airflow-")) / "airflow.db"
atexit.register(shutil.rmtree, _MIGRATED.parent, ignore_errors=True)


@dataclass
class FabAirflow:
    """An Airflow below a directory of its own, as tests use it."""

    layout: Layout
    url: str
    environment: dict[str, str]
    admin_password: str = "first-admin's:password"
    sessions: dict[str, requests.Session] = field(default_factory=dict)

    def run(self, *command: str) -> str:
        """Run a program with Airflow's settings; returns what it said."""
        done = subprocess.run(
            [str(self.layout.bin / command[0]), *command[1:]],
            env=self.environment,
            cwd=self.layout.airflow,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def set_up(self) -> str:
        """Make the roles and the first admin, as the init job does."""
        return self.run("python", "-m", "stack.access")

    @contextmanager
    def api_server(self, settings: Mapping[str, str] | None = None) -> Iterator[None]:
        """Serve until the block ends."""
        log = self.layout.logs / "api-server.log"
        with log.open("ab") as output:
            server = subprocess.Popen(
                [str(self.layout.bin / "airflow"), "api-server"],
                env={**self.environment, **(settings or {})},
                cwd=self.layout.airflow,
                stdout=output,
                stderr=output,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while trouble := check_page(f"{self.url}/api/v2/monitor/health"):
                assert server.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, trouble
                time.sleep(0.2)
            yield
        finally:
            server.terminate()
            server.wait(timeout=START_SECONDS)

    def log_in(self, user: str, password: str) -> None:
        """Keep a session of a user for `ask`."""
        session = self.sessions[user] = requests.Session()
        session.trust_env = False
        answer = session.post(
            f"{self.url}/auth/token",
            json={"username": user, "password": password},
            timeout=ANSWER_SECONDS,
        )
        assert answer.status_code == 201, answer.text
        session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def ask(self, user: str, method: str, path: str, body: Any = None) -> requests.Response:
        """Ask as a user, or as nobody if there is no such session."""
        session = self.sessions.get(user) or requests.Session()
        return session.request(method, f"{self.url}{path}", json=body, timeout=ANSWER_SECONDS)

    def add_user(self, name: str, role: str, password: str) -> None:
        """Make a user as the admin would, through Airflow's interface."""
        answer = self.ask(
            "admin",
            "POST",
            "/auth/fab/v1/users",
            {
                "username": name,
                "email": f"{name}@example.com",
                "first_name": name.title(),
                "last_name": role,
                "roles": [{"name": role}],
                "password": password,
            },
        )
        assert answer.ok, answer.text


def make(folder: Path, store: StoreSettings | None = None, **settings: str) -> FabAirflow:
    """Make an Airflow whose database is migrated.

    Args:
        folder: Where everything of it lies.
        store: The store that its pages read from.
        **settings: Further variables.
    """
    layout = Layout(folder / "state")
    layout.create()
    configuration = prepare(layout)
    secret = folder / "airflow_admin_password"
    secret.write_text(FabAirflow.admin_password + "\n", encoding="utf-8")
    connections = folder / "connections.json"
    connections.write_text(json.dumps(_connections(store)), encoding="utf-8")
    environment = {
        name: value
        for name, value in airflow_environment(layout, configuration, "api-server").items()
        if not name.startswith("AIRFLOW_CONN_")
    }
    environment |= {
        # One server that asks it, and a file is copied faster than a database is migrated.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{layout.airflow / _MIGRATED.name}",
        "AIRFLOW__CORE__AUTH_MANAGER": MANAGER,
        "AIRFLOW__FAB__CONFIG_FILE": str(
            layout.repository / "stack" / "compose" / "webserver_config.py"
        ),
        "AIRFLOW__FAB__AUTH_RATE_LIMITED": "False",
        "AIRFLOW__SECRETS__BACKEND": BACKEND,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(connections)}),
        "RELEVO_ADMIN_PASSWORD_FILE": str(secret),
        **settings,
    }
    airflow = FabAirflow(
        layout, f"http://{LOOPBACK}:{configuration.port('api-server')}", environment
    )
    if _MIGRATED.is_file():
        shutil.copy(_MIGRATED, layout.airflow)
    else:
        airflow.run("airflow", "db", "migrate")
        shutil.copy(layout.airflow / _MIGRATED.name, _MIGRATED)
    return airflow


def _connections(store: StoreSettings | None) -> dict[str, Any]:
    if store is None:
        return {}
    assert store.secret_key is not None
    return {
        "relevo_store": {
            "conn_type": "aws",
            "login": store.access_key,
            "password": store.secret_key.get_secret_value(),
            "extra": {"endpoint_url": store.endpoint_url, "region_name": store.region},
        }
    }
