"""What depends on landed data that was corrected since, told by the versions that were recorded.

What was made from the data of before a correction is stale, until it is made anew: tables, training
sets, model versions, and what those predicted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property

from include.calendar.partitions import parse
from include.ingestion.landed_digests import from_details, repairs_of
from include.registry import succession
from include.registry.champions import PROFILES, Registry
from include.registry.model_files import ModelVersion
from include.scoring.batch_scoring import SCORED_BY
from include.scoring.batch_scoring import TABLE as PREDICTIONS
from include.scoring.made_then import REPROCESSED
from include.specification.generations import FEATURES, is_one_of
from include.specification.pipeline import Pipeline
from include.steps.corrections import Correction, Landing, look
from include.steps.monitoring import DRIFT, PERFORMANCE
from include.steps.staleness import RunKind, Stale, StaleRun, together
from include.storage.connections import Connections, from_environment
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import TableReference
from include.storage.lineage_records import PartitionCommits, Written, written
from include.training.training_sets import ROWS, WINDOW, TrainingSet

_RECENT = 200  # commits of a table


def find_stale(
    lake: Lake,
    pipeline: Pipeline,
    *,
    brief: bool = False,
    connections: Connections = from_environment,
    only: Collection[str] | None = None,
    forgotten: Collection[str] = (),
) -> Stale:
    """List what is stale; see :func:`include.steps.corrections.look`.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        brief: Whether to look at the latest 200 commits of each table alone, and at folders of
            partitions, as a page may that somebody waits for.
        connections: Resolves the connections of SQL sources.
        only: Partitions whose corrections count; all of them if None.
        forgotten: Runs that trained and cannot be repeated; what came of them counts as it is.

    Raises:
        SourceError: If a source cannot be listed.
        SettingsError: If the connection of a SQL source is missing or wrong.
        UnavailableError: If a database or the store does not answer.
    """
    parts = []
    for one in pipeline.described():
        search = _Search(lake, one, _RECENT if brief else None, forgotten)
        raw = {source: search.commits(one.raw_table(source)) for source in one.sources}
        found = look(lake, one, raw, brief=brief, only=only, connections=connections)
        parts.append(search.result(found))
    return together(parts)


class _Search:
    """Follows what was recorded as read, from the landed data on, in one generation of tables."""

    def __init__(
        self, lake: Lake, pipeline: Pipeline, latest: int | None, forgotten: Collection[str]
    ) -> None:
        self.lake, self.pipeline = lake, pipeline
        self.latest, self.forgotten = latest, forgotten
        self.now: dict[tuple[str, str], Correction] = {}
        self._tables: dict[str, PartitionCommits] = {}
        self._known: dict[int, bool] = {}

    def result(self, landing: Landing) -> Stale:
        """Collect what is stale."""
        self.now = {(item.source, item.partition): item for item in landing.corrections}
        scored, predicted = self.commits(PROFILES), self.commits(PREDICTIONS)
        made = {
            name: tables
            for name in sorted({*self._prepared, *predicted.partitions})
            if (tables := tuple(self._stale_tables(name)))
        }
        judged = {
            name for name in self.commits(PERFORMANCE).partitions if self._is_judged_stale(name)
        }
        # What was predicted only to be judged is made anew by the run that judges it.
        judges = {scored.at(name).dag_run_id: name for name in scored.partitions}
        judged |= {
            judges[run_id]
            for name, tables in made.items()
            if PREDICTIONS in tables
            and name not in scored
            and (run_id := predicted.at(name).dag_run_id) in judges
        }
        # What a run made of another generation, it does not make anew of this one.
        ours = {name for name in scored.partitions if not self._is_of_another(scored.at(name))}
        runs = [
            _run_of(scored.at(name), name, "score", made.get(name, ()), judged)
            for name in scored.partitions
            if (name in made and name in ours) or name in judged
        ]
        trained = {commit.version: commit for commit in self._trainings()}
        as_of = {commit.partitions[0] for commit in trained.values()}
        counting = set(succession.promotions(self._events))
        counting |= {self._scored_with(name, predicted.at(name)) for name in predicted.partitions}
        runs += [
            _run_of(commit, commit.partitions[0], "train", (self.pipeline.training_sets_table,), ())
            for _, commit in sorted(trained.items())
        ]
        return Stale(
            corrections=landing.corrections,
            history={name: tables for name, tables in made.items() if name not in ours},
            # Of several trainings as of one partition the order stays.
            runs=tuple(sorted(dict.fromkeys(runs), key=lambda run: (run.partition, run.kind))),
            versions={
                number: model.partition
                for number, model in self._versions.items()
                if (number in counting or model.partition in as_of)
                and self._is_version_stale(number)
            },
            expired=landing.expired,
        )

    def _is_of_another(self, commit: Written) -> bool:
        """Tell whether what was scored came from another generation of the features."""
        return any(
            is_one_of(read.table, FEATURES) and read.table != self.pipeline.features_table
            for read in commit.inputs
        )

    def _trainings(self) -> Iterator[Written]:
        """Find the training sets whose trainings are to be repeated.

        Those are the latest ones of which a version came, and those of versions that count.
        """
        sets = self.commits(self.pipeline.training_sets_table)
        trained = {model.partition for model in self._versions.values()}
        for name in sets.partitions:
            commit = sets.at(name)
            may_be_repeated = name in trained and commit.dag_run_id not in self.forgotten
            if may_be_repeated and self._is_set_stale(commit):
                yield commit
        for number in succession.promotions(self._events):
            own = self._set_of(number)
            if own is not None and self._is_version_stale(number):
                yield own

    def commits(self, table: str) -> PartitionCommits:
        """Read the commits of a table, once."""
        if table not in self._tables:
            self._tables[table] = PartitionCommits(written(self.lake, table, self.latest))
        return self._tables[table]

    @property
    def _prepared(self) -> set[str]:
        tables = [
            self.pipeline.features_table,
            *(self.pipeline.raw_table(source) for source in self.pipeline.sources),
        ]
        return {name for table in tables for name in self.commits(table).partitions}

    def _stale_tables(self, name: str) -> Iterator[str]:
        """Name the tables that hold something stale of a partition, in the order of the tasks."""
        for source in self.pipeline.sources:
            if (source, name) in self.now:
                yield self.pipeline.raw_table(source)
                yield self.pipeline.quarantine_table(source)
                if source == self.pipeline.label_source:
                    yield self.pipeline.labels_table
        if self._are_features_stale(name, None):
            yield self.pipeline.features_table
        if name in self.commits(PREDICTIONS) and self._is_scored_stale(
            name, self.commits(PREDICTIONS).at(name)
        ):
            yield PREDICTIONS
        for table in (PROFILES, DRIFT):
            if name in self.commits(table) and self._is_watched_stale(table, name):
                yield table

    def _differs(self, source: str, name: str, then: Written | None) -> bool:
        """Tell whether a partition was ingested from something else by a commit than is there now.

        What came only after it is something else, unless nobody looked that far back. What an
        earlier release ingested is taken for the same.
        """
        commits = self.commits(self.pipeline.raw_table(source))
        if name not in commits:
            return False
        held = from_details(commits.at(name).details, name)
        if then is None:
            told = (from_details(commit.details, name) for commit in commits.of(name))
            return self.latest is None and all(digest is not None for digest in told)
        digest, now = from_details(then.details, name), self.now.get((source, name))
        if digest is None or held is None or not (digest.is_known and held.is_known):
            return repairs_of(digest) != repairs_of(held)
        content = held.content if now is None else now.content
        return digest.repairs != held.repairs or bool(digest.content != content)

    def _are_features_stale(self, name: str, version: int | None) -> bool:
        """Tell whether a partition of the features, as it was at a version, is stale."""
        commits = self.commits(self.pipeline.features_table)
        if name not in commits:
            return False
        commit = commits.at(name) if version is None else commits.until(name, version)
        return commit is not None and any(
            self._differs(
                source,
                seen,
                self.commits(self.pipeline.raw_table(source)).until(seen, read.version),
            )
            for source, read in self._sources(commit)
            for seen in self._visible(source, name)
        )

    def _sources(self, commit: Written) -> Iterator[tuple[str, TableReference]]:
        named = {self.pipeline.raw_table(source): source for source in self.pipeline.sources}
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
                self.pipeline.label_source,
                name,
                self.commits(self.pipeline.labels_table).until(name, version),
            )
            for name in names
        )

    def _labels_between(self, first: str, last: str) -> list[str]:
        """Name where labels of rows of the first one may have landed by the last: no earlier."""
        return [
            name
            for name in self.commits(self.pipeline.labels_table).partitions
            if first <= name <= last
        ]

    def _is_set_stale(self, commit: Written) -> bool:
        """Tell whether a training set was made of data of before."""
        window, (as_of, *_) = self._window(commit), commit.partitions
        return bool(window) and any(
            self._are_labels_stale(self._labels_between(window[0], as_of), read.version)
            if read.table == self.pipeline.labels_table
            else read.table == self.pipeline.features_table
            and any(self._are_features_stale(name, read.version) for name in window)
            for read in commit.inputs
        )

    def _window(self, commit: Written) -> Sequence[str]:
        if WINDOW in commit.details:
            return list(json.loads(commit.details[WINDOW]))
        # A release that did not say: what became of it is known if a version did.
        for model in self._versions.values():
            training_set = TrainingSet.from_dict(model.training_set)
            reference = training_set.reference
            if (reference.table, reference.version) == (commit.table, commit.version):
                return sorted({*training_set.train, *training_set.holdout})
        return ()

    @cached_property
    def _events(self) -> list[Event]:
        return Registry(self.lake).events()

    @cached_property
    def _versions(self) -> dict[int, ModelVersion]:
        return {
            int(row["version"]): ModelVersion.from_dict(json.loads(row["details"]))
            for row in self._events
            if row["event"] == "registered"
        }

    def _set_of(self, number: int) -> Written | None:
        """Find the commit of the training set of a version; None if it is not on record."""
        model = self._versions.get(number)
        if model is None:
            return None
        made = TrainingSet.from_dict(model.training_set).reference
        if made.table != self.pipeline.training_sets_table:
            return None
        return self.commits(made.table).until(model.partition, made.version)

    def _is_version_stale(self, number: int) -> bool:
        """Tell whether a version was trained on data of before."""
        if number not in self._known:
            self._known[number] = self._was_trained_on_other_rows(number)
        return self._known[number]

    def _was_trained_on_other_rows(self, number: int) -> bool:
        commit = self._set_of(number)
        if commit is None or not self._is_set_stale(commit):
            return False
        if commit.dag_run_id in self.forgotten or succession.is_chosen(self._events, number):
            return False
        # Its training may have been repeated since, on rows that are the same.
        now = self.commits(self.pipeline.training_sets_table).at(commit.partitions[0])
        are_same = ROWS in now.details and now.details[ROWS] == commit.details.get(ROWS)
        return not are_same or self._is_set_stale(now)

    def _is_scored_stale(self, name: str, commit: Written) -> bool:
        """Tell whether predictions were made from data of before, or by a model that was."""
        version = self._scored_with(name, commit)
        from_features = any(
            self._are_features_stale(str(read.partition), read.version)
            for read in commit.inputs
            if read.table == self.pipeline.features_table
        )
        return from_features or self._is_version_stale(version)

    def _scored_with(self, name: str, commit: Written) -> int:
        """Name the version that predicts; an earlier release did not say, but for the last one."""
        return int(commit.details.get(SCORED_BY) or self._scored_by.get(name, 0))

    def _is_watched_stale(self, table: str, name: str) -> bool:
        """Tell whether a profile, or the drift of one, is of data of before."""
        commit: Written | None = self.commits(table).at(name)
        if table == DRIFT and commit is not None:
            read = [item.version for item in commit.inputs if item.table == PROFILES]
            commit = self.commits(PROFILES).until(name, read[0]) if read else None
        return commit is not None and self._is_scored_stale(name, commit)

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
            if then is None or not self._is_scored_stale(measured, then):
                continue
            now = self.commits(PREDICTIONS).at(measured)
            if REPROCESSED in now.details or self._is_scored_stale(measured, now):
                return True
        return any(
            self._are_labels_stale(
                self._labels_between(min(str(item.partition) for item in judged), name),
                read.version,
            )
            for read in commit.inputs
            if read.table == self.pipeline.labels_table and judged
        )


def _run_of(
    commit: Written, name: str, kind: RunKind, tables: Sequence[str], judged: Iterable[str]
) -> StaleRun:
    also = (PERFORMANCE,) if name in judged else ()
    return StaleRun(name, kind, commit.dag_id, commit.dag_run_id, (*tables, *also))
