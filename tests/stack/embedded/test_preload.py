"""What a scheduler has read before it forks is there in every task."""

from __future__ import annotations

import subprocess
import sys

from stack.embedded.layout import REPOSITORY

# Not imported here: this process has made clients already.
CLIENT = """
import sys

sys.path.insert(0, "stack/preload")
import airflow_local_settings
from botocore.loaders import JSONFileLoader
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

load, read = JSONFileLoader.load_file, []
JSONFileLoader.load_file = lambda self, path: read.append(path) or load(self, path)
store = ObjectStore(
    StoreSettings(
        endpoint_url="http://127.0.0.1:1", region="eu-west-1", access_key="a", secret_key="b"
    )
)
if sys.argv[1:] == ["preloaded"]:
    airflow_local_settings._describe_s3()
    read.clear()
store.connect()
print(len(read))
"""


def files_read(*arguments: str) -> int:
    """Count the descriptions that boto3 reads for the first client of a task."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *arguments],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_the_first_client_of_a_task_reads_no_description_of_s3() -> None:
    assert files_read() > 0
    assert files_read("preloaded") == 0


MODULES = """
import sys

sys.path.insert(0, "stack/preload")
import airflow_local_settings

airflow_local_settings.preload()
import importlib_metadata
from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

importlib_metadata.packages_distributions = sys.exit
warn_dependency_requirement_mismatches(["numpy"])
print(*sys.modules)
"""


def test_tasks_find_what_they_share_and_read_what_a_pipeline_brings() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    assert "not preloaded" not in done.stderr
    assert "left to the tasks" not in done.stderr
    assert "unsafe to fork" not in done.stderr
    found = set(done.stdout.split())
    assert "include.steps.training" in found
    # A corrected function counts from the next task on, without a restart.
    assert not [name for name in found if name.startswith("include.pipelines.")]
