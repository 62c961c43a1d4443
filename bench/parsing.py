"""Parsing a pipeline's DAG file, against a file with one empty DAG.

.venv/bin/python -m bench.parsing
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ROUNDS = 5
# Airflow's dag-processor freezes what it has imported before it forks, and so does this: else
# the collector walks all of Airflow in the middle of the measurement.
_PARSE = """
import gc, sys, time
from pathlib import Path
from airflow.sdk import DAG  # what any DAG file imports
from airflow.dag_processing.dagbag import DagBag
gc.collect()
gc.freeze()
start = time.perf_counter()
bag = DagBag(Path(sys.argv[1]), bundle_path=Path(sys.argv[1]).parent, bundle_name="bench")
seconds = time.perf_counter() - start
assert not bag.import_errors and bag.dags, bag.import_errors
print(seconds)
"""
_EMPTY = "from airflow.sdk import DAG\nwith DAG('empty', schedule=None):\n    pass\n"


def main() -> None:
    """Parse each file in fresh processes, print medians and the difference."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(_EMPTY)
        files = {"loan_default.py": REPOSITORY / "dags" / "loan_default.py", "empty DAG": empty}
        seconds: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(ROUNDS):
            for name, path in files.items():
                seconds[name].append(first_parse_seconds(path))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:<16} {median:.3f} s")
    added = medians["loan_default.py"] - medians["empty DAG"]
    print(f"{'added':<16} {added:.3f} s  (budget 0.5 s, first parse in a process)")


def first_parse_seconds(path: Path, repository: Path = REPOSITORY) -> float:
    """Parse one DAG file in a fresh process that has imported Airflow only.

    Args:
        path: The DAG file.
        repository: Where the code lies that the file imports.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": home,
            "PYTHONPATH": f"{repository}{os.pathsep}{repository / 'plugins'}",
        }
        answer = subprocess.run(
            [sys.executable, "-c", _PARSE, str(path)],
            env=environment,
            cwd=home,
            capture_output=True,
            check=True,
            text=True,
        )
    return float(answer.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
