"""Release: put repaired rows of quarantine back into their partition.

Declares the Airflow DAG platform_release.
"""

from relevo.platform import declare_release

declare_release()
