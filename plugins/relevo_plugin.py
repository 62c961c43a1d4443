"""The one Airflow plugin module: the template macro, the timetable, and the pages."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from relevo.macros import partition_of
from relevo.routes import page_view, report_routes
from relevo.timetables import DueDatesTimetable


class RelevoPlugin(AirflowPlugin):
    """``{{ macros.relevo.partition_of(...) }}``, when runs are due, the pages below ``/relevo``."""

    name = "relevo"
    macros: ClassVar[list[Any]] = [partition_of]
    timetables: ClassVar[list[Any]] = [DueDatesTimetable]
    fastapi_apps: ClassVar[list[Any]] = [report_routes()]
    external_views: ClassVar[list[Any]] = [page_view()]
