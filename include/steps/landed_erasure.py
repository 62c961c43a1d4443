"""Where people are in landed data: files, and databases, of every generation that is described."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow.compute as pc

from include.calendar.partitions import parse
from include.errors import SourceError, UnavailableError
from include.ingestion.entity_ids import EntityIds
from include.ingestion.landed_removal import LandedRemoval
from include.specification.generations import is_one_of, quarantine_table, raw_table
from include.specification.pipeline import Pipeline
from include.steps.landed_records import LandedRecords
from include.steps.preparation import landed_schema, read_batch
from include.storage.connections import Connections
from include.storage.data_files import PARTITION
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore


class LandedErasure:
    """The people of a request in landed data.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        ids: Who they are.
    """

    def __init__(self, lake: Lake, pipeline: Pipeline, ids: EntityIds) -> None:
        self.lake, self.pipeline, self.ids = lake, pipeline, ids
        store = ObjectStore(lake.settings)
        self._removals = {
            (number, source): LandedRemoval(store, one, source, ids)
            for number, one, source in self._sources()
        }
        # By generation and source, the addresses of files and how many rows go.
        self.found = {place: removal.find() for place, removal in self._removals.items()}

    @property
    def files(self) -> dict[str, int]:
        """Count the rows by address of the file: several generations may read the same."""
        return {uri: rows for files in self.found.values() for uri, rows in files.items()}

    def begin_records(
        self, uri: str, rows: Mapping[str, Mapping[str, int]], connections: Connections
    ) -> list[LandedRecords]:
        """Keep what lies there and what is going to; see :class:`LandedRecords`.

        Args:
            uri: Address of the object to keep it in, without its ending.
            rows: By table, the files in which they are.
            connections: Resolves the connections of SQL sources.
        """
        begun = []
        for number, one in enumerate(self.pipeline.described()):
            name = f"{uri}.json" if number == 0 else f"{uri}-{number}.json"
            records = LandedRecords(self.lake, one, name, connections)
            own = [source for at, _, source in self._sources() if at == number]
            records.begin(
                {
                    source: {
                        address: self._removals[number, source].digest_rest(address)
                        for address in files
                    }
                    for source in own
                    if (files := self.found[number, source])
                },
                {source: partitions_of(rows, source) for source in own},
                lambda batch: batch.filter(pc.invert(self.ids.mask(batch[self.pipeline.entity]))),
            )
            begun.append(records)
        return begun

    def remove(self) -> int:
        """Take them out of the files; returns out of how many.

        Raises:
            SourceError: If a file cannot be written.
        """
        for place, files in self.found.items():
            for address in files:
                try:
                    self._removals[place].remove(address)
                except UnavailableError:
                    raise
                except SourceError as error:
                    raise SourceError(
                        f"{error} Landed files must be written to erase somebody: whoever may do "
                        f"that runs `./relevo erase {self.pipeline.name} FILE --landed-only`; then "
                        "clear this task."
                    ) from error
        return len(self.files)

    def without_ids(self) -> tuple[str, ...]:
        """Name the sources without the column, and leftovers beside files that nobody reads."""
        schemas = [(source, landed_schema(self.lake, one, source)) for _, one, source
                   in self._sources()]  # fmt: skip
        lacking = [
            source
            for source, schema in schemas
            if schema is not None and self.pipeline.entity not in schema.names
        ]
        unread = (uri for removal in self._removals.values() for uri in removal.unread)
        return tuple(dict.fromkeys((*lacking, *unread)))

    def refuse_queries(
        self, rows: Mapping[str, Mapping[str, int]], connections: Connections
    ) -> None:
        """Refuse if a database still knows somebody, who would come back with the next run.

        Args:
            rows: By table, the files in which they are.
            connections: Resolves the connections of SQL sources.

        Raises:
            SourceError: If one does.
        """
        for _, one, source in self._sources():
            if one.sources[source].query is None:
                continue
            for partition in partitions_of(rows, source):
                batch = read_batch(
                    *(self.lake, one, source, parse(partition, one.partition)),
                    *(landed_schema(self.lake, one, source), connections),
                )
                if pc.any(self.ids.mask(batch.table[one.entity])).as_py():
                    raise SourceError(
                        f"source {source} {partition}: the database must not know them any more, "
                        "got rows of them. Delete them there first, or the next run brings them "
                        "back."
                    )

    def _sources(self) -> Iterator[tuple[int, Pipeline, str]]:
        """Go through the sources, those that a migration changes once more."""
        seen: set[str] = set()
        for number, one in enumerate(self.pipeline.described()):
            for source in one.sources:
                if one.raw_table(source) not in seen:
                    yield number, one, source
                seen.add(one.raw_table(source))


def partitions_of(rows: Mapping[str, Iterable[str]], source: str) -> list[str]:
    """Name the partitions of a source in which somebody is, in whatever generation.

    Args:
        rows: By table, the paths of the files in which they are.
        source: Name of the source.
    """
    firsts = (raw_table(source), quarantine_table(source))
    tables = [table for table in rows if any(is_one_of(table, first) for first in firsts)]
    paths = [path for table in tables for path in rows[table]]
    return sorted({path.partition("/")[0].removeprefix(f"{PARTITION}=") for path in paths})
