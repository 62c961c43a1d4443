"""Refuse: keep a version out of use for good, of any pipeline.

Declares the Airflow DAG platform_refuse.
"""

from relevo.interventions import declare_refuse

declare_refuse()
