"""The address at which feature functions find the join; it is made in ``include.features``."""

from include.features.point_in_time import as_of_join

__all__ = ["as_of_join"]
