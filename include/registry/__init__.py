"""Model versions: their files, their MLflow runs, and which one is champion when.

Rooms above take ``champions.Registry`` and load a model through ``model_files``, which verifies it.
"""
