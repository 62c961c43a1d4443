"""Expectation suites: run on a batch, rows moved to quarantine, and the page about it.

Steps take ``validation.validate``, ``quarantine`` and ``data_docs``; suites are files of a team.
"""
