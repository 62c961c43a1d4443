"""Ports and credentials: private, kept, and chosen again only when they must be."""

from __future__ import annotations

import socket
import stat

import pytest

from stack.embedded.configuration import Configuration, prepare
from stack.embedded.layout import Layout
from stack.embedded.ports import LOOPBACK, PORT_NAMES, PORT_RANGE, choose_ports, is_free
from stack.errors import ConfigurationError
from stack.private_files import write_private


def everything_free(port: int) -> bool:
    return True


def test_file_is_private_and_reused(layout: Layout) -> None:
    first = prepare(layout, {})
    assert stat.S_IMODE(layout.configuration_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.state.stat().st_mode) == 0o700
    assert prepare(layout, {}) == first
    assert Configuration.load(layout) == first


def test_credentials_are_random(layout: Layout) -> None:
    first = prepare(layout, {}).credentials
    layout.configuration_file.unlink()
    second = prepare(layout, {}).credentials
    for name, value in first:
        assert len(value) >= 20, name
        assert value != getattr(second, name), name
    assert len({value for _, value in first}) == len(list(first))


def test_taken_port_is_chosen_again_and_the_rest_kept(layout: Layout) -> None:
    before = prepare(layout, {})
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind((LOOPBACK, before.port("mlflow")))
        foreign.listen()
        after = prepare(layout, {})
    assert after.port("mlflow") != before.port("mlflow")
    assert {n: p for n, p in after.ports.items() if n != "mlflow"} == {
        n: p for n, p in before.ports.items() if n != "mlflow"
    }
    assert after.credentials == before.credentials
    assert Configuration.load(layout) == after


def test_ports_differ_and_lie_below_the_range_of_clients() -> None:
    ports = choose_ports({}, {}, free=everything_free)
    assert tuple(ports) == PORT_NAMES
    assert len(set(ports.values())) == len(PORT_NAMES)
    assert all(port in PORT_RANGE for port in ports.values())


def test_configured_port_wins_over_the_stored_one() -> None:
    stored = choose_ports({}, {}, free=everything_free)
    ports = choose_ports(stored, {"RELEVO_PORT_API_SERVER": "8080"}, free=everything_free)
    assert ports == {**stored, "api-server": 8080}


def test_stored_port_makes_way_for_a_configured_one() -> None:
    stored = choose_ports({}, {}, free=everything_free)
    wanted = {"RELEVO_PORT_API_SERVER": str(stored["spark"])}
    ports = choose_ports(stored, wanted, free=everything_free)
    assert ports["api-server"] == stored["spark"]
    assert len(set(ports.values())) == len(PORT_NAMES)


@pytest.mark.parametrize("value", ["", "http", "0", "65536", "-1", "8080 "])
def test_configured_port_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"RELEVO_PORT_MLFLOW.*must be a port"):
        choose_ports({}, {"RELEVO_PORT_MLFLOW": value}, free=everything_free)


def test_configured_port_that_is_taken_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="RELEVO_PORT_MLFLOW: port 8080 is taken"):
        choose_ports({}, {"RELEVO_PORT_MLFLOW": "8080"}, free=lambda port: port != 8080)


def test_one_port_for_two_parts_is_refused() -> None:
    wanted = {"RELEVO_PORT_MLFLOW": "8080", "RELEVO_PORT_SPARK": "8080"}
    with pytest.raises(ConfigurationError, match="RELEVO_PORT_SPARK: port 8080 is taken"):
        choose_ports({}, wanted, free=everything_free)


def test_listener_on_every_interface_takes_the_loopback_port() -> None:
    with socket.socket() as foreign:
        foreign.bind(("0.0.0.0", 0))
        foreign.listen()
        assert not is_free(foreign.getsockname()[1])


def test_damaged_file_is_named_without_its_values(layout: Layout) -> None:
    write_private(layout.configuration_file, '{"ports": {"store": "secret-value"}}')
    with pytest.raises(ConfigurationError, match=r"stack\.json") as caught:
        prepare(layout, {})
    assert "secret-value" not in str(caught.value)


def test_missing_file_says_what_to_do(layout: Layout) -> None:
    with pytest.raises(ConfigurationError, match=r"\./relevo up"):
        Configuration.load(layout)


def test_deep_state_directory_gets_a_short_socket(layout: Layout) -> None:
    deep = Layout(layout.state / ("d" * 120))
    assert len(str(deep.supervisor_socket)) < 100
    deep.create()
    assert stat.S_IMODE(deep.sockets.stat().st_mode) == 0o700
    deep.sockets.rmdir()
