"""What a person runs beside the DAGs: new, check, plan, and a run in one process.

The commands of ``./relevo`` import from here; no operator does.
"""
