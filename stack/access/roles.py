"""What each role may do in Airflow, as pairs of action and resource.

Viewer and Admin are Airflow's own. Airflow's Viewer sees every DAG, run, log and asset, and nothing
secret; its "User" lacks backfills and may delete whole DAGs, and its "Op" may read and change
connections, so that Operator is ours.
"""

from __future__ import annotations

VIEWER = "Viewer"
OPERATOR = "Operator"
ADMIN = "Admin"

READ, CREATE, EDIT, MENU = "can_read", "can_create", "can_edit", "menu_access"

Permission = tuple[str, str]

# The navigation learns of the entry "Relevo" from the list of plugins.
VIEWER_ADDITIONS: tuple[Permission, ...] = ((READ, "Plugins"),)

OPERATOR_ADDITIONS: tuple[Permission, ...] = (
    (EDIT, "DAGs"),  # pause, and whatever changes runs and tasks
    (CREATE, "DAG Runs"),
    (EDIT, "DAG Runs"),
    (CREATE, "Task Instances"),
    (EDIT, "Task Instances"),
    (CREATE, "Backfills"),
    (EDIT, "Backfills"),
    (CREATE, "Assets"),
    (EDIT, "HITL Detail"),
    (MENU, "HITL Detail"),
)
