"""How the client reaches a Spark Connect server, and with what it proves who it is."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql.connect.client import DefaultChannelBuilder


def channel_builder(address: str) -> DefaultChannelBuilder:
    """Choose the channel that an address asks for.

    A token makes Spark's own builder insist on TLS for every host but ``localhost``. Only an
    address that says ``use_ssl=false`` sends its token without: on a private network, where
    whoever could listen is trusted.

    Args:
        address: ``sc://host:port`` and parameters.
    """
    builder = DefaultChannelBuilder(address)
    if builder.getDefault(DefaultChannelBuilder.PARAM_USE_SSL, "").lower() == "false":
        return PlaintextChannelBuilder(address)
    return builder


class PlaintextChannelBuilder(DefaultChannelBuilder):
    """Sends the token, if there is one, over a channel without TLS."""

    @property
    def secure(self) -> bool:
        """Say no, token or not."""
        return False

    def metadata(self) -> Iterable[tuple[str, str]]:
        """Add the token to what is sent with every call, in the form of TLS channels."""
        held = list(super().metadata())
        return held if self.token is None else [*held, ("authorization", f"Bearer {self.token}")]
