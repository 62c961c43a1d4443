"""Promote: put a version in use by hand, whatever its verdict was, of any pipeline.

Declares the Airflow DAG platform_promote.
"""

from relevo.interventions import declare_promote

declare_promote()
