"""Unfreeze: let the gate decide again who is champion, of any pipeline.

Declares the Airflow DAG platform_unfreeze.
"""

from relevo.interventions import declare_unfreeze

declare_unfreeze()
