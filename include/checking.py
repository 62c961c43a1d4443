"""The address at which tests of pipelines find the check; it is made in ``include.development``."""

from include.development.checking import check

__all__ = ["check"]
