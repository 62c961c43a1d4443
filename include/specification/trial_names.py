"""Under which name `./relevo run` tries a pipeline, so that nothing that is deployed is touched."""

SUFFIX = "_dev"


def trial_name(pipeline: str) -> str:
    """Name the pipeline under which a trial run of another one writes."""
    return f"{pipeline}{SUFFIX}"
