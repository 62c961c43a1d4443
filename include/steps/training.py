"""From a training set to a judged challenger: fit under MLflow, select, evaluate, decide."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from include.calendar.partitions import Partition
from include.errors import TrainingError
from include.evaluation.decision_threshold import DecisionThreshold
from include.evaluation.evidence import Evidence, gather_evidence
from include.evaluation.metric_values import higher_is_better
from include.evaluation.promotion_gate import PromotionDecision, decide_promotion, hold_back
from include.registry import interventions
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import (
    MODEL,
    REFERENCE,
    TRUSTED_TYPES,
    ModelVersion,
    load_model,
    predict,
    put_file,
    scores_of,
    trusted_for,
)
from include.specification.pipeline import Pipeline
from include.specification.problem import Problem, Scores
from include.steps import promotion
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.training import search, training_sets
from include.training.fit_digest import digest_data, digest_fit, distributions
from include.training.held_out import read_held_out
from include.training.reference_profile import make_reference
from include.training.training_sets import TrainingSet

_RESULT_TAG = "relevo.result"
_INPUT_TAG = "relevo.training_set"
_TRUSTED_TAG = "relevo.trusted"
_DECISION_TAG = "relevo.decision"
_MODEL_NAME = "model"


@dataclass(frozen=True)
class CandidateResult:
    """A candidate that was fitted and logged.

    Args:
        name: Builder.
        run_id: MLflow run, nested below the DAG run's parent.
        validation: Metric on the time-ordered validation folds.
        model_uri: MLflow address of the logged model.
        file: (address on the store, SHA-256) of the model file.
        trusted: Types of an estimator of the file's own that the model file may hold.
        decision: Binary: from which score on a row is decided as 1; None if the file does not say.
    """

    name: str
    run_id: str
    validation: float
    model_uri: str
    file: tuple[str, str]
    trusted: tuple[str, ...]
    decision: DecisionThreshold | None = None

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CandidateResult:
        """Read what :meth:`to_dict` gave."""
        return cls(
            **{
                **values,
                "file": (values["file"][0], values["file"][1]),
                "trusted": tuple(values["trusted"]),
                "decision": DecisionThreshold.from_dict(values.get("decision")),
            }
        )


def fit(
    lake: Lake,
    tracking: Tracking,
    pipeline: Pipeline,
    training_set: TrainingSet,
    name: str,
    parent_id: str,
) -> CandidateResult:
    """Search, fit and log one candidate in a nested run of this fit.

    A fit that is finished is not repeated, its result is returned; one with other inputs, rules or
    code has a run of its own (see :mod:`include.training.fit_digest`).

    Raises:
        TrainingError: If the candidate is unknown or cannot be fitted.
    """
    rules, preset = pipeline.training, pipeline.candidate(name)
    source = lake.uri(training_set.reference.table)
    data = training_sets.load_training_set(lake, pipeline, training_set)
    digest = digest_data(data)
    run_id = tracking.candidate(parent_id, name, digest_fit(data, pipeline, name, preset))
    tags = tracking.finished_tags(run_id)
    if _RESULT_TAG in tags:
        _restore(lake, tracking, tags)
        return CandidateResult(
            name,
            run_id,
            float(tags[_RESULT_TAG]),
            tags["relevo.model_uri"],
            (tags["relevo.file"], tags["relevo.sha256"]),
            tuple(json.loads(tags[_TRUSTED_TAG])),
            DecisionThreshold.from_dict(json.loads(tags.get(_DECISION_TAG, "null"))),
        )
    with tracking.active(run_id):
        fitted = search.train_candidate(
            name,
            preset,
            data,
            rules,
            trials=rules.candidates[name].trials,
            decision=pipeline.decision,
        )
        decision = fitted.decision
        trusted = trusted_for(str(preset.estimator(pipeline.task)), fitted.estimator)
        visible = data.features[~data.holdout]
        mlflow.log_params({**fitted.parameters, "candidate": name, "seed": rules.seed})
        mlflow.log_metric(f"validation_{rules.metric}", fitted.validation)
        if decision is not None:
            mlflow.log_param("decision", decision.section.told())
            mlflow.log_metric("decision_threshold", decision.threshold)
            mlflow.set_tag(_DECISION_TAG, json.dumps(asdict(decision)))
        _log_training_set(visible.head(100), source, training_set, digest)
        sample = visible.head(5)
        logged = mlflow.sklearn.log_model(
            fitted.estimator,
            name=_MODEL_NAME,
            signature=infer_signature(sample, scores_of(fitted.estimator, data.problem, sample)),
            pip_requirements=_requirements(str(preset.estimator(pipeline.task))),
            serialization_format="skops",
            skops_trusted_types=[*TRUSTED_TYPES, *trusted],
        )
        model = tracking.download(logged.model_uri, MODEL)
        file = put_file(ObjectStore(lake.settings), pipeline.name, MODEL, model)
        mlflow.set_tags(
            {
                _INPUT_TAG: digest,
                _RESULT_TAG: repr(fitted.validation),
                "relevo.model_uri": logged.model_uri,
                "relevo.file": file[0],
                "relevo.sha256": file[1],
                _TRUSTED_TAG: json.dumps(trusted),
            }
        )
    return CandidateResult(
        name, run_id, fitted.validation, logged.model_uri, file, trusted, decision
    )


def _restore(lake: Lake, tracking: Tracking, tags: Mapping[str, str]) -> None:
    """Take the file of a finished fit from MLflow, if it was never registered and maintained away.

    It is the same to the last bit: what is stored is what MLflow holds.
    """
    store = ObjectStore(lake.settings)
    if not store.exists(tags["relevo.file"]):
        model = tracking.download(tags["relevo.model_uri"], MODEL)
        put_file(store, lake.pipeline, MODEL, model)


def _log_training_set(
    rows: pd.DataFrame, source: str, training_set: TrainingSet, digest: str
) -> None:
    """Log which data the active run was fitted on.

    Two candidates may make the data set in MLflow at the same moment, of which it refuses one:
    then it is there.
    """
    data = mlflow.data.from_pandas(
        rows, source=source, name=training_set.reference.table, digest=digest
    )
    tags = {"version": str(training_set.reference.version)}
    try:
        mlflow.log_input(data, context="training", tags=tags)
    except MlflowException:
        mlflow.log_input(data, context="training", tags=tags)


def select(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    training_set: TrainingSet,
    results: Sequence[CandidateResult],
    origin: Origin,
) -> ModelVersion:
    """Register the candidate that validated best, with its reference.

    Held-out rows do not choose: they only judge what was chosen.

    Raises:
        TrainingError: If there is no candidate.
    """
    if not results:
        raise TrainingError(
            f"pipeline {pipeline.name}: at least one candidate must be fitted, got none. "
            "Look at the train_candidate tasks."
        )
    data = training_sets.load_training_set(lake, pipeline, training_set)
    sign = 1 if higher_is_better(pipeline.training.metric, data.problem) else -1
    best = max(results, key=lambda result: (sign * result.validation, result.name))
    store = ObjectStore(lake.settings)
    model = load_model(lake.settings, best.file, best.trusted)
    reference = make_reference(data, scores_of(model, data.problem, data.features))
    version = ModelVersion(
        pipeline=pipeline.name,
        version=0,
        partition=str(training_set.reference.partition),
        run_id=best.run_id,
        candidate=best.name,
        numeric=data.numeric,
        categorical=data.categorical,
        files={
            MODEL: best.file,
            REFERENCE: put_file(store, pipeline.name, REFERENCE, reference.to_bytes()),
        },
        training_set=training_set.to_dict(),
        task=pipeline.task,
        classes=data.problem.classes,
        trusted=best.trusted,
        decision=best.decision,
        generations=pipeline.generations,
    )
    return registry.register(version, best.model_uri, origin)


@dataclass(frozen=True)
class Evaluation:
    """A judged challenger.

    Args:
        decision: What the gate said.
        evidence: What it looked at.
        problem: What labels and scores mean; multiclass: with the classes of both models; binary:
            with the challenger's threshold.
        labels: Labels of the held-out rows, as ``problem`` says.
        challenger: Scores of the challenger.
        champion: Scores of the champion; None if there is none yet.
    """

    decision: PromotionDecision
    evidence: Evidence
    problem: Problem
    labels: np.ndarray[Any, Any]
    challenger: Scores
    champion: Scores | None


def evaluate(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    challenger: ModelVersion,
    partition: Partition,
    origin: Origin,
) -> Evaluation:
    """Judge a challenger against whose place it would take, on the same held-out rows.

    The verdict, yes or no, goes into the ledger with its evidence. It is a no if a person froze the
    champion, or refused the challenger.
    """
    training_set = TrainingSet.from_dict(dict(challenger.training_set))
    champion = registry.incumbent(partition, origin, challenger.version)
    rows = read_held_out(lake, pipeline, challenger, champion)
    known = {*challenger.classes, *(champion.classes if champion else ())}
    problem = Problem.of(pipeline, sorted(known), challenger.threshold)
    rule, also = pipeline.decision, {pipeline.monitoring.performance.metric}
    if rule and rule.maximize:
        also.add(rule.maximize)

    def scores(version: ModelVersion, features: pd.DataFrame) -> Scores:
        return problem.align(predict(lake.settings, version, features), version.classes)

    ours = scores(challenger, rows.challenger)
    theirs = scores(champion, rows.champion) if champion else None
    evidence = gather_evidence(
        problem,
        rows.labels,
        ours,
        theirs,
        rows.challenger[list(pipeline.promotion.guard.slices)],
        policy=pipeline.promotion,
        metric=pipeline.training.metric,
        seed=pipeline.training.seed,
        partitions=training_set.holdout,
        also=also,
        challenger_classes=challenger.classes,
        champion_threshold=champion.threshold if champion else None,
        costs=rule.costs if rule else None,
    )
    events = registry.events()
    decision = hold_back(
        decide_promotion(problem, evidence, pipeline.promotion, pipeline.training.metric),
        interventions.objection(events, challenger.version),
    )
    if rows.left_out:
        told = f"{rows.left_out} held-out rows are in the challenger's features alone: left out"
        decision = replace(decision, reason=f"{decision.reason}; {told}")
    ledger.record(
        lake,
        "promotion",
        str(partition),
        "promoted" if decision.promoted else "refused",
        decision.reason,
        origin=origin,
        evidence={
            "challenger": challenger.version,
            "champion": None if champion is None else champion.version,
            "checks": [asdict(check) for check in decision.checks],
            **({"left_out": rows.left_out} if rows.left_out else {}),
            "evidence": evidence.to_dict(),
            **interventions.seen(events),
        },
    )
    return Evaluation(decision, evidence, problem, rows.labels, ours, theirs)


def close(
    lake: Lake, registry: Registry, pipeline: Pipeline, partition: Partition, origin: Origin
) -> tuple[promotion.Outcome, str]:
    """Record how a training run ended, and leave nothing else in use.

    The outcome is what is on record of this DAG run. Whatever else the run had put in use before is
    taken back, and the alias is where the registry says.

    Args:
        lake: The pipeline's tables.
        registry: Its model versions.
        pipeline: The pipeline file.
        partition: Partition as of which was trained.
        origin: Who closes.

    Returns:
        (outcome, reason).
    """
    outcome, reason = promotion.outcome(lake, registry, pipeline, str(partition), origin.dag_run_id)
    # Later partitions go on as soon as the end is on record, so what they may not be scored by
    # goes before; and they do not wait for MLflow.
    if outcome != "promoted":
        promotion.take_back(lake, registry, str(partition), reason, origin)
    ledger.record(lake, "training", str(partition), outcome, reason, origin=origin)
    registry.set_alias()
    return outcome, reason


def _requirements(estimator: str) -> list[str]:
    """Name the distributions that a model needs to be loaded, from its import path."""
    return sorted({"scikit-learn", "skops", *distributions(estimator)})
