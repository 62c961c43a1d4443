"""The pipeline file: how it is read, checked, explained, and what each of its sections says.

Rooms above take ``pipeline.Pipeline`` and its sections, which are frozen; ``pipeline_file.load``
reads one.
"""
