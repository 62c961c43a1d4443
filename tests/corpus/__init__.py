"""The corpus of bad inputs: one case each, what arrives and what must happen.

``docs/bad-input.md`` is written from it: ``python -m tests.corpus.page``.
"""
