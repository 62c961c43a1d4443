"""Profile and drift verdict, against Evidently's cheapest equivalent: PSI per column on pandas.

    .venv/bin/python -m bench.drift --rows 1000000

Each side runs in a process of its own, on frames made from the example data; reading the frame is
not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd


def main() -> None:
    """Run both, print seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--side", choices=("relevo", "evidently"))
    options = parser.parse_args()
    if options.side:
        print(json.dumps(_measure(options.side, options.rows)))
        return
    results = {}
    for side in ("relevo", "evidently"):
        command = [sys.executable, "-m", "bench.drift", "--rows", str(options.rows)]
        answer = subprocess.run([*command, "--side", side], capture_output=True, check=True)
        results[side] = json.loads(answer.stdout.splitlines()[-1])
    print(f"{options.rows:,} rows x {results['relevo']['columns']} columns a side")
    for side, result in results.items():
        print(f"{side:<10} {result['seconds']:7.2f} s")
    ratio = results["relevo"]["seconds"] / results["evidently"]["seconds"]
    print(f"ratio      {ratio:7.3f}  (budget 0.1)")


def _measure(side: str, rows: int) -> dict[str, float]:
    reference, current, numeric, categorical = _frames(rows)
    run = {"relevo": _relevo, "evidently": _evidently}[side]
    run(reference.head(2_000), current.head(2_000), numeric, categorical)  # imports
    start = time.perf_counter()
    run(reference, current, numeric, categorical)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "columns": len(reference.columns)}


def _frames(rows: int) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    import pyarrow.parquet as pq

    from include.example_data.landing import LOANS
    from include.storage.data_frames import to_pandas

    loans = to_pandas(pq.read_table(LOANS))
    numeric = ["NoEmp", "CreateJob", "RetainedJob", "GrAppv", "SBA_Appv"]
    categorical = ["State", "BankState", "RevLineCr", "LowDoc", "UrbanRural", "NewExist"]
    year = loans["ApprovalDate"].dt.year
    rng = np.random.default_rng(7)
    sides = []
    for years in ((2001, 2002), (2006,)):
        pool = loans.loc[year.isin(years), [*numeric, *categorical]]
        picked = pool.iloc[rng.integers(0, len(pool), rows)].reset_index(drop=True)
        # Every numeric column twice: 16 columns, 10 of them numeric.
        for name in numeric:
            picked[f"log_{name}"] = np.log1p(picked[name])
        sides.append(picked)
    return sides[0], sides[1], [*numeric, *(f"log_{name}" for name in numeric)], categorical


def _relevo(
    reference: pd.DataFrame, current: pd.DataFrame, numeric: list[str], categorical: list[str]
) -> None:
    from include.monitoring.binning import fit_binning
    from include.monitoring.drift import calibrate, detect_drift
    from include.monitoring.profiles import profile
    from include.specification.sections.monitoring import DriftMonitoring

    # The reference is profiled once, at training; a batch pays for its own profile and the verdict.
    binning = fit_binning(reference.head(100_000), numeric, categorical)
    known = profile(reference, binning)
    rule = DriftMonitoring(prediction=False)
    detect_drift(known, profile(current, binning), calibrate([known]), rule)


def _evidently(
    reference: pd.DataFrame, current: pd.DataFrame, numeric: list[str], categorical: list[str]
) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    sides = [Dataset.from_pandas(f, data_definition=definition) for f in (current, reference)]
    metrics = [ValueDrift(column=name, method="psi") for name in (*numeric, *categorical)]
    Report(metrics).run(current_data=sides[0], reference_data=sides[1]).dict()


if __name__ == "__main__":
    main()
