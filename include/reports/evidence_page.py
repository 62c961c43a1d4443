"""The page with the evidence for or against a challenger."""

from __future__ import annotations

from include.registry.model_files import ModelVersion
from include.reports.evidence_figures import draw_held_out
from include.specification.pipeline import Pipeline
from include.steps.training import Evaluation
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import REPORTS
from include.templates import render
from include.training.training_sets import TrainingSet


def evidence_uri(pipeline: str, version: int) -> str:
    """Name the page about a challenger."""
    return f"s3://{REPORTS}/{pipeline}/evidence/version-{version}/index.html"


def publish_evidence(
    lake: Lake, pipeline: Pipeline, challenger: ModelVersion, evaluation: Evaluation
) -> str:
    """Publish the evidence for or against a challenger; returns the address of the page."""
    models = {"challenger": evaluation.challenger}
    if evaluation.champion is not None:
        models["champion"] = evaluation.champion
    evidence = evaluation.evidence
    page = render(
        "evidence",
        title=f"{pipeline.name} version {challenger.version}: evidence",
        description=pipeline.description,
        challenger=challenger,
        training_set=TrainingSet.from_dict(challenger.training_set),
        decision=evaluation.decision,
        evidence=evidence,
        # With too few labels there are no curves, and the gate has refused.
        figures=(
            draw_held_out(evaluation.problem, evaluation.labels, models)
            if evidence.challenger
            else []
        ),
    )
    uri = evidence_uri(pipeline.name, challenger.version)
    ObjectStore(lake.settings).write(uri, page.encode(), "text/html; charset=utf-8")
    return uri
