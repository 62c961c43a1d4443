"""Whether anybody may work on a pipeline: not once a person has retired it."""

from __future__ import annotations

from relevo.hooks import RelevoHook


def demand(pipeline: str) -> None:
    """Refuse to work on a pipeline that is retired; one request to the store if it is not.

    Raises:
        RetiredError: If it is: who retired it, when, why, and how that is undone.
    """
    from include.registry.champions import Registry
    from include.storage.lake_tables import Lake

    Registry(Lake(RelevoHook().store(), pipeline)).demand_in_service()


def retired(pipeline: str) -> str:
    """Say how a pipeline is retired; '' if it is not."""
    from include.registry.champions import Registry
    from include.storage.lake_tables import Lake

    return Registry(Lake(RelevoHook().store(), pipeline)).retired()
