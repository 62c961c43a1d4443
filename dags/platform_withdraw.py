"""Withdraw: take back a training that was requested and has not begun, of any pipeline.

Declares the Airflow DAG platform_withdraw.
"""

from relevo.interventions import declare_withdraw

declare_withdraw()
