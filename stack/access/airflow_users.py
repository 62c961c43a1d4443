"""Roles and the first admin in the tables of Airflow's FAB auth manager."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from stack.access.roles import (
    ADMIN,
    OPERATOR,
    OPERATOR_ADDITIONS,
    VIEWER,
    VIEWER_ADDITIONS,
    Permission,
)


def set_up(user: str, password: str, report: Callable[[str], None]) -> None:
    """Bring the roles to what this release says, and make the first admin if missing.

    Airflow's settings come from the environment; its database is migrated. Safe to repeat: an
    existing user keeps password and roles, and the roles of other people's making stay.

    Args:
        user: Name of the first admin.
        password: Password that the admin gets when made now.
        report: Gets a line for each thing that is there now.
    """
    # They read Airflow's settings when imported.
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.providers_manager import ProvidersManager

    # It tells each of some 300 permissions.
    logging.getLogger("airflow.providers.fab").setLevel(logging.WARNING)
    ProvidersManager().initialize_providers_configuration()
    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)
        security: Any = builder.sm
        security.sync_roles()
        security.bulk_sync_roles([{"role": VIEWER, "perms": list(VIEWER_ADDITIONS)}])
        operator = _set_operator(security)
        report(f"roles {VIEWER}, {OPERATOR} ({len(operator)} permissions) and {ADMIN} are there")
        if security.find_user(user) is not None:
            report(f"user {user} is there already; password and roles are left alone")
            return
        security.add_user(
            username=user,
            first_name=user,
            last_name="(first admin)",
            email=f"{user}@localhost",
            role=security.find_role(ADMIN),
            password=password,
        )
        report(f"user {user} was made, with the role {ADMIN}")


def _set_operator(security: Any) -> set[Permission]:
    """Give the operator exactly what a viewer may do and the additions."""
    allowed = {*security.VIEWER_PERMISSIONS, *VIEWER_ADDITIONS, *OPERATOR_ADDITIONS}
    role = security.add_role(OPERATOR)
    role.permissions = [security.create_permission(*permission) for permission in sorted(allowed)]
    security.session.commit()
    return allowed
