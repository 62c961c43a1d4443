"""Which tests run on the same worker: those that share servers, else those of one module.

Servers are session fixtures, so two workers would start them twice. pytest-xdist's own groups do
the same by a mark, but not beside pytest 9.2, which builds the id of a test in another way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from xdist.scheduler import LoadScopeScheduling

# Modules by the servers that they ask for, in the order in which they run.
SHARED = {
    "stack": (
        "tests/system/test_browser.py",
        "tests/system/test_lifecycle.py",
        "tests/system/test_metadata.py",
        "tests/system/test_pipelines.py",
        "tests/system/test_secrets.py",
        "tests/system/test_backup.py",  # it ends the stack
    ),
    "services": (
        "tests/system/test_spark_cluster.py",
        "tests/library/development/test_edge_data.py",
        "tests/library/development/test_local_run.py",
        "tests/library/development/test_new_to_scored.py",
        "tests/library/development/test_odd_names.py",
        "tests/library/development/test_scaffold_files.py",
        "tests/library/features/test_bad_functions.py",
        "tests/library/features/test_feature_function.py",
        "tests/library/features/test_point_in_time.py",
        "tests/library/steps/test_any_table.py",
        "tests/library/steps/test_training.py",
        "tests/pipelines/",
        "tests/stack/backup/test_bucket_prefix.py",
        "tests/stack/doctor/test_services.py",
    ),
}
# Whoever asks for one of these waits for servers: not after each edit.
SLOW_FIXTURES = frozenset({*SHARED, "store_settings"})
# Begun early, because they take long and nothing else waits for them.
LONG = (
    "tests/system/",
    "tests/stack/access/",
    "tests/stack/backup/",
    "tests/stack/torture/test_torture.py",
    "tests/stack/test_migration.py",
    "tests/operators/test_orders.py",
    "tests/library/steps/",
)


class SharedServers(LoadScopeScheduling):  # type: ignore[misc]
    """Hands whole groups of tests to workers, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Name the group of a test: its servers or its module."""
    for servers, modules in SHARED.items():
        if nodeid.startswith(modules):
            return servers
    return nodeid.partition("::")[0]


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Order tests: groups that share servers first, then long ones, then as they were collected."""
    first = [module for modules in SHARED.values() for module in modules] + list(LONG)
    return sorted(
        items,
        key=lambda item: next(
            (rank for rank, path in enumerate(first) if item.nodeid.startswith(path)), len(first)
        ),
    )


def misplaced(items: Iterable[pytest.Item]) -> Iterator[str]:
    """Tell of tests that ask for servers outside their group: two workers would start them."""
    for item in items:
        for servers in SHARED.keys() & set(getattr(item, "fixturenames", ())):
            if group_of(item.nodeid) != servers:
                yield (
                    f"{item.nodeid} asks for {servers}: name its module in tests/scheduling.py, "
                    f"below {servers}"
                )
