"""The pages below ``/relevo``: reports as they lie on the store, and a pipeline's decisions."""

from __future__ import annotations

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse

from include import specification
from include.errors import RelevoError
from include.settings import REPORTS
from include.store import ObjectStore, content_type, join
from relevo.hooks import RelevoHook

# A report shows values of the data. It may run its own scripts, but in an origin of its own, so
# that nothing in it can act as the person who is logged in.
_SANDBOX = {"Content-Security-Policy": "sandbox allow-scripts allow-popups allow-downloads"}


def make_application() -> FastAPI:
    """Make the application; every route needs a login and the right to see the pipeline."""
    application = FastAPI(title="Relevo", docs_url=None, redoc_url=None, openapi_url=None)

    @application.get("/reports/{pipeline}/{path:path}")
    def report(pipeline: str, path: str, user: GetUserDep) -> Response:
        """Return one object below ``s3://reports/<pipeline>/``."""
        _authorize(pipeline, user)
        try:
            uri = f"s3://{join(REPORTS, pipeline, *path.split('/'))}"
            data = ObjectStore(RelevoHook().store()).read(uri)
        except RelevoError as error:
            raise HTTPException(404, str(error)) from error
        return Response(data, media_type=content_type(path), headers=_SANDBOX)

    @application.get("/decisions/{pipeline}")
    def decisions(pipeline: str, user: GetUserDep) -> HTMLResponse:
        """Show every partition's batch, verdicts and decisions, and the ledger."""
        from include.overview import render_decisions
        from include.tables import Lake

        _authorize(pipeline, user)
        page = render_decisions(Lake(RelevoHook().store(), pipeline))
        return HTMLResponse(page, headers=_SANDBOX)

    return application


def _authorize(pipeline: str, user: BaseUser) -> None:
    if pipeline not in specification.names():
        raise HTTPException(404, f"There is no pipeline {pipeline}.")
    manager: BaseAuthManager[BaseUser] = get_auth_manager()
    details = DagDetails(id=f"{pipeline}_score")
    if not manager.is_authorized_dag(method="GET", details=details, user=user):
        raise HTTPException(403, f"You may not see the pipeline {pipeline}.")
