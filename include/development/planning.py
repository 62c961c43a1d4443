"""What a pipeline file makes: tasks, tables, landing places; and how that differs from before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from include.calendar import partitions
from include.development.run_dates import run_dates
from include.specification.pipeline import Pipeline
from include.storage.settings import LAKE
from include.wording import counted

if TYPE_CHECKING:
    from include.storage.lake_tables import Lake
    from include.storage.ledger import Entry

MLFLOW = "MLflow"
PAGES = "pages"


@dataclass(frozen=True)
class PlannedTask:
    """One task of a DAG.

    Args:
        task_id: Its name.
        operator: Class of its operator.
        upstream: Tasks that it directly follows.
        mapped: One box for each of these; empty if it is a single box.
    """

    task_id: str
    operator: str
    upstream: tuple[str, ...]
    mapped: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedDag:
    """One DAG, from the factory or as Airflow serves it.

    Args:
        dag_id: Its name.
        schedule: What Airflow shows as its schedule.
        tasks: Its tasks, each after those it follows.
    """

    dag_id: str
    schedule: str
    tasks: tuple[PlannedTask, ...]

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PlannedDag:
        """Read what :meth:`to_dict` gave."""
        tasks = [
            PlannedTask(
                item["task_id"], item["operator"], tuple(item["upstream"]), tuple(item["mapped"])
            )
            for item in values["tasks"]
        ]
        return cls(values["dag_id"], values["schedule"], tuple(tasks))

    def steps(self) -> tuple[tuple[PlannedTask, ...], ...]:
        """Group the tasks by how many tasks must end before they can start."""
        depths: dict[str, int] = {}
        for task in self.tasks:
            depths[task.task_id] = 1 + max((depths[name] for name in task.upstream), default=-1)
        return tuple(
            tuple(task for task in self.tasks if depths[task.task_id] == depth)
            for depth in range(max(depths.values(), default=-1) + 1)
        )


@dataclass(frozen=True)
class Traffic:
    """What a task reads and writes: tables by name, landed data by source.

    Args:
        reads: What it reads.
        writes: What it writes.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedRun:
    """One run that the schedule asks for.

    Args:
        due: When, naive UTC.
        partition: Partition that it is about.
    """

    due: datetime
    partition: str


def next_runs(pipeline: Pipeline, now: datetime, count: int = 3) -> tuple[PlannedRun, ...]:
    """List the next runs of scoring; fewer, or none, if the schedule ends or there is none.

    Args:
        pipeline: The pipeline file.
        now: The moment after which runs count, naive UTC.
        count: How many, >= 1.
    """
    dates = islice(run_dates(pipeline, now + timedelta(seconds=1)), count)
    return tuple(
        PlannedRun(due, str(partitions.latest_closed(due, pipeline.partition))) for due in dates
    )


def landing_places(pipeline: Pipeline) -> dict[str, str]:
    """Tell by source where its data are expected."""
    return {
        name: source.uri or f"query over connection {source.connection}"
        for name, source in pipeline.sources.items()
    }


def traffic(pipeline: Pipeline) -> dict[str, Traffic]:
    """Tell by task of both DAGs what it reads and writes.

    A task that Relevo does not make, in a DAG written by hand, is not among them.
    """
    from include.features import feature_function
    from include.registry import champions
    from include.scoring import batch_scoring
    from include.steps import monitoring
    from include.storage import ledger

    feature_tables = tuple(pipeline.raw_table(name) for name in pipeline.feature_sources)
    found: dict[str, Traffic] = {}
    for name in pipeline.sources:
        brings_labels = name == pipeline.label_source
        task = "labels" if brings_labels and not pipeline.labels_in_row else name
        raw, bad = pipeline.raw_table(name), pipeline.quarantine_table(name)
        kept = (raw, bad, pipeline.labels_table) if brings_labels else (raw, bad)
        found[f"ingest_{task}"] = Traffic((_landed(name),), (_draft(raw),))
        found[f"validate_{task}"] = Traffic((_draft(raw),), kept)
    bad_features = pipeline.quarantine_table(feature_function.TABLE)
    features, labels = pipeline.features_table, pipeline.labels_table
    training_sets, drafted = pipeline.training_sets_table, _draft(features)
    written = [name for item in found.values() for name in item.writes]
    prepared = tuple(dict.fromkeys(name for name in written if not _is_draft(name)))
    return {
        **found,
        "compute_features": Traffic(feature_tables, (drafted,)),
        "validate_features": Traffic((drafted,), (features, bad_features)),
        "await_training": Traffic((ledger.TABLE,)),
        "score_batch": Traffic(
            (features, champions.TABLE), (batch_scoring.TABLE, champions.PROFILES)
        ),
        "detect_drift": Traffic(
            (champions.PROFILES, features, champions.TABLE),
            (monitoring.DRIFT, PAGES),
        ),
        "measure_performance": Traffic(
            (batch_scoring.TABLE, labels, features, champions.TABLE),
            (monitoring.PERFORMANCE,),
        ),
        "decide_retraining": Traffic(
            (monitoring.DRIFT, monitoring.PERFORMANCE, ledger.TABLE), (ledger.TABLE,)
        ),
        "request_retraining": Traffic((ledger.TABLE,)),
        "build_training_set": Traffic(
            (*map(_landed, pipeline.sources), features, labels),
            (*prepared, features, bad_features, training_sets),
        ),
        "validate_training_set": Traffic((training_sets,), (PAGES,)),
        "explore_training_set": Traffic((training_sets,), (PAGES,)),
        "train_candidate": Traffic((training_sets,), (MLFLOW,)),
        "select_challenger": Traffic((training_sets, MLFLOW), (champions.TABLE, MLFLOW)),
        "evaluate_challenger": Traffic((training_sets, champions.TABLE), (ledger.TABLE, PAGES)),
        "approve_promotion": Traffic((ledger.TABLE,), (ledger.TABLE,)),
        "promote_challenger": Traffic((ledger.TABLE, champions.TABLE), (champions.TABLE, MLFLOW)),
        "close_training": Traffic(
            (ledger.TABLE, champions.TABLE), (ledger.TABLE, champions.TABLE, MLFLOW)
        ),
    }


def next_tables(pipeline: Pipeline) -> tuple[str, ...]:
    """Name the tables that a migration fills beside those of now."""
    to_be = pipeline.to_be()
    held = set(tables(pipeline))
    return () if to_be is None else tuple(name for name in tables(to_be) if name not in held)


def next_steps(pipeline: Pipeline, lake: Lake | None) -> list[str]:
    """Tell what a migration does, one line a step; none if the file names nothing.

    Args:
        pipeline: The pipeline file.
        lake: Its tables; None to look at none.
    """
    to_be = pipeline.to_be()
    if to_be is None:
        return []
    told: list[str] = []
    lines = [f"writes {', '.join(next_tables(pipeline))}"]
    as_of = "the latest partition that was scored"
    if lake is not None:
        from include.steps.migration import already_in_use, outlook
        from include.steps.migration_outlook import latest, repairs_left

        if over := already_in_use(lake, pipeline):
            return [over]
        told += filter(None, [latest(lake, to_be)])
        as_of, features, labels = outlook(lake, pipeline, to_be)
        if not as_of:
            return ["nothing was prepared yet: put the content of `next:` in its place"]
        lines.append(f"computes features of {counted(features, 'partition')}")
        if to_be.labels_table != pipeline.labels_table:
            lines.append(f"ingests labels of {counted(labels, 'partition')}")
        lines += [
            f"leaves {counted(count, 'repair')} of {source} behind: its rows are ingested as they "
            "landed, so release those of quarantine anew"
            for source, count in repairs_left(lake, pipeline, to_be).items()
        ]
    return [
        *told,
        *lines,
        f"trains as of {as_of}, and switches from the next partition on if the gate passes",
        "leaves all other tables as they are; the version in use scores meanwhile",
        f'begins with `./relevo migrate {pipeline.name} --reason "..."`',
    ]


def _landed(source: str) -> str:
    return f"landed {source}"


def _draft(table: str) -> str:
    return f"draft of {table}"


def _is_draft(name: str) -> bool:
    return name.startswith(_draft(""))


def tables(pipeline: Pipeline) -> tuple[str, ...]:
    """Name the tables that the tasks of a pipeline write, in the order of the tasks."""
    written = [name for item in traffic(pipeline).values() for name in item.writes]
    return tuple(
        dict.fromkeys(
            name for name in written if name not in (MLFLOW, PAGES) and not _is_draft(name)
        )
    )


def table_uri(pipeline: Pipeline, table: str) -> str:
    """Give the address of a table on the store."""
    return f"s3://{LAKE}/{pipeline.name}/{table}/"


def dag_changes(planned: Sequence[PlannedDag], deployed: Mapping[str, PlannedDag]) -> list[str]:
    """Tell what would change in Airflow, one line a change; none if all is deployed.

    Args:
        planned: DAGs as the pipeline file makes them.
        deployed: By DAG, what Airflow serves now; a DAG that it does not know is not in it.
    """
    lines = []
    for dag in planned:
        held = deployed.get(dag.dag_id)
        if held is None:
            lines.append(f"{dag.dag_id}: new")
            continue
        if held.schedule != dag.schedule:
            lines.append(f"{dag.dag_id}: schedule {held.schedule} -> {dag.schedule}")
        lines += [f"{dag.dag_id}: {line}" for line in _task_changes(dag, held)]
    return lines


def _task_changes(planned: PlannedDag, deployed: PlannedDag) -> Iterator[str]:
    before = {task.task_id: task for task in deployed.tasks}
    after = {task.task_id: task for task in planned.tasks}
    for name in sorted(before.keys() - after.keys()):
        yield f"- {name}"
    for name, task in after.items():
        if name not in before:
            yield f"+ {name}"
            continue
        if task.operator != before[name].operator:
            yield f"{name}: {before[name].operator} -> {task.operator}"
        if set(task.upstream) != set(before[name].upstream):
            yield (f"{name}: follows {_listed(before[name].upstream)} -> {_listed(task.upstream)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def champions_file(entries: Sequence[Entry]) -> Mapping[str, Any] | None:
    """Find the pipeline file under which the champion was trained.

    Args:
        entries: The ledger, in the order of recording.

    Returns:
        The file as ``Pipeline.model_dump`` gives it, without defaults; None if nothing was
        promoted yet.
    """
    champion = None
    trained_by: dict[int, tuple[str, str]] = {}
    started: dict[tuple[str, str], Mapping[str, Any] | None] = {}
    for item in entries:
        run = (item.dag_run_id, item.partition)
        if item.kind == "promotion":
            trained_by[item.evidence["challenger"]] = run
        elif (item.kind, item.decision) == ("training", "started"):
            started[run] = item.evidence.get("pipeline")
        elif (item.kind, item.decision) == ("training", "promoted") and not item.superseded:
            champion = run
        elif item.kind in ("rollback", "by_hand") and "restored" in item.evidence:
            champion = trained_by.get(item.evidence["restored"])
    return None if champion is None else started.get(champion)


def file_changes(deployed: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Tell key by key how a pipeline file differs from an earlier one; none if it does not.

    Args:
        deployed: The earlier file, as ``Pipeline.model_dump`` gives it, without defaults.
        current: The file now, in the same form.
    """
    before, after = dict(_leaves(deployed)), dict(_leaves(current))
    lines = [f"- {key}: {before[key]!r}" for key in before if key not in after]
    for key, value in after.items():
        if key not in before:
            lines.append(f"+ {key}: {value!r}")
        elif before[key] != value:
            lines.append(f"{key}: {before[key]!r} -> {value!r}")
    return lines


def _leaves(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Walk over all that is no section, by its full key."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
