"""The dashboard and the alerts ask for metrics that exist, in a way that fits how they are sent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import airflow
import promql_parser
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from ruamel.yaml import YAML

from relevo.metrics import COUNTERS, GAUGES
from stack.embedded.layout import REPOSITORY

COMPOSE = REPOSITORY / "stack" / "compose"
DASHBOARD = COMPOSE / "grafana" / "dashboards" / "relevo.json"
PROVISIONING = COMPOSE / "grafana" / "provisioning"
AIRFLOWS_OWN = "_shared/observability/metrics/metrics_template.yaml"
# Airflow sends these as counts that go up and down.
UP_DOWN = {"dag_processing.processes"}
SUMMED = {"sum_over_time", "absent_over_time"}
LATEST = {"last_over_time"}


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def alerts() -> list[Any]:
    groups = read_yaml(COMPOSE / "prometheus-rules.yaml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    panels = [target["expr"] for p in dashboard()["panels"] for target in p.get("targets", ())]
    panels = [q.replace("$__interval", "1m").replace("$__range", "1d") for q in panels]
    return [*panels, *(rule["expr"] for rule in alerts())]


def prometheus_name(name: str, kind: str) -> str:
    """Name a metric as Prometheus' OTLP receiver does."""
    suffix = {"counter": "_total", "timer": "_milliseconds", "gauge": ""}[kind]
    if name in UP_DOWN:
        suffix = ""
    return "airflow_" + re.sub(r"[^a-z0-9]+", "_", name) + suffix


@cache
def known_metrics() -> dict[str, str]:
    """Return the kind of every metric that Airflow or a step can send, by Prometheus' name."""
    template = Path(airflow.__file__).parent / AIRFLOWS_OWN
    known = {
        prometheus_name(item["name"], item["type"]): item["type"]
        for item in read_yaml(template)["metrics"]
        if "{" not in item["name"]
    }
    known |= {prometheus_name(f"relevo.{name}", "gauge"): "gauge" for name in GAUGES}
    return known | {prometheus_name(f"relevo.{name}", "counter"): "counter" for name in COUNTERS}


def selected(node: Any, function: str = "") -> Iterator[tuple[str, str]]:
    """Yield each metric of a query with the function that is applied to it."""
    match node:
        case promql_parser.VectorSelector():
            yield node.name, function
        case promql_parser.MatrixSelector():
            yield node.vector_selector.name, function
        case promql_parser.Call():
            for argument in node.args:
                yield from selected(argument, node.func.name)
        case promql_parser.AggregateExpr():
            yield from selected(node.expr)
        case promql_parser.ParenExpr():
            yield from selected(node.expr)
        case promql_parser.BinaryExpr():
            yield from selected(node.lhs)
            yield from selected(node.rhs)
        case promql_parser.NumberLiteral():
            return
        case _:
            pytest.fail(f"unexpected in a query: {type(node).__name__}")


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_known_metrics_and_reads_them_as_they_are_sent(query: str) -> None:
    known = known_metrics()
    found = [*selected(promql_parser.parse(query))]
    assert found
    for name, function in found:
        assert name in known, name
        # Deltas are summed; the latest value of a process that has ended is still the latest.
        assert function in (LATEST if known[name] == "gauge" else SUMMED), (name, function)


def test_every_number_of_a_step_is_shown() -> None:
    shown = {name for query in queries() for name, _ in selected(promql_parser.parse(query))}
    own = {name for name in known_metrics() if name.startswith("airflow_relevo_")}
    assert own <= shown


def test_alerts_say_what_happened_and_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names))
    for rule in alerts():
        assert rule["annotations"]["summary"].endswith((".", "why."))
        assert rule["labels"]["severity"] in ("info", "warning", "critical")


def test_the_dashboard_finds_its_data_source() -> None:
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    panels = [p for p in dashboard()["panels"] if p["type"] != "row"]
    variable = dashboard()["templating"]["list"][0]
    for owner in (*panels, *(t for p in panels for t in p["targets"]), variable):
        assert owner["datasource"] == {"type": source["type"], "uid": source["uid"]}
    ids = [p["id"] for p in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_collector_hands_metrics_to_prometheus() -> None:
    collector = read_yaml(COMPOSE / "otel-collector.yaml")
    service = collector["service"]
    for kind in ("receivers", "processors", "exporters"):
        assert set(service["pipelines"]["metrics"][kind]) == set(collector[kind])
    assert service["extensions"] == [*collector["extensions"]]
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    assert collector["exporters"]["otlp_http"]["endpoint"] == f"{source['url']}/api/v1/otlp"


def documented_settings() -> dict[str, str]:
    text = (REPOSITORY / "docs" / "production" / "observability.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)`", text, flags=re.MULTILINE))


SEND = """
from airflow.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils

stats.initialize(
    factory=stats_utils.get_stats_factory(),
    export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
)
for number in (1, 2):
    stats.incr("relevo.trainings", 1, tags={"pipeline": "p"})
    stats.gauge("relevo.rows_scored", number, tags={"pipeline": "p"})
    stats.timing("serde.load_serializers", 5.0)
    stats.timing("task.duration", 1500.0, tags={"dag_id": "d", "task_id": "t"})
"""


def test_a_process_sends_deltas_when_it_ends(tmp_path: Path) -> None:
    """The settings that the documentation names, with the installed Airflow."""
    assert {
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_RESOURCE_ATTRIBUTES",
    } < documented_settings().keys()
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, ExportMetricsServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        subprocess.run(
            [sys.executable, "-c", SEND],
            env={
                "PATH": os.environ["PATH"],
                "AIRFLOW_HOME": str(tmp_path),
                **documented_settings(),
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            },
            check=True,
            timeout=120,
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert {path for path, _ in received} == {"/v1/metrics"}
    # One series for all processes: none brings an instance of its own.
    (resource,) = {
        (attribute.key, attribute.value.string_value)
        for _, request in received
        for resource in request.resource_metrics
        for attribute in resource.resource.attributes
        if attribute.key == "service.instance.id"
    }
    assert resource == ("service.instance.id", "airflow")
    sent = {
        metric.name: metric
        for _, request in received
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert "airflow.serde.load_serializers" not in sent
    delta = 1
    trainings = sent["airflow.relevo.trainings"].sum
    assert trainings.aggregation_temporality == delta
    assert [point.as_int for point in trainings.data_points] == [2]
    rows = sent["airflow.relevo.rows_scored"].gauge
    assert [point.as_int or point.as_double for point in rows.data_points] == [2]
    duration = sent["airflow.task.duration"]
    assert duration.unit == "ms"
    assert duration.exponential_histogram.aggregation_temporality == delta
    assert duration.exponential_histogram.data_points[0].count == 2
