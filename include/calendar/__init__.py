"""The calendar: partitions, which one a run is about, and landed times read as moments.

Every room may import ``partitions`` and ``moments``; they know nothing but errors.
"""
