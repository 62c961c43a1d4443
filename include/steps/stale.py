"""What depends on landed data that was corrected since, told by the versions that were recorded.

A landed file that changes, comes late or is taken away after its partition was ingested is a
correction. What was made from the data of before is stale, until it is made again: tables,
training sets, model versions, and what those predicted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from include.calendar.partitions import parse
from include.features import labels
from include.features.feature_function import TABLE as FEATURES
from include.ingestion.landed_digests import from_details
from include.registry.champions import PROFILES, Registry
from include.registry.model_files import ModelVersion
from include.scoring.batch_scoring import SCORED_BY
from include.scoring.batch_scoring import TABLE as PREDICTIONS
from include.scoring.made_then import REPROCESSED
from include.specification.pipeline import Pipeline
from include.steps.corrections import Correction, find_corrections
from include.steps.monitoring import DRIFT, PERFORMANCE
from include.steps.preparation import quarantine_table, raw_table
from include.storage.connections import Connections, from_environment
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.lineage_records import PartitionCommits, Written, written
from include.training.training_sets import TABLE as TRAINING_SETS
from include.training.training_sets import WINDOW, TrainingSet

RunKind = Literal["score", "train"]


@dataclass(frozen=True)
class StaleRun:
    """A run that made something of data of before, and makes it anew when it is repeated.

    Args:
        partition: What it is about.
        kind: Whether it scores or trains.
        dag_id: Its DAG.
        run_id: Its id.
        tables: What it made that is stale; may be none.
    """

    partition: str
    kind: RunKind
    dag_id: str
    run_id: str
    tables: tuple[str, ...]


@dataclass(frozen=True)
class Stale:
    """What is stale.

    Args:
        corrections: Partitions that were corrected since they were ingested.
        history: Partitions that no run of their own scored, and which of their tables are stale;
            what was predicted of them is made anew by the run that judges it.
        runs: Runs that make the rest anew, in the order in which they are to be repeated.
        versions: Model versions that were trained on data of before, and as of when.
    """

    corrections: tuple[Correction, ...]
    history: Mapping[str, tuple[str, ...]]
    runs: tuple[StaleRun, ...]
    versions: Mapping[int, str]

    @property
    def is_nothing(self) -> bool:
        """Tell whether nothing is stale."""
        return not (self.corrections or self.history or self.runs)

    @property
    def partitions(self) -> tuple[str, ...]:
        """Name the partitions that have something stale, sorted."""
        corrected = {item.partition for item in self.corrections}
        return tuple(sorted(corrected | {run.partition for run in self.runs} | set(self.history)))


def find_stale(
    lake: Lake,
    pipeline: Pipeline,
    *,
    read_rows: bool = True,
    connections: Connections = from_environment,
    only: Collection[str] | None = None,
) -> Stale:
    """List what is stale; see :func:`include.steps.corrections.find_corrections`.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        read_rows: Whether to look at queries, and at places that hold every partition.
        connections: Resolves the connections of SQL sources.
        only: Partitions whose corrections count; all of them if None.

    Raises:
        SourceError: If a source cannot be listed.
        SettingsError: If the connection of a SQL source is missing or wrong.
        UnavailableError: If a database or the store does not answer.
    """
    search = _Search(lake, pipeline)
    raw = {source: search.commits(raw_table(source)) for source in pipeline.sources}
    found = find_corrections(lake, pipeline, raw, read_rows=read_rows, connections=connections)
    if only is not None:
        found = [item for item in found if item.partition in only]
    return search.result(found)


class _Search:
    """Follows what was recorded as read, from the landed data on."""

    def __init__(self, lake: Lake, pipeline: Pipeline) -> None:
        self.lake, self.pipeline = lake, pipeline
        self.now: dict[tuple[str, str], Correction] = {}
        self._tables: dict[str, PartitionCommits] = {}

    def result(self, corrections: Sequence[Correction]) -> Stale:
        """Collect what is stale."""
        self.now = {(item.source, item.partition): item for item in corrections}
        made = {
            name: tables
            for name in sorted({*self._prepared(), *self.commits(PREDICTIONS).partitions})
            if (tables := tuple(self._stale_tables(name)))
        }
        judged = {
            name for name in self.commits(PERFORMANCE).partitions if self._is_judged_stale(name)
        }
        scored = self.commits(PROFILES).partitions
        runs = [
            _run_of(self.commits(PROFILES).at(name), name, "score", made.get(name, ()), judged)
            for name in scored
            if name in made or name in judged
        ]
        runs += [
            _run_of(commit, name, "train", (TRAINING_SETS,), ())
            for name in self.commits(TRAINING_SETS).partitions
            if self._is_set_stale(commit := self.commits(TRAINING_SETS).at(name))
        ]
        return Stale(
            corrections=tuple(corrections),
            history={name: tables for name, tables in made.items() if name not in scored},
            runs=tuple(sorted(runs, key=lambda run: (run.partition, run.kind))),
            versions={
                number: model.partition
                for number, model in self._versions.items()
                if self._is_version_stale(number) and self._is_current(model)
            },
        )

    def commits(self, table: str) -> PartitionCommits:
        """Read the commits of a table, once."""
        if table not in self._tables:
            self._tables[table] = PartitionCommits(written(self.lake, table))
        return self._tables[table]

    def _prepared(self) -> set[str]:
        """Name the partitions that sources or features have."""
        tables = [FEATURES, *(raw_table(source) for source in self.pipeline.sources)]
        return {name for table in tables for name in self.commits(table).partitions}

    def _stale_tables(self, name: str) -> Iterator[str]:
        """Name the tables that hold something stale of a partition, in the order of the tasks."""
        for source in self.pipeline.sources:
            if (source, name) in self.now:
                yield raw_table(source)
                yield quarantine_table(source)
                if source == self.pipeline.label_source:
                    yield labels.TABLE
        if self._are_features_stale(name, None):
            yield FEATURES
        if name in self.commits(PREDICTIONS).partitions and self._is_scored_stale(
            name, self.commits(PREDICTIONS).at(name)
        ):
            yield PREDICTIONS
            if name in self.commits(PROFILES).partitions:
                yield from (PROFILES, DRIFT)

    def _differs(self, source: str, name: str, then: Written | None) -> bool:
        """Tell whether a partition was ingested from something else by a commit than is there now.

        What nobody has on record is taken for the same.
        """
        digest = None if then is None else from_details(then.details, name)
        if digest is None or name not in self.commits(raw_table(source)).partitions:
            return False
        now = self.now.get((source, name))
        if now is not None:
            return bool(digest.content != now.content)
        held = from_details(self.commits(raw_table(source)).at(name).details, name)
        return held is not None and digest.content != held.content

    def _are_features_stale(self, name: str, version: int | None) -> bool:
        """Tell whether a partition of the features, as it was at a version, is stale."""
        commits = self.commits(FEATURES)
        if name not in commits.partitions:
            return False
        commit = commits.at(name) if version is None else commits.until(name, version)
        return commit is not None and any(
            self._differs(source, seen, self.commits(raw_table(source)).until(seen, read.version))
            for source, read in self._sources(commit)
            for seen in self._visible(source, name)
        )

    def _sources(self, commit: Written) -> Iterator[tuple[str, TableReference]]:
        named = {raw_table(source): source for source in self.pipeline.sources}
        for read in commit.inputs:
            if read.table in named:
                yield named[read.table], read

    def _visible(self, source: str, name: str) -> Iterator[str]:
        """Name the partitions that the features of one are computed from."""
        yield name
        partition = parse(name, self.pipeline.partition)
        for step in range(1, self.pipeline.sources[source].history + 1):
            yield str(partition.shift(-step))

    def _are_labels_stale(self, names: Iterable[str], version: int) -> bool:
        return any(
            self._differs(
                self.pipeline.label_source, name, self.commits(labels.TABLE).until(name, version)
            )
            for name in names
        )

    def _labels_between(self, first: str, last: str) -> list[str]:
        """Name the partitions in which labels of rows of the first one may have landed by the last.

        Labels land with their rows or later.
        """
        return [name for name in self.commits(labels.TABLE).partitions if first <= name <= last]

    def _is_set_stale(self, commit: Written) -> bool:
        """Tell whether a training set was made of data of before."""
        window, (as_of, *_) = self._window(commit), commit.partitions
        return bool(window) and any(
            self._are_labels_stale(self._labels_between(window[0], as_of), read.version)
            if read.table == labels.TABLE
            else read.table == FEATURES
            and any(self._are_features_stale(name, read.version) for name in window)
            for read in commit.inputs
        )

    def _window(self, commit: Written) -> Sequence[str]:
        if WINDOW in commit.details:
            return list(json.loads(commit.details[WINDOW]))
        # A release that did not say: what became of it is known if a version did.
        for model in self._versions.values():
            training_set = TrainingSet.from_dict(model.training_set)
            if training_set.reference.version == commit.version:
                return sorted({*training_set.train, *training_set.holdout})
        return ()

    @cached_property
    def _versions(self) -> dict[int, ModelVersion]:
        return {
            int(row["version"]): ModelVersion.from_dict(json.loads(row["details"]))
            for row in Registry(self.lake).events()
            if row["event"] == "registered"
        }

    def _is_version_stale(self, number: int) -> bool:
        """Tell whether a version was trained on data of before."""
        model = self._versions.get(number)
        if model is None:
            return False
        version = TrainingSet.from_dict(model.training_set).reference.version
        commit = self.commits(TRAINING_SETS).until(model.partition, version)
        return commit is not None and self._is_set_stale(commit)

    def _is_current(self, model: ModelVersion) -> bool:
        """Tell whether the training of a version was not repeated since on the data of now."""
        return self._is_set_stale(self.commits(TRAINING_SETS).at(model.partition))

    def _is_scored_stale(self, name: str, commit: Written) -> bool:
        """Tell whether predictions were made from data of before, or by a model that was."""
        from_features = any(
            self._are_features_stale(name, read.version)
            for read in commit.inputs
            if read.table == FEATURES
        )
        # A release that did not say which version predicts.
        version = int(commit.details.get(SCORED_BY) or self._scored_by.get(name, 0))
        return from_features or self._is_version_stale(version)

    @cached_property
    def _scored_by(self) -> dict[str, int]:
        columns = ["partition", "model_version"]
        rows = self.lake.read(PROFILES, columns=columns) if self.lake.exists(PROFILES) else None
        return {} if rows is None else dict(zip(*rows.to_pydict().values(), strict=True))

    def _is_judged_stale(self, name: str) -> bool:
        """Tell whether a run judged with labels or predictions of before.

        Predictions made then are judged as they were made, unless they were reprocessed since.
        """
        commit = self.commits(PERFORMANCE).at(name)
        judged = [read for read in commit.inputs if read.table == PREDICTIONS]
        for read in judged:
            measured = str(read.partition)
            then = self.commits(PREDICTIONS).until(measured, read.version)
            now = self.commits(PREDICTIONS).at(measured)
            is_replaced = REPROCESSED in now.details or self._is_scored_stale(measured, now)
            if then is not None and is_replaced and self._is_scored_stale(measured, then):
                return True
        return any(
            self._are_labels_stale(
                self._labels_between(min(str(item.partition) for item in judged), name),
                read.version,
            )
            for read in commit.inputs
            if read.table == labels.TABLE and judged
        )


def _run_of(
    commit: Written, name: str, kind: RunKind, tables: Sequence[str], judged: Iterable[str]
) -> StaleRun:
    found = (*tables, PERFORMANCE) if name in judged else tuple(tables)
    return StaleRun(name, kind, commit.dag_id, commit.dag_run_id, found)
