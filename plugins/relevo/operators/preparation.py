"""Operators that bring data in: ingest, validate, compute features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relevo.links import DataDocsLink, report_path
from relevo.operators.base import OrderedOperator, PipelineOperator


class IngestSourceOperator(OrderedOperator):
    """Copy what landed for a partition as a draft of the raw table of a source.

    Args:
        source: Name of the source in the pipeline file.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "source")
    ui_color = "#e3f2e6"

    def __init__(self, *, source: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def run(self, context: Any) -> dict[str, Any]:
        """Return the draft of the raw partition."""
        from include.steps.preparation import ingest
        from include.storage.lake_tables import Lake

        self.await_turn(context)
        lake = Lake(self.hook.store(), self.pipeline)
        draft = ingest(
            lake,
            self.in_use(lake),
            self.source,
            [self.slice_of_time()],
            self.origin(context),
            connections=self.hook.sql_url,
        )
        self.log.info("Ingested %s rows of %s for %s", draft.rows, self.source, self.partition)
        return draft.to_dict()

    def overlap(self) -> int:
        """Let the first batch of a source, which decides its types, be the earliest one."""
        from include.storage.lake_tables import Lake

        lake = Lake(self.hook.store(), self.pipeline)
        is_first = not lake.exists(self.in_use(lake).raw_table(self.source))
        return 0 if is_first else super().overlap()


class ValidateSourceOperator(PipelineOperator):
    """Run a source's suite on what was ingested, and move bad rows to quarantine.

    Args:
        source: Name of the source in the pipeline file.
        batch: Draft that the ingest task returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "source", "batch")
    operator_extra_links = (DataDocsLink(),)
    ui_color = "#fdf3dc"

    def __init__(self, *, source: str, batch: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.batch = batch

    def run(self, context: Any) -> dict[str, Any]:
        """Return the reference of the good rows, and how many were quarantined."""
        from include.steps.generations import of_table
        from include.steps.preparation import data_docs_uri, validate_source
        from include.storage.drafts import Draft
        from include.storage.lake_tables import Lake

        DataDocsLink.persist(
            context, report_path(data_docs_uri(self.pipeline, self.partition, self.source))
        )
        draft = Draft.from_dict(self.batch)
        validated = validate_source(
            Lake(self.hook.store(), self.pipeline),
            of_table(self.specification(), self.source, draft.table),
            self.source,
            draft,
            self.slice_of_time(),
            self.origin(context),
        )
        self.log.info("Validated %s %s: %s", self.source, self.partition, validated.summary)
        return validated.to_dict()


class IngestLabelsOperator(IngestSourceOperator):
    """Copy the labels that became known in a partition as a draft of their raw table."""


class ValidateLabelsOperator(ValidateSourceOperator):
    """Run the labels' suite, move bad rows to quarantine, and write the ``labels`` table."""


class ComputeFeaturesOperator(OrderedOperator):
    """Run the feature function on Spark over the validated sources.

    Args:
        batches: By source name, what the validate tasks returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "batches")
    ui_color = "#e8e3f5"

    def __init__(self, *, batches: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches

    def run(self, context: Any) -> dict[str, Any]:
        """Return the draft of the features' partition."""
        from include.features.feature_function import compute, load_function, with_history_of_now
        from include.features.function_digest import told_of_change
        from include.spark.session import connect
        from include.steps.generations import sources_to_read
        from include.storage.lake_tables import Lake
        from include.storage.lineage import TableReference

        if self.overlap() == 0:  # a run about an earlier partition may have come meanwhile
            self.await_turn(context)
        settings = self.hook.get_conn()
        lake = Lake(settings.store, self.pipeline)
        spec, partition, origin = self.in_use(lake), self.slice_of_time(), self.origin(context)
        validated = {
            name: TableReference.from_dict(batch["reference"])
            for name, batch in self.batches.items()
        }
        sources = sources_to_read(
            lake, spec, validated, partition, origin, connections=self.hook.sql_url
        )
        if told := told_of_change(lake, spec, load_function(spec)):
            self.log.warning("%s", told)
        with connect(settings.spark_remote) as spark:
            draft = compute(
                spark,
                lake,
                spec,
                with_history_of_now(lake, spec, sources),
                [self.partition],
                origin,
            )
        return draft.to_dict()


class ValidateFeaturesOperator(PipelineOperator):
    """Run the features' suite and move bad rows to quarantine.

    Args:
        batch: Draft that the compute task returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "batch")
    operator_extra_links = (DataDocsLink(),)
    ui_color = "#fdf3dc"

    def __init__(self, *, batch: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch = batch

    def run(self, context: Any) -> dict[str, Any]:
        """Return the reference of the good rows, and how many were quarantined."""
        from include.features.feature_function import TABLE
        from include.steps.generations import of_table
        from include.steps.preparation import data_docs_uri, validate_features
        from include.storage.drafts import Draft
        from include.storage.lake_tables import Lake

        DataDocsLink.persist(
            context, report_path(data_docs_uri(self.pipeline, self.partition, "features"))
        )
        draft = Draft.from_dict(self.batch)
        validated = validate_features(
            Lake(self.hook.store(), self.pipeline),
            of_table(self.specification(), TABLE, draft.table),
            draft,
            self.slice_of_time(),
            self.origin(context),
        )
        self.log.info("Validated features %s: %s", self.partition, validated.summary)
        return validated.to_dict()
