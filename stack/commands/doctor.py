"""`./relevo doctor`: visit every part of the deployment and say what to do."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from stack.embedded.environment import quiet_libraries
from stack.embedded.layout import Layout
from stack.embedded.ports import LOOPBACK
from stack.terminal import console, shown_errors

if TYPE_CHECKING:
    from stack.doctor.checkup import Finding, Visit
    from stack.doctor.deployment import Deployment

STYLES = {
    "ok": "green",
    "warning": "yellow",
    "FAILED": "red",
    "not configured": "dim",
    "not checked": "dim",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    pod_template: Annotated[
        Path | None,
        typer.Option(help="Pod template of the Kubernetes executor, to be checked as well."),
    ] = None,
) -> None:
    """Visit every part of the deployment; the exit code is 0 only if nothing failed."""
    from stack.doctor import deployment

    with shown_errors():
        _be_quiet()
        found = deployment.find(Layout.from_environment())
        findings = []
        for visit in _visits(found, pod_template):
            # On the error stream: the output of --json is for machines.
            print(f"visiting {visit.part}", file=sys.stderr, flush=True)
            findings += _examine(visit, found)
        _show_json(findings) if as_json else _show(found.name, findings)
        failed = any(finding.verdict == "FAILED" for finding in findings)
    sys.stdout.flush()
    sys.stderr.flush()
    # A client that hangs would keep the interpreter from ending.
    os._exit(1 if failed else 0)


def _be_quiet() -> None:
    """Keep libraries from adding to the report, and requests to this machine off the proxies."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ.update(quiet_libraries())
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "10"
    direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (direct, LOOPBACK, "localhost")))


def _examine(visit: Visit, found: Deployment) -> list[Finding]:
    from stack.doctor.checkup import examine

    return list(examine(visit, found.secrets))


def _visits(found: Deployment, pod_template: Path | None) -> Iterator[Visit]:
    from stack.doctor import airflow, database, disk, kubernetes, spark, store, tracking
    from stack.doctor.checkup import not_configured

    yield (
        store.visit(found.store)
        if found.store
        else not_configured("store", "Set RELEVO_STORE_ENDPOINT_URL, or RELEVO_STORE_REGION.")
    )
    yield (
        tracking.visit(found.mlflow)
        if found.mlflow
        else not_configured("mlflow", "Set RELEVO_MLFLOW_URI.")
    )
    yield (
        spark.visit(found.spark_remote, found.store)
        if found.spark_remote
        else not_configured("spark", "Set RELEVO_SPARK_REMOTE.")
    )
    yield (
        airflow.visit(found.airflow)
        if found.airflow
        else not_configured("airflow", "Set RELEVO_AIRFLOW_URL, _USER and _PASSWORD.")
    )
    yield (
        database.visit(found.database_url)
        if found.database_url
        else not_configured("database", "Set RELEVO_DATABASE_URL.")
    )
    template = kubernetes.template_path(pod_template)
    if template is not None:
        yield kubernetes.visit(template)
    yield disk.visit(found.folders)


def _show_json(findings: Sequence[Finding]) -> None:
    print(json.dumps([asdict(finding) for finding in findings], indent=2))


def _show(name: str, findings: Sequence[Finding]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("part", "check", "result"):
        table.add_column(heading, no_wrap=True)
    table.add_column("found", overflow="fold", ratio=1)
    table.add_column("what to do", overflow="fold", ratio=1)
    part = ""
    for finding in findings:
        table.add_row(
            "" if finding.part == part else finding.part,
            finding.check,
            f"[{STYLES[finding.verdict]}]{finding.verdict}[/]",
            escape(finding.found),
            escape(finding.remedy),
        )
        part = finding.part
    console.print(f"Visited {name}.", markup=False, soft_wrap=True)
    console.print(table)
    counts = Counter(finding.verdict for finding in findings)
    console.print(", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
