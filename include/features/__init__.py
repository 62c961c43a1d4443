"""The feature function on Spark, labels, and both joined as they were known at a moment.

Steps, training and scoring import from here, so that features are computed by one code.
"""
