"""The address at which tests of pipelines find their suites; see ``include.quality``."""

from include.quality.suites import load_suite

__all__ = ["load_suite"]
