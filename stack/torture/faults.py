"""The faults of a round, all chosen by one generator before anything happens."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stack.torture.gate import Rule

# Commits of these tables name the partition in their content.
TABLES = (
    *("raw_loans", "raw_outcomes", "quarantine_loans", "quarantine_outcomes", "labels"),
    *("features", "quarantine_features", "predictions", "profiles", "drift", "performance"),
)
TRAINING_TABLES = ("training_sets", "registry", "ledger")
MLFLOW_CALLS = (
    *("runs/create", "runs/update", "runs/log-parameter|runs/log-batch", "runs/set-tag"),
    *("runs/log-metric", "logged-models", "model-versions/create", "registered-models/alias"),
    "mlflow-artifacts/artifacts",
)
SCORE_TASKS = (
    *("ingest_loans", "validate_loans", "ingest_labels", "validate_labels", "compute_features"),
    *("validate_features", "score_batch", "detect_drift", "measure_performance"),
    *("decide_retraining", "request_retraining"),
)
TRAIN_TASKS = (
    *("build_training_set", "validate_training_set", "train_candidate", "select_challenger"),
    *("evaluate_challenger", "promote_challenger", "close_training"),
)
PARTS = ("scheduler", "api-server", "triggerer", "dag-processor", "mlflow", "spark", "postgres")
_WRITES, _READS = "PUT|POST", "GET"
_COMMIT = r"/_delta_log/\d+\.json$"


@dataclass(frozen=True)
class Fault:
    """One fault as it was planned.

    Args:
        number: Its number in the round.
        kind: What happens, as the report counts it.
        pipeline: The world that it is about; empty for one that meets all.
        after: How many tasks of the round have to succeed before it is armed.
        details: What it needs to be carried out.
    """

    number: int
    kind: str
    pipeline: str
    after: int
    details: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping."""
        return asdict(self)

    def rule(self) -> tuple[str, Rule] | None:
        """Return the gate and the rule that carry it out; None if it is no rule."""
        if "gate" not in self.details:
            return None
        values = {key: value for key, value in self.details.items() if key not in ("gate", "body")}
        body = str(self.details.get("body", "")).encode()
        return self.details["gate"], Rule(fault=self.number, body=body, **values)


Details = dict[str, Any]
Maker = Callable[[random.Random, str, Sequence[str]], Details]


def _commit(action: str) -> Maker:
    def make(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
        details: Details = {"gate": "store", "action": action, "method": "PUT"}
        if generator.random() < 0.25:
            table = generator.choice(TRAINING_TABLES)
        else:
            table = generator.choice(TABLES)
            details["body"] = f"partition={generator.choice(partitions)}/"
        return {**details, "path": f"/lake/{pipeline}/{table}{_COMMIT}"}

    return make


def _store_file(path: str, action: str) -> Maker:
    def make(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
        where = path.format(pipeline=pipeline, partition=generator.choice(partitions))
        return {"gate": "store", "action": action, "method": _WRITES, "path": where}

    return make


def _tracking(action: str) -> Maker:
    def make(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
        call = generator.choice(MLFLOW_CALLS)
        return {"gate": "mlflow", "action": action, "method": "POST|PUT", "path": call}

    return make


def _spoilt(gate: str, action: str, method: str, most: int, path: str = "") -> Maker:
    def make(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
        where = path.format(pipeline=pipeline)
        times = generator.randint(1, most)
        details = {"gate": gate, "action": action, "method": method, "path": where, "times": times}
        if action == "hold":
            details["seconds"] = generator.choice((3, 8, 20))
        return details

    return make


def _part(name: str) -> Maker:
    return lambda generator, pipeline, partitions: {"part": name}


def _pause(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
    return {"seconds": 30}


def _partition(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
    return {"partition": generator.choice(partitions)}


def _running(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
    return {"partition": generator.choice(partitions), "finished": generator.randint(0, 7)}


def _jump(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
    training = generator.random() < 0.3
    task = generator.choice(TRAIN_TASKS if training else SCORE_TASKS)
    dag_id = f"{pipeline}_{'train' if training else 'score'}"
    # A store that checks signatures refuses some of these; both is worth a look.
    seconds = generator.choice((-86400, -600, -60, 60, 600, 86400))
    return {"dag_id": dag_id, "task_id": task, "jump": seconds}


def _clear(downstream: bool) -> Maker:
    def make(generator: random.Random, pipeline: str, partitions: Sequence[str]) -> Details:
        training = generator.random() < 0.25
        task = generator.choice(TRAIN_TASKS if training else SCORE_TASKS)
        dag = "train" if training else "score"
        details = {"dag": dag, "task": task, "downstream": downstream}
        return {**details, "partition": generator.choice(partitions)}

    return make


_LAKE = "/lake/{pipeline}/"
# Cheap ones are drawn more often than those after which a part has to start again.
KINDS: Mapping[str, tuple[int, Maker]] = {
    "task killed before a commit": (4, _commit("kill before")),
    "task killed inside a commit": (4, _commit("kill inside")),
    "task killed after a commit": (4, _commit("kill after")),
    "task killed before a data file": (
        2,
        _store_file(_LAKE + r"\w+/partition=.*\.parquet", "kill before"),
    ),
    "task killed around a model file": (1, _store_file(_LAKE + "models/", "kill inside")),
    "task killed around a report": (1, _store_file("/reports/{pipeline}/", "kill inside")),
    "task killed before a call of MLflow": (2, _tracking("kill before")),
    "task killed inside a call of MLflow": (2, _tracking("kill inside")),
    "task killed after a call of MLflow": (2, _tracking("kill after")),
    "store answers 500": (2, _spoilt("store", "error 500", "GET|PUT|HEAD|POST", 4)),
    "store answers half a body": (2, _spoilt("store", "half a body", _READS, 3, _LAKE)),
    "store resets connections": (2, _spoilt("store", "reset", "GET|PUT|HEAD|POST", 4)),
    "store hangs": (1, _spoilt("store", "hold", "GET|PUT", 2, _LAKE)),
    "disk of the store full": (2, _spoilt("store", "full", "PUT", 5, _LAKE)),
    "MLflow answers 500": (2, _spoilt("mlflow", "error 500", "GET|POST", 3)),
    "MLflow resets connections": (1, _spoilt("mlflow", "reset", "GET|POST", 3)),
    "scheduler killed": (1, _part("scheduler")),
    "api-server killed": (1, _part("api-server")),
    "triggerer killed": (1, _part("triggerer")),
    "dag-processor killed": (1, _part("dag-processor")),
    "MLflow killed": (1, _part("mlflow")),
    "Spark Connect killed": (1, _part("spark")),
    "PostgreSQL killed": (1, _part("postgres")),
    "store killed": (1, _part("store")),
    "store stopped for 30 s": (1, _pause),
    "clock of a worker jumps": (2, _jump),
    "two runs of a partition at once": (2, _partition),
    "run marked failed and cleared": (2, _running),
    "task of a finished run cleared": (2, _clear(downstream=False)),
    "task of a finished run cleared with downstream": (2, _clear(downstream=True)),
}


def plan(
    seed: int, round_number: int, pipelines: Sequence[str], partitions: Sequence[str], count: int
) -> list[Fault]:
    """Choose the faults of a round.

    Args:
        seed: Of the whole run.
        round_number: From 1 on.
        pipelines: The worlds of the round.
        partitions: The partitions that they score.
        count: How many faults.

    Returns:
        The faults in the order in which they are armed.
    """
    generator = random.Random(f"{seed}/{round_number}")
    bag: list[str] = []
    found = []
    # About the successful tasks of a world: eleven a partition, ten a training, two trainings.
    most = len(pipelines) * (len(partitions) * 10 + 20)
    moments = sorted(generator.randrange(most) for _ in range(count))
    for number, after in enumerate(moments, start=1):
        if not bag:
            bag = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]
            generator.shuffle(bag)
        kind = bag.pop()
        pipeline = generator.choice(pipelines)
        details = KINDS[kind][1](generator, pipeline, partitions)
        if "body" in details or "finished" in details:
            after = 0  # its partition comes when it comes
        elif details.get("gate") == "mlflow" and generator.random() < 0.5:
            after = generator.randrange(8 * len(pipelines))  # else the first training has passed
        found.append(Fault(number, kind, pipeline, after, details))
    return found
