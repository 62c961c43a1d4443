"""How people log in to Airflow; Flask-AppBuilder reads the names in capitals.

Without settings, by passwords in Airflow's database. With `RELEVO_OIDC_METADATA_URL`, by an OpenID
Connect provider, which then says at each login what role a person has.
"""

import os
from pathlib import Path
from typing import Any

from flask_appbuilder.const import AUTH_DB, AUTH_OAUTH

# Nobody may do anything without a login.
AUTH_ROLE_PUBLIC = None
AUTH_TYPE = AUTH_DB

_METADATA_URL = os.environ.get("RELEVO_OIDC_METADATA_URL")
if _METADATA_URL:
    from airflow.providers.fab.auth_manager.security_manager.override import (
        FabAirflowSecurityManagerOverride,
    )

    _CLAIM = os.environ.get("RELEVO_OIDC_ROLE_CLAIM", "groups")

    class ClaimsSecurityManager(FabAirflowSecurityManagerOverride):
        """Takes a person's roles from the claim that the deployment names."""

        def get_oauth_user_info(self, provider: str, resp: dict[str, Any]) -> dict[str, Any]:
            """Read who logged in from the verified ID token and the provider's user info."""
            claims = {**resp["userinfo"], **self.oauth_remotes[provider].userinfo(token=resp)}
            groups = claims.get(_CLAIM, [])
            return {
                "username": claims.get("preferred_username") or claims["sub"],
                "first_name": claims.get("given_name", ""),
                "last_name": claims.get("family_name", ""),
                "email": claims.get("email", ""),
                "role_keys": [groups] if isinstance(groups, str) else groups,
            }

    AUTH_TYPE = AUTH_OAUTH
    SECURITY_MANAGER_CLASS = ClaimsSecurityManager
    AUTH_USER_REGISTRATION = True
    # Who is in none of the groups below gets in, and may see nothing.
    AUTH_USER_REGISTRATION_ROLE = "Public"
    AUTH_ROLES_SYNC_AT_LOGIN = True
    AUTH_ROLES_MAPPING = {
        os.environ.get(f"RELEVO_OIDC_{role.upper()}_GROUP", f"relevo-{role.lower()}"): [role]
        for role in ("Viewer", "Operator", "Admin")
    }
    OAUTH_PROVIDERS = [
        {
            # Also in the address that the provider sends people back to:
            # <Airflow>/auth/oauth-authorized/sso
            "name": "sso",
            "icon": "fa-key",
            "token_key": "access_token",
            "remote_app": {
                "client_id": os.environ["RELEVO_OIDC_CLIENT_ID"],
                "client_secret": Path(
                    os.environ.get(
                        "RELEVO_OIDC_CLIENT_SECRET_FILE", "/run/secrets/oidc_client_secret"
                    )
                )
                .read_text(encoding="utf-8")
                .strip(),
                "server_metadata_url": _METADATA_URL,
                "client_kwargs": {
                    "scope": os.environ.get("RELEVO_OIDC_SCOPE", "openid email profile"),
                    "code_challenge_method": "S256",
                },
            },
        }
    ]
