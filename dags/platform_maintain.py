"""Maintenance: remove what nobody needs any more, of every pipeline.

Declares the Airflow DAG platform_maintain.
"""

from relevo.upkeep import declare_maintain

declare_maintain()
