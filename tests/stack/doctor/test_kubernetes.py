"""The doctor on pod templates, read by Airflow's own PodGenerator."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.doctor import kubernetes
from stack.doctor.checkup import Verdict, examine
from stack.embedded.layout import REPOSITORY

SHIPPED = REPOSITORY / "docs" / "production" / "kubernetes" / "pod-template.yaml"


def visit(path):
    return {f.check: f for f in examine(kubernetes.visit(path), ())}


def test_the_shipped_template_is_good():
    found = visit(SHIPPED)
    assert {f.check: f.found for f in found.values() if f.verdict is not Verdict.OK} == {}
    assert found["resources"].found == "memory 1Gi to 3Gi"


def test_everything_wrong_at_once(tmp_path):
    template = tmp_path / "pod.yaml"
    template.write_text(
        """
apiVersion: v1
kind: Pod
spec:
  containers:
    - name: base
      image: registry.example.com:5000/relevo
      env:
        - {name: AIRFLOW_CONN_RELEVO_STORE, value: written-out}
        - {name: AIRFLOW__API_AUTH__JWT_SECRET, value: written-out}
        - {name: AIRFLOW__CORE__FERNET_KEY_CMD, value: cat /run/secrets/key}
        - name: RELEVO_STORE_SECRET_KEY
          valueFrom: {secretKeyRef: {name: relevo, key: secret}}
"""
    )
    found = visit(template)
    assert found["base container"].verdict is Verdict.WARNING
    assert found["resources"].found == "no memory in requests and limits"
    assert found["secrets"].verdict is Verdict.FAILED
    assert found["secrets"].found == (
        "written out: AIRFLOW_CONN_RELEVO_STORE, AIRFLOW__API_AUTH__JWT_SECRET"
    )
    assert "written-out" not in str(found)


def test_no_base_container(tmp_path):
    template = tmp_path / "pod.yaml"
    template.write_text("{apiVersion: v1, kind: Pod, spec: {containers: [{name: other}]}}")
    assert visit(template)["base container"].found == "the first container is other"


def test_a_template_that_is_not_there():
    found = visit(Path("/nowhere.yaml"))
    assert list(found) == ["pod template", "the rest"]
    assert found["pod template"].found == "/nowhere.yaml: is not there."


@pytest.mark.parametrize(
    ("executor", "expected"),
    [
        ("CeleryExecutor", None),
        ("KubernetesExecutor", Path("/pod.yaml")),
        ("CeleryExecutor,KubernetesExecutor", Path("/pod.yaml")),
    ],
)
def test_the_template_of_the_executor(monkeypatch, executor, expected):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    monkeypatch.setenv(kubernetes.TEMPLATE_VARIABLE, "/pod.yaml")
    assert kubernetes.template_path(None) == expected
    assert kubernetes.template_path(Path("given.yaml")) == Path("given.yaml")
