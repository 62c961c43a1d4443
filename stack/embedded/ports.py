"""The ports of one stack: free ones on loopback, the same after every start."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterable, Mapping

from stack.errors import ConfigurationError

LOOPBACK = "127.0.0.1"


PORT_NAMES = (
    "store",
    "store-grpc",
    "store-master",
    "store-master-grpc",
    "store-volume",
    "store-volume-grpc",
    "store-filer",
    "store-filer-grpc",
    "store-admin",
    "store-admin-grpc",
    "mlflow",
    "spark",
    "api-server",
)


# Below the kernel's range for outgoing connections (32768 and up on Linux), so
# that no client socket sits on a port of ours when a part is restarted.
PORT_RANGE = range(20000, 32000)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_ports(
    stored: Mapping[str, int],
    environment: Mapping[str, str],
    free: Callable[[int], bool] = is_free,
    candidates: Iterable[int] | None = None,
) -> dict[str, int]:
    """Give every name a free port: the configured, else the stored, else a random one.

    Args:
        stored: Ports of the last start; those still free are kept.
        environment: May hold `RELEVO_PORT_<NAME>`, e.g. `RELEVO_PORT_API_SERVER`.
        free: Tells whether a port can be used now.
        candidates: Where to look for new ports, in this order; random by default.

    Raises:
        ConfigurationError: A configured port is not a number, is taken, or is named twice.
    """
    ports: dict[str, int] = {}
    for name in PORT_NAMES:
        variable = f"RELEVO_PORT_{name.upper().replace('-', '_')}"
        if variable not in environment:
            continue
        value = environment[variable]
        if not value.isdecimal() or not 0 < int(value) < 65536:
            raise ConfigurationError(
                f"Variable {variable}: must be a port from 1 to 65535, got {value!r}."
            )
        if int(value) in ports.values() or not free(int(value)):
            raise ConfigurationError(
                f"Variable {variable}: port {value} is taken. Choose another, or unset it to "
                "have a free one chosen."
            )
        ports[name] = int(value)
    for name in PORT_NAMES:
        port = stored.get(name)
        if name not in ports and port and port not in ports.values() and free(port):
            ports[name] = port
    pool = iter(candidates or secrets.SystemRandom().sample(PORT_RANGE, len(PORT_RANGE)))
    for name in PORT_NAMES:
        if name not in ports:
            ports[name] = next(p for p in pool if p not in ports.values() and free(p))
    return {name: ports[name] for name in PORT_NAMES}
