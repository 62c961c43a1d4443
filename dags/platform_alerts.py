"""Alerts: tell people what failed, closed, drifted, or waits for them, of all pipelines.

Declares the Airflow DAG platform_alerts.
"""

from relevo.upkeep import declare_alerts

declare_alerts()
