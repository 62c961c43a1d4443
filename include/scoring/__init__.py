"""One pass over a partition's files: read, predict, profile, write.

``include.steps.monitoring`` calls ``batch_scoring.score``; others read its tables' names.
"""
