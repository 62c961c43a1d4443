"""The sections of the pipeline file, one module each; ``pipeline`` beside them joins them."""
