"""Freeze: let nothing take the champion's place until it is unfrozen, of any pipeline.

Declares the Airflow DAG platform_freeze.
"""

from relevo.interventions import declare_freeze

declare_freeze()
