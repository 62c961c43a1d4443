"""Who is told what."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import WithJsonSchema, model_validator

from include.specification.sections.section import Section, SectionError, matches

AlertKind = Literal[
    "failure",
    "gate",
    "deadline",
    "quarantine",
    "drift",
    "performance",
    "refused",
    "approval",
    "stale",
]
ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)
Channel = Literal["webhook", "email", "slack", "pagerduty"]
_CONNECTION = r"^[A-Za-z0-9_.-]+$"
_ADDRESS = r"^[^@\s,;<>]+@[^@\s,;<>]+$"
ConnectionId = Annotated[
    str,
    matches(_CONNECTION, "must be the id of an Airflow connection, such as alerts_webhook"),
    WithJsonSchema({"type": "string", "pattern": _CONNECTION}),
]
Address = Annotated[
    str,
    matches(_ADDRESS, "must be an address, such as risk@bank.example"),
    WithJsonSchema({"type": "string", "pattern": _ADDRESS}),
]


class Receiver(Section):
    """One receiver of alerts, under a name by which Relevo knows what it was told.

    Exactly one of ``webhook``, ``email``, ``slack`` and ``pagerduty`` says how it is reached.

    Args:
        webhook: Airflow connection of type ``http`` whose address gets each message as JSON.
        email: Addresses that get a mail through Airflow's SMTP connection.
        slack: Airflow connection of type ``slackwebhook``.
        pagerduty: Airflow connection of type ``pagerduty_events``.
        about: Kinds of alerts that it gets; all of them unless told.
    """

    webhook: ConnectionId | None = None
    email: tuple[Address, ...] | None = None
    slack: ConnectionId | None = None
    pagerduty: ConnectionId | None = None
    about: tuple[AlertKind, ...] = ALERT_KINDS

    @property
    def channel(self) -> Channel:
        """How it is reached."""
        return next(name for name in get_args(Channel) if getattr(self, name) is not None)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is reached: by mail at each address, else by its connection."""
        named = self.email or (getattr(self, self.channel),)
        return tuple(f"{self.channel}:{address}" for address in named)

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> Self:
        named = [name for name in get_args(Channel) if getattr(self, name) is not None]
        if not named:
            raise ValueError("needs one of webhook, email, slack and pagerduty")
        if len(named) > 1:
            raise SectionError(
                {named[1]: f"must be left out beside {named[0]}: a receiver is reached one way"}
            )
        empty = [name for name in ("email", "about") if getattr(self, name) == ()]
        if empty:
            raise SectionError({name: "must hold at least one item" for name in empty})
        return self
