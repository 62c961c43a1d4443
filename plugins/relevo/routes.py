"""Serve pages below ``/relevo``, to people who may see the pipeline."""

from __future__ import annotations

from typing import Any

from relevo.links import PAGES, page_path


class LazyApplication:
    """An ASGI application that is made at its first request.

    Every Airflow process loads plugins, tasks too; only the API server serves pages.
    """

    def __init__(self) -> None:
        self._application: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Make the application, then hand the request on."""
        if self._application is None:
            from relevo.pages import make_application

            self._application = make_application()
        await self._application(scope, receive, send)


def report_routes() -> dict[str, Any]:
    """Describe the application to Airflow."""
    return {"app": LazyApplication(), "url_prefix": PAGES, "name": "Relevo"}


def page_view() -> dict[str, Any]:
    """Describe the entry of Airflow's navigation that leads to the pages."""
    return {
        "name": "Relevo",
        "href": page_path(""),
        "destination": "nav",
        "url_route": "relevo",
        "nav_top_level": True,
    }
