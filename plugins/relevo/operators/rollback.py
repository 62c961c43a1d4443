"""The operator behind ``platform_rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.operators.interventions import Asked, HandoverOperator

if TYPE_CHECKING:
    from include.registry.champions import Registry
    from include.steps.rollback import Handover
    from include.storage.lake_tables import Lake


class RollBackOperator(HandoverOperator):
    """Go back to a version that was in use before, as the parameters of the run say.

    These are ``pipeline``, ``version`` (None: the one before) and ``reason``. Skipped if that
    changes nothing.
    """

    def hand_over(
        self, version: int | None, asked: Asked, lake: Lake, registry: Registry
    ) -> Handover:
        """Roll back."""
        from include.steps.rollback import roll_back

        return roll_back(
            lake, registry, asked.pipeline, version, asked.why, asked.who, asked.at, asked.origin
        )
