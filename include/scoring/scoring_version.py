"""Which model version scores a partition, the first time, again, and when it is reprocessed."""

from __future__ import annotations

from include.calendar.partitions import Partition
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion
from include.scoring import made_then
from include.scoring.batch_scoring import TABLE
from include.scoring.reprocessing_requests import open_request
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference


def version_to_score(
    lake: Lake,
    registry: Registry,
    partition: Partition,
    then: TableReference | None,
    origin: Origin,
) -> tuple[ModelVersion, str | None]:
    """Choose the version that scores, and name the run that asked for its predictions, if one did.

    A partition that was scored is left to the version that did it; one that was reprocessed to
    who scored it last. A run that is repeated for a request takes another one in place of a
    version that was trained on data of before: what is in use for the partition by now, if anything
    is, or what the training of that version has made since, if a person keeps it in use.

    Args:
        lake: The pipeline's tables.
        registry: Its versions.
        partition: What is scored.
        then: Its predictions made then; None if nobody scored it then.
        origin: The run that scores.

    Returns:
        (the version, the run that asked or None).

    Raises:
        RegistryError: If no champion was in use.
    """
    asked_by = None
    if then is None:
        champion = registry.require_champion(partition)
    else:
        asked_by = made_then.reprocessed_for(lake, then)
        last = then if asked_by is None else lake.reference(TABLE, str(partition))
        champion = registry.get(made_then.made_by(lake, last))
    request = open_request(lake, origin)
    if request is None:
        return champion, asked_by
    if champion.version in request.versions:
        champion = registry.successor(champion, partition)
    return champion, request.run_id
