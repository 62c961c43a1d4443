"""Rollback: go back to a model version that was in use before, of any pipeline.

Declares the Airflow DAG platform_rollback.
"""

from relevo.interventions import declare_rollback

declare_rollback()
