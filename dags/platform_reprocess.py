"""Reprocessing: make anew what depends on landed data that was corrected, of any pipeline.

Declares the Airflow DAG platform_reprocess.
"""

from relevo.platform import declare_reprocess

declare_reprocess()
