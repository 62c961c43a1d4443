"""The one Airflow plugin module: the template macro and the pages of the reports."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from relevo.macros import partition_of
from relevo.reports import report_routes


class RelevoPlugin(AirflowPlugin):
    """``{{ macros.relevo.partition_of(...) }}`` and ``/relevo/reports/...``."""

    name = "relevo"
    macros: ClassVar[list[Any]] = [partition_of]
    fastapi_apps: ClassVar[list[Any]] = [report_routes()]
