"""What is remembered of a batch, whether it drifted, how predictions did, whether to retrain.

Pure functions of profiles and records, which ``include.steps.monitoring`` feeds; no I/O.
"""
