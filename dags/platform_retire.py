"""Retire: end a pipeline, archive its model and ledger, and let its tables go later, or undo that.

Declares the Airflow DAG platform_retire.
"""

from relevo.platform import declare_retire

declare_retire()
