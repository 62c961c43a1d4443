"""The pages below ``/relevo``: reports as they lie on the store, and a pipeline's decisions.

Two kinds of pages, two policies. Ours are templates without scripts in which every value is
escaped, so scripts are forbidden. A report is made by other people's code, runs their scripts, and
shows values of the data: it runs in an origin of its own (``sandbox``), where it has neither the
cookie of the person who is logged in nor their Airflow, and it may load or send nothing. Adding
``allow-same-origin`` would give it both.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from include.errors import RelevoError, SourceError
from include.specification import pipeline_file
from include.storage.object_store import ObjectStore, bucket_and_key, content_type
from include.storage.settings import REPORTS
from include.templates import render
from relevo.hooks import RelevoHook

_ALWAYS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Ours has a form, which asks for the same page.
_OURS = {
    **_ALWAYS,
    "Content-Security-Policy": _POLICY.replace("form-action 'none'", "form-action 'self'"),
}
# The scripts of Evidently and Plotly are in the page.
_REPORT = {
    **_ALWAYS,
    "Content-Security-Policy": f"sandbox allow-scripts; script-src 'unsafe-inline'; {_POLICY}",
}


def make_application() -> FastAPI:
    """Make the application; every route needs a login and the right to see the pipeline."""
    application = FastAPI(title="Relevo", docs_url=None, redoc_url=None, openapi_url=None)

    @application.exception_handler(401)
    def log_in(request: Request, error: HTTPException) -> Response:
        """Send people to the login page and programs their 401."""
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"detail": error.detail}, 401)
        query = urlencode({"next": request.url.path})
        return RedirectResponse(f"{get_auth_manager().get_url_login()}?{query}", 303)

    @application.get("/")
    def index(user: GetUserDep) -> HTMLResponse:
        """List the pipelines that the user may see; of a wrong file, what is wrong."""
        pipelines, wrong = [], {}
        for name in filter(lambda name: _may_see(name, user), pipeline_file.names()):
            try:
                pipelines.append(pipeline_file.load(name))
            except RelevoError as error:
                wrong[name] = str(error)
        page = render("index", title="Relevo", pipelines=pipelines, wrong=wrong)
        return HTMLResponse(page, headers=_OURS)

    @application.get("/decisions/{pipeline}")
    def decisions(
        pipeline: str,
        user: GetUserDep,
        page: Annotated[int, Query(ge=1)] = 1,
        entries: Annotated[int, Query(ge=1)] = 1,
        partition: str = "",
        kind: str = "",
        badge: str = "",
    ) -> HTMLResponse:
        """Show partitions with batch, verdicts and decisions, and the ledger, a page at a time."""
        from include.reports.decisions_page import ACTIONS, render_decisions
        from include.reports.page_views import View
        from include.storage.lake_tables import Lake
        from include.storage.outages import outages_told

        _authorize(pipeline, user)
        try:
            store = RelevoHook().store()
            with outages_told(store, "Load the page again when the store runs."):
                text = render_decisions(
                    Lake(store, pipeline),
                    View(page, entries, partition.strip(), kind, badge),
                    may_act=all(_may_trigger(dag_id, user) for dag_id in ACTIONS),
                )
        except RelevoError as error:
            raise HTTPException(503, str(error)) from error
        return HTMLResponse(text, headers=_OURS)

    @application.get("/reports/{pipeline}/{path:path}")
    def report(pipeline: str, path: str, user: GetUserDep) -> Response:
        """Return one object below ``s3://reports/<pipeline>/``."""
        _authorize(pipeline, user)
        uri = f"s3://{REPORTS}/{pipeline}/{path}"
        try:
            bucket_and_key(uri)  # refuses to climb out of the pipeline's folder
        except SourceError as error:
            raise HTTPException(404, str(error)) from error
        try:
            store = ObjectStore(RelevoHook().store())
            if not store.exists(uri):
                raise HTTPException(404, f"There is no report {path}: not made yet, or expired.")
            data = store.read(uri)
        except RelevoError as error:
            raise HTTPException(503, str(error)) from error
        return Response(data, media_type=content_type(path), headers=_REPORT)

    return application


def _authorize(pipeline: str, user: BaseUser) -> None:
    if pipeline not in pipeline_file.names():
        raise HTTPException(404, f"There is no pipeline {pipeline}.")
    if not _may_see(pipeline, user):
        raise HTTPException(403, f"You may not see the pipeline {pipeline}.")


def _may_see(pipeline: str, user: BaseUser) -> bool:
    manager: BaseAuthManager[BaseUser] = get_auth_manager()
    details = DagDetails(id=f"{pipeline}_score")
    return bool(manager.is_authorized_dag(method="GET", details=details, user=user))


def _may_trigger(dag_id: str, user: BaseUser) -> bool:
    manager: BaseAuthManager[BaseUser] = get_auth_manager()
    return bool(
        manager.is_authorized_dag(
            method="POST",
            access_entity=DagAccessEntity.RUN,
            details=DagDetails(id=dag_id),
            user=user,
        )
    )
