"""Figures of a judged challenger, as HTML with Plotly inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from include.evaluation.calibration import calibration_curve, cut_by_rank, roc_points
from include.evaluation.metric_values import predict_classes
from include.specification.problem import Problem, Scores

LARGEST_CLASSES = 12
_OTHER = "(other)"
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LAYOUT: dict[str, Any] = {"width": 560, "height": 420, "template": "plotly_white"}


def draw_held_out(
    problem: Problem, labels: NDArray[Any], models: Mapping[str, Scores]
) -> list[str]:
    """Draw how models did on the held-out rows.

    Binary: ROC and calibration, and with a threshold the confusion of the first model; multiclass:
    the confusion of the first model and the calibration of the likeliest class; regression:
    observed against predicted, and the errors of the first model, both by decile of what was
    predicted.

    Args:
        problem: What labels and scores mean.
        labels: Labels, shape (n_rows,), enough to be measured.
        models: Scores by the model's name.
    """
    first = next(iter(models.values()))
    curves = _draw_calibration(problem, labels, models)
    match problem.task:
        case "binary":
            figures = [_draw_roc(problem, labels, models), curves]
            if problem.threshold is not None:
                decided = predict_classes(problem, first)
                figures.append(_draw_confusion(_names(labels), _names(decided)))
        case "multiclass":
            figures = [_draw_confusion(labels, predict_classes(problem, first)), curves]
        case "regression":
            figures = [curves, _draw_errors(labels, first)]
    # The script comes once, with the first.
    return [
        figure.to_html(full_html=False, include_plotlyjs=False if position else "inline")
        for position, figure in enumerate(figures)
    ]


def confusion_of_largest(
    labels: NDArray[Any], predicted: NDArray[Any], limit: int = LARGEST_CLASSES
) -> tuple[list[str], NDArray[np.int64]]:
    """Count how often each of the most frequent classes was predicted as each.

    Returns:
        Names, ``(other)`` last where there are more classes than ``limit``, and rows, int64, shape
        (n_names, n_names), truth by prediction.
    """
    held, counts = np.unique(labels, return_counts=True)
    order = sorted(range(len(held)), key=lambda i: (-counts[i], held[i]))
    names = [str(held[i]) for i in order] + sorted({*predicted} - {*labels})
    if len(names) > limit:
        names = [*names[: limit - 1], _OTHER]
    position = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), dtype=np.int64)
    rest = len(names) - 1
    rows = [position.get(name, rest) for name in labels]
    np.add.at(table, (rows, [position.get(name, rest) for name in predicted]), 1)
    return names, table


def _names(classes: NDArray[np.int8]) -> NDArray[Any]:
    return classes.astype(str).astype(object)


def _draw_roc(problem: Problem, labels: NDArray[Any], models: Mapping[str, Scores]) -> go.Figure:
    figure = go.Figure()
    for name, scores in models.items():
        rates, hits = zip(*roc_points(problem, labels, scores), strict=True)
        figure.add_scatter(x=rates, y=hits, mode="lines", name=name)
    return figure.update_layout(
        title="ROC on held-out rows",
        xaxis_title="false positive rate",
        yaxis_title="true positive rate",
        **_LAYOUT,
    )


def _draw_calibration(
    problem: Problem, labels: NDArray[Any], models: Mapping[str, Scores]
) -> go.Figure:
    figure = go.Figure()
    for name, scores in models.items():
        bins = calibration_curve(problem, labels, scores)
        figure.add_scatter(
            x=[item.predicted for item in bins],
            y=[item.observed for item in bins],
            mode="lines+markers",
            name=name,
        )
    title, horizontal, vertical = {
        "binary": ("Calibration on held-out rows", "mean score of the bin", "share of positives"),
        "multiclass": (
            "Calibration of the likeliest class",
            "mean probability of the bin",
            "share predicted right",
        ),
        "regression": (
            "Observed against predicted, by decile",
            "mean predicted",
            "mean observed",
        ),
    }[problem.task]
    ends = [item for trace in figure.data for item in trace.x]
    figure.add_scatter(
        x=[min(ends), max(ends)],
        y=[min(ends), max(ends)],
        mode="lines",
        line={"dash": "dot", "color": "#999"},
        name="as promised",
    )
    return figure.update_layout(
        title=title, xaxis_title=horizontal, yaxis_title=vertical, **_LAYOUT
    )


def _draw_confusion(labels: NDArray[Any], predicted: NDArray[Any]) -> go.Figure:
    names, table = confusion_of_largest(labels, predicted)
    totals = table.sum(axis=1, keepdims=True)
    shares = table / np.maximum(totals, 1)
    figure = go.Figure()
    figure.add_heatmap(
        x=names,
        y=names,
        z=shares.tolist(),
        text=table.tolist(),
        texttemplate="%{text}",
        colorscale="Blues",
        zmin=0,
        zmax=1,
        colorbar={"title": "share<br>of row"},
    )
    figure.update_layout(
        title="Challenger: rows by class and prediction",
        xaxis_title="predicted",
        yaxis_title="true class",
        **_LAYOUT,
    )
    # As categories, so that a class named like a number keeps its place.
    figure.update_xaxes(type="category")
    return figure.update_yaxes(type="category", autorange="reversed")


def _draw_errors(labels: NDArray[np.float64], predicted: Scores) -> go.Figure:
    position = cut_by_rank(predicted, 10)
    deciles = [position == number for number in np.unique(position)]
    low, lower, middle, upper, high = np.array(
        [np.quantile(predicted[inside] - labels[inside], _QUANTILES) for inside in deciles]
    ).T.tolist()
    figure = go.Figure()
    figure.add_box(
        x=[f"{predicted[inside].mean():.4g}" for inside in deciles],
        lowerfence=low,
        q1=lower,
        median=middle,
        q3=upper,
        upperfence=high,
        name="error",
    )
    figure.update_layout(
        title="Challenger: predicted minus observed, 5 % to 95 %",
        xaxis_title="mean predicted of the decile",
        yaxis_title="predicted minus observed",
        **_LAYOUT,
    )
    return figure.update_xaxes(type="category")
