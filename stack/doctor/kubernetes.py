"""The pod template of Airflow's Kubernetes executor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stack.doctor.checkup import Check, Outcome, Visit, failed, ok, warning
from stack.errors import StackError

TEMPLATE_VARIABLE = "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE"
BASE = "base"
LOAD = """
import json, sys
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient
pod = PodGenerator.deserialize_model_file(sys.argv[1])
print(json.dumps(ApiClient().sanitize_for_serialization(pod)))
"""
# Names that end otherwise (`..._CMD`, `..._FILE`, `..._KEY_SECRET`) say where a secret is.
_SECRET_NAME = re.compile(
    r"^AIRFLOW_CONN_|(SECRET_KEY|SECRET_ACCESS_KEY|PASSWORD|TOKEN|FERNET_KEY|JWT_SECRET|"
    r"CLIENT_SECRET|SQL_ALCHEMY_CONN|BROKER_URL|RESULT_BACKEND)$"
)


def template_path(given: Path | None) -> Path | None:
    """Take the template given, else the one of the executor's settings; None without either."""
    if given is not None:
        return given
    if "KubernetesExecutor" not in os.environ.get("AIRFLOW__CORE__EXECUTOR", ""):
        return None
    return Path(os.environ.get(TEMPLATE_VARIABLE, "pod_template_file is not set"))


def visit(template: Path) -> Visit:
    """List what the template must say."""
    probe = TemplateProbe(template)
    return Visit(
        "kubernetes",
        (
            Check("pod template", probe.load, f"Correct it, or {TEMPLATE_VARIABLE}.", 60, True),
            Check("base container", probe.base_container, "See docs/production/kubernetes."),
            Check("resources", probe.resources, "See docs/production/kubernetes."),
            Check("secrets", probe.secrets, "See docs/production/kubernetes."),
        ),
    )


class TemplateProbe:
    """Reads one template as Airflow reads it.

    Args:
        path: The template.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._containers: Sequence[dict[str, Any]] = ()

    def load(self) -> Outcome:
        """Let Airflow's own PodGenerator read the file."""
        if not self.path.is_file():
            raise StackError(f"{self.path}: is not there.")
        answer = subprocess.run(
            [sys.executable, "-c", LOAD, str(self.path)],
            capture_output=True,
            text=True,
            timeout=55,
            check=False,
        )
        if answer.returncode != 0:
            raise StackError((answer.stderr.strip().splitlines() or ["no message"])[-1])
        pod = json.loads(answer.stdout.splitlines()[-1])
        self._containers = (pod.get("spec") or {}).get("containers") or ()
        return ok(str(self.path))

    def base_container(self) -> Outcome:
        """Judge name and image of the container that runs the task."""
        names = [container["name"] for container in self._containers]
        if BASE not in names[:1]:
            return failed(
                f"the first container is {names[0] if names else 'missing'}",
                f"Name it {BASE}: Airflow puts the task's command there.",
            )
        image = self._containers[0].get("image")
        if not image:
            return failed("no image", "Name the image of this release.")
        _, _, tag = image.rpartition("/")[2].partition(":")
        if "@sha256:" not in image and tag in ("", "latest"):
            return warning(image, "Name a release or a digest: `latest` changes under the DAGs.")
        return ok(image)

    def resources(self) -> Outcome:
        """Look for requests and limits."""
        said = self._containers[0].get("resources") or {}
        missing = [part for part in ("requests", "limits") if "memory" not in said.get(part, {})]
        if missing:
            return warning(
                f"no memory in {' and '.join(missing)}",
                "Set both: a task without them takes the node's memory from its neighbours.",
            )
        return ok(f"memory {said['requests']['memory']} to {said['limits']['memory']}")

    def secrets(self) -> Outcome:
        """Look for secrets that are written out."""
        plain = sorted(
            variable["name"]
            for container in self._containers
            for variable in container.get("env") or ()
            if variable.get("value") and _SECRET_NAME.search(variable["name"])
        )
        if plain:
            return failed(
                f"written out: {', '.join(plain)}",
                "Take them from a Secret (valueFrom.secretKeyRef) or a mounted file.",
            )
        return ok("none is written out")
