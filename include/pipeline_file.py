"""The address at which tests of pipelines find their file; see ``include.specification``."""

from include.specification.pipeline_file import load, names

__all__ = ["load", "names"]
