"""Erase: take somebody's rows out of everything that a pipeline keeps.

Declares the Airflow DAG platform_erase.
"""

from relevo.platform import declare_erase

declare_erase()
