"""Spark through Spark Connect: the session and the ``lake`` data source."""
