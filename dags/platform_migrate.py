"""Migration: put a changed feature function, source or label in use, of any pipeline.

Declares the Airflow DAG platform_migrate.
"""

from relevo.platform import declare_migrate

declare_migrate()
