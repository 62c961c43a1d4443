"""Search a candidate's parameters on validation folds, then fit it on all that is not held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from include.errors import TrainingError
from include.evaluation.decision_threshold import DecisionThreshold, choose_threshold
from include.evaluation.metric_values import find_metric, higher_is_better, measure
from include.registry.model_files import scores_of, without_infinities
from include.specification.candidate_defaults import Preset
from include.specification.problem import Problem, Scores
from include.specification.sections.decision import Decision
from include.specification.sections.training import Calibration, Training
from include.training.candidates import build
from include.training.training_sets import TrainingData

_FOLDS = 5
# Of a binary model they see nothing but the order of the scores.
_OF_THE_ORDER = ("roc_auc", "average_precision")

Fold = tuple[NDArray[np.bool_], NDArray[np.bool_]]
# Labels of the rows that a fold validates on, and their scores.
Checked = tuple[NDArray[Any], Scores]


@dataclass(frozen=True)
class TrainedCandidate:
    """A fitted candidate.

    Args:
        name: Name in the pipeline file.
        parameters: Chosen arguments of the estimator.
        validation: Mean of the metric over the validation folds.
        estimator: Fitted on all rows that are not held out.
        classes: Multiclass: the classes in the order of the score columns; else empty.
        decision: Binary: from which score on a row is decided as 1; None if the file does not say.
    """

    name: str
    parameters: dict[str, Any]
    validation: float
    estimator: Any
    classes: tuple[str, ...]
    decision: DecisionThreshold | None = None


def train_candidate(
    name: str,
    preset: Preset,
    data: TrainingData,
    rules: Training,
    *,
    trials: int,
    decision: Decision | None = None,
) -> TrainedCandidate:
    """Search parameters on validation folds, then fit on all rows that are not held out.

    Partitions in time are validated in their order, snapshots on shuffled folds. Rows of a class
    that is not among the problem's are not fitted on, but count in validation.

    A threshold is chosen on the rows of the validation folds together, each scored by a model that
    was not fitted on it: the chosen parameters, calibrated like the model, are fitted on the folds
    once more. Where the search itself goes by a metric of classes, each trial decides by the
    threshold that is best for it.

    Args:
        name: Name in the pipeline file.
        preset: The candidate, completed by
            :meth:`~include.specification.pipeline.Pipeline.candidate`.
        data: The training set; held-out rows are not touched.
        rules: Metric, seed, and how rare classes and scores are treated.
        trials: Number of Optuna trials; 0 takes the parameters as they are.
        decision: From which score on a row is decided as 1; None if the file does not say.

    Raises:
        TrainingError: If the candidate cannot be built or fitted, or a fold has too few classes.
    """
    visible = ~data.holdout
    features = without_infinities(data.features[visible].reset_index(drop=True))
    labels, partitions = data.labels[visible], data.partitions[visible]
    problem = data.problem
    if data.ordered:
        folds = _time_ordered_folds(partitions)
    else:
        folds = _shuffled_folds(problem, labels, rules.seed)
    _check_folds(name, problem, folds, labels, partitions)

    def fit(
        parameters: Mapping[str, Any], rows: NDArray[np.bool_], calibration: Calibration
    ) -> Any:
        learned = rows & _is_learned(problem, labels, rows)
        estimator = build(
            preset,
            problem.task,
            parameters,
            data.numeric,
            data.categorical,
            imbalance=rules.imbalance,
            calibration=calibration,
            seed=rules.seed,
        )
        with _explained(name, parameters):
            return estimator.fit(features[learned], labels[learned])

    def predict(parameters: Mapping[str, Any], calibration: Calibration) -> Iterator[Checked]:
        for rows, check in folds:
            estimator = fit(parameters, rows, calibration)
            with _explained(name, parameters):
                scores = scores_of(estimator, problem, features[check])
            yield labels[check], scores

    def validate(parameters: Mapping[str, Any], trial: optuna.Trial | None) -> float:
        checked: list[Checked] = []
        for fold in predict(parameters, _calibration_of_folds(problem, rules)):
            checked.append(fold)
            value = _validation(problem, rules.metric, decision, checked)
            if trial is not None:
                trial.report(value, len(checked) - 1)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return value

    parameters = dict(preset.parameters)
    if trials:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            direction="maximize" if higher_is_better(rules.metric, problem) else "minimize",
            sampler=optuna.samplers.TPESampler(seed=rules.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        )
        study.enqueue_trial(_starting_point(preset))
        study.optimize(
            lambda trial: validate({**preset.parameters, **_suggest(preset, trial)}, trial),
            n_trials=trials,
        )
        parameters.update(study.best_params)
        value = float(study.best_value)
    else:
        value = validate(parameters, None)
    chosen = None
    if decision is not None:
        # A threshold that is given needs no scores.
        is_given = decision.threshold is not None
        checked = [] if is_given else list(predict(parameters, rules.calibration))
        chosen = _choose(decision, problem, checked)
    estimator = fit(parameters, np.ones(len(labels), np.bool_), rules.calibration)
    return TrainedCandidate(name, parameters, value, estimator, problem.classes, chosen)


def _validation(
    problem: Problem, metric: str, decision: Decision | None, checked: Sequence[Checked]
) -> float:
    """Take the mean of the metric over folds; of classes at the threshold that is best for all."""
    if decision is not None and find_metric(metric, problem).takes == "classes":
        problem = replace(problem, threshold=_choose(decision, problem, checked).threshold)
    return float(np.mean([measure(metric, problem, *fold) for fold in checked]))


def _choose(decision: Decision, problem: Problem, checked: Sequence[Checked]) -> DecisionThreshold:
    labels = np.concatenate([np.empty(0, np.int8), *(fold[0] for fold in checked)])
    scores = np.concatenate([np.empty(0), *(fold[1] for fold in checked)])
    return choose_threshold(decision, problem, labels, scores)


def _calibration_of_folds(problem: Problem, rules: Training) -> Calibration:
    """Leave out of validation what changes no order of scores, and takes five fits of six."""
    of_the_order = problem.task == "binary" and rules.metric in _OF_THE_ORDER
    return "none" if of_the_order and rules.calibration == "sigmoid" else rules.calibration


def _suggest(preset: Preset, trial: optuna.Trial) -> dict[str, Any]:
    """Draw the searched arguments: a choice of a list, or a number of a range."""
    drawn: dict[str, Any] = {}
    for argument, space in preset.search.items():
        if not isinstance(space, Mapping):
            drawn[argument] = trial.suggest_categorical(argument, list(space))
            continue
        whole = isinstance(space["low"], int) and isinstance(space["high"], int)
        suggest = trial.suggest_int if whole else trial.suggest_float
        drawn[argument] = suggest(
            argument, space["low"], space["high"], log=space.get("log", False)
        )
    return drawn


def _starting_point(preset: Preset) -> dict[str, Any]:
    """Take the preset's own values of searched arguments where the search may draw them."""
    return {
        argument: preset.parameters[argument]
        for argument, space in preset.search.items()
        if argument in preset.parameters and _holds(space, preset.parameters[argument])
    }


def _holds(space: Sequence[Any] | Mapping[str, Any], value: Any) -> bool:
    if not isinstance(space, Mapping):
        return value in space
    return isinstance(value, int | float) and bool(space["low"] <= value <= space["high"])


def _time_ordered_folds(partitions: NDArray[Any]) -> list[Fold]:
    """Validate on each of the two latest partitions (one if there are two) with all before it."""
    names = sorted(set(partitions))
    latest = names[-2:] if len(names) > 2 else names[-1:]
    return [(partitions < name, partitions == name) for name in latest]


def _shuffled_folds(problem: Problem, labels: NDArray[Any], seed: int) -> list[Fold]:
    """Deal the shuffled rows of each class to five folds; fewer if the rarest class has fewer."""
    count = min(_FOLDS, len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    if problem.task != "regression":
        # Dealt class by class, so that no two folds differ by more than one row of any class.
        order = order[np.argsort(labels[order], kind="stable")]
        known = labels[_is_known(problem, labels)]
        count = max(2, min(count, *np.unique(known, return_counts=True)[1]))
    dealt = np.empty(len(labels), np.intp)
    dealt[order] = np.arange(len(labels)) % count
    return [(dealt != fold, dealt == fold) for fold in range(count)]


def _is_known(problem: Problem, labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows have a label that the problem names, bool, shape (n_rows,)."""
    if problem.task != "multiclass":
        return np.ones(len(labels), np.bool_)
    return np.isin(labels.astype(str), problem.classes)


def _is_learned(
    problem: Problem, labels: NDArray[Any], rows: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell which rows a multiclass fit on ``rows`` can learn from, bool, shape (n_rows,).

    A class with a single row among them is left out: neither SMOTE, nor calibration, nor early
    stopping can split it.
    """
    known = _is_known(problem, labels)
    if problem.task != "multiclass":
        return known
    names, counts = np.unique(labels[rows & known].astype(str), return_counts=True)
    return known & np.isin(labels.astype(str), names[counts > 1])


def _check_folds(
    name: str,
    problem: Problem,
    folds: Sequence[Fold],
    labels: NDArray[Any],
    partitions: NDArray[Any],
) -> None:
    if problem.task == "regression":
        return
    binary = problem.task == "binary"
    for fit, check in folds:
        sides = (fit, check) if binary else (fit & _is_learned(problem, labels, fit),)
        for rows in sides:
            classes = len(set(labels[rows]))
            if classes > 1:
                continue
            found = f"{int(labels[rows].sum())} positives" if binary else f"{classes or 'no'} class"
            rule = (
                "both sides of each validation fold must hold both classes"
                if binary
                else "what a validation fold is fitted on must hold two classes"
            )
            raise TrainingError(
                f"candidate {name}: {rule}, got {found} in {int(rows.sum())} rows of "
                f"{', '.join(sorted(set(partitions[rows]))) or 'no partition'}. Lengthen "
                "training.window or check the labels."
            )


@contextmanager
def _explained(name: str, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Turn whatever an estimator raises into an error that names the candidate."""
    try:
        yield
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in parameters.items()) or "no arguments"
        raise TrainingError(
            f"candidate {name}: its estimator must fit and score with {given}, got "
            f"{type(error).__name__}: {str(error)[:500]}. Correct its parameters, or leave it out."
        ) from error
