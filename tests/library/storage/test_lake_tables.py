"""Tables on a real store: replaced once, appended once, readable as they were."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from include.errors import TableError
from include.storage.data_files import write_files
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference

ORIGIN = Origin("loans_score", "manual__1", "ingest_loans", commit="abc1234")


def loans(partition: str, *ids: str, amount: int = 1) -> pa.Table:
    columns = {
        "id": pa.array(ids, pa.string()),
        "amount": pa.array([amount] * len(ids), pa.int64()),
    }
    return with_partition(pa.table(columns), partition)


def put(lake: Lake, partition: str, *ids: str, amount: int = 1) -> TableReference:
    rows = loans(partition, *ids, amount=amount)
    return lake.write("loans", rows, partitions=[partition], origin=ORIGIN)


def held(lake: Lake, **how: Any) -> list[tuple[str, str, int]]:
    rows = lake.read("loans", **how).to_pylist()
    return sorted((row["partition"], row["id"], row["amount"]) for row in rows)


class TestWrite:
    def test_a_partition_is_replaced_and_the_others_stay(self, lake: Lake) -> None:
        first = put(lake, "2005-Q1", "a", "b")
        put(lake, "2005-Q2", "c")
        again = put(lake, "2005-Q1", "d", amount=2)

        assert first == TableReference(lake.pipeline, "loans", 1, "2005-Q1", 2)
        assert again == TableReference(lake.pipeline, "loans", 3, "2005-Q1", 1)
        assert held(lake) == [("2005-Q1", "d", 2), ("2005-Q2", "c", 1)]
        assert lake.partitions("loans") == ("2005-Q1", "2005-Q2")
        assert lake.row_counts("loans") == {"2005-Q1": 1, "2005-Q2": 1}

    def test_an_older_version_stays_readable(self, lake: Lake) -> None:
        first = put(lake, "2005-Q1", "a", "b")
        put(lake, "2005-Q1", "d")
        assert held(lake, version=first.version) == [("2005-Q1", "a", 1), ("2005-Q1", "b", 1)]
        assert [file.rows for file in lake.files(first)] == [2]

    def test_a_retry_ends_in_the_same_rows(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a", "b")
        put(lake, "2005-Q1", "a", "b")
        assert held(lake) == [("2005-Q1", "a", 1), ("2005-Q1", "b", 1)]

    def test_several_partitions_in_one_commit(self, lake: Lake) -> None:
        rows = pa.concat_tables([loans("2005-Q1", "a"), loans("2005-Q2", "b", "c")])
        written = lake.write("loans", rows, partitions=["2005-Q1", "2005-Q2"], origin=ORIGIN)
        assert written == TableReference(lake.pipeline, "loans", 1, None, 3)
        assert lake.row_counts("loans") == {"2005-Q1": 1, "2005-Q2": 2}

    def test_a_partition_without_new_rows_ends_up_empty(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        put(lake, "2005-Q2", "b")
        written = lake.write(
            "loans", loans("2005-Q2", "c"), partitions=["2005-Q1", "2005-Q2"], origin=ORIGIN
        )
        assert written.rows == 1
        assert held(lake) == [("2005-Q2", "c", 1)]

    def test_an_empty_write_makes_the_table_and_nothing_else(self, lake: Lake) -> None:
        nothing = lake.write("loans", loans("2005-Q1"), partitions=["2005-Q1"], origin=ORIGIN)
        assert nothing == TableReference(lake.pipeline, "loans", 0, "2005-Q1", 0)
        assert held(lake) == []
        assert lake.read("loans").column_names == ["id", "amount", "partition"]

    def test_an_empty_write_clears_a_partition_once(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        first = lake.write("loans", loans("2005-Q1"), partitions=["2005-Q1"], origin=ORIGIN)
        second = lake.write("loans", loans("2005-Q1"), partitions=["2005-Q1"], origin=ORIGIN)
        assert (first.version, second.version) == (2, 2)
        assert lake.partitions("loans") == ()

    def test_rows_outside_the_partitions_are_refused(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        rows = pa.concat_tables([loans("2005-Q3", "x"), loans("2005-Q2", "b")])
        with pytest.raises(TableError) as caught:
            lake.write("loans", rows, partitions=["2005-Q2"], origin=ORIGIN)
        assert str(caught.value) == (
            f"table {lake.pipeline}.loans: rows must lie in 2005-Q2, got 2005-Q3. "
            "Correct the writer."
        )
        assert held(lake) == [("2005-Q1", "a", 1)]

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (
                lambda rows: rows.drop_columns(["amount"]),
                "got missing ['amount'], new none, changed none.",
            ),
            (
                lambda rows: rows.append_column("bank", pa.array(["B"])),
                "got missing none, new ['bank'], changed none.",
            ),
            (
                lambda rows: rows.set_column(1, "amount", pa.array([1.5])),
                "got missing none, new none, changed ['amount int64 -> double'].",
            ),
        ],
    )
    def test_another_schema_is_refused(self, lake: Lake, change: Any, told: str) -> None:
        put(lake, "2005-Q1", "a")
        with pytest.raises(TableError) as caught:
            lake.write(
                "loans", change(loans("2005-Q1", "b")), partitions=["2005-Q1"], origin=ORIGIN
            )
        assert str(caught.value) == (
            f"table {lake.pipeline}.loans: columns must stay as they are, {told} "
            "Undo the change, or write it under `next:` in the pipeline file with a higher "
            "generation, for new tables that `./relevo migrate` fills beside these."
        )
        assert held(lake) == [("2005-Q1", "a", 1)]

    def test_kinds_of_strings_and_the_order_of_columns_do_not_matter(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        rows = loans("2005-Q2", "b").select(["amount", "partition", "id"])
        rows = rows.set_column(2, "id", rows["id"].cast(pa.large_string()))
        lake.write("loans", rows, partitions=["2005-Q2"], origin=ORIGIN)
        assert held(lake) == [("2005-Q1", "a", 1), ("2005-Q2", "b", 1)]

    def test_history_tells_who_wrote_what_from_what(self, lake: Lake) -> None:
        source = TableReference("other", "raw", 4, "2005-Q1", 7)
        lake.write(
            "loans",
            loans("2005-Q1", "a"),
            partitions=["2005-Q1"],
            origin=ORIGIN.reading(source),
        )
        latest = lake.open("loans").history(1)[0]
        assert {name: latest[name] for name in ("dag_id", "dag_run_id", "task_id", "commit")} == {
            "dag_id": "loans_score",
            "dag_run_id": "manual__1",
            "task_id": "ingest_loans",
            "commit": "abc1234",
        }
        assert json.loads(latest["inputs"]) == [source.to_dict()]

    def test_each_write_counts_its_transaction(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        put(lake, "2005-Q1", "b")
        put(lake, "2005-Q2", "c")
        table = lake.open("loans")
        assert table.transaction_version("loans/2005-Q1") == 2
        assert table.transaction_version("loans/2005-Q2") == 1


class TestCommit:
    def test_files_written_by_others_are_committed_once(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "old")
        rows = [loans("2005-Q1", "a", "b"), loans("2005-Q1", "c")]
        files = [
            file for part in rows for file in write_files(lake.settings, lake.uri("loans"), part)
        ]
        assert held(lake) == [("2005-Q1", "old", 1)]  # not visible before the commit

        written = lake.commit("loans", files, rows[0].schema, partitions=["2005-Q1"], origin=ORIGIN)

        assert written.rows == 3
        assert [name for _, name, _ in held(lake)] == ["a", "b", "c"]
        assert lake.files(written) == tuple(sorted(files, key=lambda file: file.path))

    def test_one_file_a_partition(self, lake: Lake) -> None:
        rows = pa.concat_tables([loans("2005-Q2", "b"), loans("2005-Q1", "a", "c")])
        files = write_files(lake.settings, lake.uri("loans"), rows)
        assert [(file.partition, file.rows) for file in files] == [("2005-Q1", 2), ("2005-Q2", 1)]
        assert all(file.path.startswith(f"partition={file.partition}/") for file in files)
        assert not lake.exists("loans")


class TestOptionalColumns:
    """Columns that some files have: the table gets them with the first, and keeps them."""

    def put(self, lake: Lake, partition: str, *decided: int, optional: bool = True) -> int:
        rows = pa.table({"id": ["a"], **({"yes": list(decided)} if decided else {})})
        rows = with_partition(rows, partition)
        files = write_files(lake.settings, lake.uri("loans"), rows)
        return lake.commit(
            "loans",
            files,
            rows.schema,
            partitions=[partition],
            origin=ORIGIN,
            optional=["yes"] if optional else [],
        ).version

    def held(self, lake: Lake, version: int | None = None) -> dict[str, Any]:
        rows = lake.read("loans", version=version).to_pylist()
        return {row["partition"]: row.get("yes", "no column") for row in rows}

    def test_a_column_comes_in_the_commit_of_its_first_file_and_stays(self, lake: Lake) -> None:
        before = self.put(lake, "2005-Q1")
        settings = lake.open("loans").metadata().configuration
        first = self.put(lake, "2005-Q2", 1)
        last = self.put(lake, "2005-Q3")
        assert (before, first, last) == (1, 2, 3)
        assert self.held(lake) == {"2005-Q1": None, "2005-Q2": 1, "2005-Q3": None}
        assert self.held(lake, first) == {"2005-Q1": None, "2005-Q2": 1}
        assert self.held(lake, before) == {"2005-Q1": "no column"}
        assert lake.open("loans").metadata().configuration == settings
        # The same partition again, with and without.
        self.put(lake, "2005-Q1", 0)
        self.put(lake, "2005-Q2")
        assert self.held(lake) == {"2005-Q1": 0, "2005-Q2": None, "2005-Q3": None}

    def test_a_table_may_begin_with_it(self, lake: Lake) -> None:
        self.put(lake, "2005-Q1", 1)
        self.put(lake, "2005-Q2")
        assert self.held(lake) == {"2005-Q1": 1, "2005-Q2": None}

    def test_others_are_refused_as_before(self, lake: Lake) -> None:
        self.put(lake, "2005-Q1")
        with pytest.raises(TableError, match=r"got missing none, new \['yes'\]"):
            self.put(lake, "2005-Q2", 1, optional=False)
        self.put(lake, "2005-Q2", 1)
        with pytest.raises(TableError, match=r"got missing \['yes'\], new none"):
            self.put(lake, "2005-Q3", optional=False)
        with pytest.raises(TableError, match="changed"):
            self.put(lake, "2005-Q3", "yes")  # type: ignore[arg-type]

    def test_writers_with_and_without_it_at_once(self, lake: Lake) -> None:
        self.put(lake, "2004-Q4")

        def write(number: int) -> int:
            return self.put(lake, f"200{number}-Q1", *([number] if number % 2 else []))

        together(6, write)
        found = self.held(lake)
        assert found.pop("2004-Q4") is None
        assert found == {f"200{n}-Q1": n if n % 2 else None for n in range(6)}

    def test_one_that_looked_before_the_column_came_keeps_it(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(lake, "2004-Q4")
        prepare = Lake.prepare

        def prepare_and_be_overtaken(*arguments: Any, **options: Any) -> Any:
            prepared = prepare(*arguments, **options)
            monkeypatch.setattr(Lake, "prepare", prepare)
            self.put(lake, "2005-Q1", 1)
            return prepared

        monkeypatch.setattr(Lake, "prepare", prepare_and_be_overtaken)
        self.put(lake, "2005-Q2")
        assert self.held(lake) == {"2004-Q4": None, "2005-Q1": 1, "2005-Q2": None}


class TestRemove:
    def test_rows_go_and_their_partition_stays(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a", "b")
        before = put(lake, "2005-Q2", "a", "c")
        put(lake, "2005-Q3", "a")
        lake.remove("loans", "id = 'a' and partition > '2005-Q1'", origin=ORIGIN)
        assert held(lake) == [("2005-Q1", "a", 1), ("2005-Q1", "b", 1), ("2005-Q2", "c", 1)]
        assert lake.partitions("loans") == ("2005-Q1", "2005-Q2")
        assert lake.row_counts("loans") == {"2005-Q1": 2, "2005-Q2": 1}
        assert len(held(lake, version=before.version)) == 4
        assert lake.open("loans").history(1)[0]["dag_run_id"] == ORIGIN.dag_run_id
        put(lake, "2005-Q2", "d")
        assert lake.row_counts("loans") == {"2005-Q1": 2, "2005-Q2": 1}

    def test_no_row_and_no_table(self, lake: Lake) -> None:
        lake.remove("loans", "id = 'a'", origin=ORIGIN)
        assert not lake.exists("loans")
        put(lake, "2005-Q1", "b")
        lake.remove("loans", "id = 'a'", origin=ORIGIN)
        assert held(lake) == [("2005-Q1", "b", 1)]

    def test_writers_of_the_partition_at_that_moment_lose_nothing(self, lake: Lake) -> None:
        for number in range(4):
            put(lake, f"2005-Q{number + 1}", "a", "b")

        def work(number: int) -> None:
            if number < 4:
                put(lake, f"2005-Q{number + 1}", "b", "c", amount=2)
            else:
                lake.remove("loans", "id = 'a'", origin=ORIGIN)

        together(6, work)
        assert held(lake) == [
            (f"2005-Q{number}", name, 2) for number in (1, 2, 3, 4) for name in ("b", "c")
        ]


class TestRead:
    def test_partitions_and_columns(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        put(lake, "2005-Q2", "b")
        put(lake, "2005-Q3", "c")
        rows = lake.read("loans", partitions=["2005-Q1", "2005-Q3"], columns=["id"])
        assert rows.column_names == ["id"]
        assert sorted(rows["id"].to_pylist()) == ["a", "c"]

    def test_no_partition_is_no_row(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        assert held(lake, partitions=[]) == []
        assert held(lake, partitions=["2004-Q4"]) == []

    def test_a_reference(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a", "b")
        put(lake, "2005-Q2", "c")
        assert lake.reference("loans", "2005-Q1").rows == 2
        assert lake.reference("loans") == TableReference(lake.pipeline, "loans", 2, None, 3)
        assert [file.rows for file in lake.files(lake.reference("loans", "2005-Q2"))] == [1]

    def test_the_latest_of_a_reference(self, lake: Lake) -> None:
        then = put(lake, "2005-Q1", "a", "b")
        now = put(lake, "2005-Q1", "c")
        assert lake.latest(then) == now
        assert lake.latest(put(lake, "2005-Q1")).rows == 0

    def test_a_reference_survives_json(self, lake: Lake) -> None:
        reference = put(lake, "2005-Q1", "a")
        document = json.loads(json.dumps(reference.to_dict()))
        assert TableReference.from_dict({**document, "more": 1}) == reference

    def test_what_was_never_written(self, lake: Lake) -> None:
        assert not lake.exists("loans")
        assert lake.partitions("loans") == ()
        assert lake.row_counts("loans") == {}
        with pytest.raises(TableError) as caught:
            lake.read("loans")
        assert str(caught.value) == (
            f"table {lake.pipeline}.loans: must exist, got none. "
            "Run the task that writes it, or restore the version."
        )

    def test_a_version_that_is_not_there(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        with pytest.raises(TableError, match=r"loans: must exist at version 9, got none"):
            lake.read("loans", version=9)

    def test_a_partition_without_rows(self, lake: Lake) -> None:
        put(lake, "2005-Q1", "a")
        with pytest.raises(TableError, match=r"partition 2005-Q2 must have rows, got none"):
            lake.reference("loans", "2005-Q2")

    @pytest.mark.parametrize("name", ["", "Loans", "a/b", "../loans", "loans-1"])
    def test_a_name_that_is_no_name(self, lake: Lake, name: str) -> None:
        with pytest.raises(TableError, match="lower case, digits and underscores"):
            lake.exists(name)


EVENTS = pa.schema([("key", pa.string()), ("number", pa.int64())])


def add(lake: Lake, key: str) -> int:
    """Append an event, numbered by how many there are, unless there is one of its key."""

    def make(held: pa.Table) -> pa.Table:
        if held.num_rows and key in held["key"].to_pylist():
            return EVENTS.empty_table()
        return pa.Table.from_pylist([{"key": key, "number": held.num_rows}], schema=EVENTS)

    return lake.append("events", EVENTS, make, origin=ORIGIN)


def numbered(lake: Lake) -> list[tuple[int, str]]:
    return sorted((row["number"], row["key"]) for row in lake.read("events").to_pylist())


class TestAppend:
    def test_a_row_is_made_of_those_that_are_held(self, lake: Lake) -> None:
        assert [add(lake, key) for key in "abab"] == [1, 1, 0, 0]
        assert numbered(lake) == [(0, "a"), (1, "b")]
        # Creation and two appends; nothing new is no commit.
        assert lake.open("events").version() == 2

    def test_eight_threads_with_the_same_key(self, lake: Lake) -> None:
        assert sum(together(8, lambda _: add(lake, "a"))) == 1
        assert numbered(lake) == [(0, "a")]

    def test_eight_threads_with_keys_of_their_own_never_see_the_same(self, lake: Lake) -> None:
        assert sum(together(8, lambda number: add(lake, f"k{number}"))) == 8
        found = numbered(lake)
        assert [number for number, _ in found] == list(range(8))
        assert {key for _, key in found} == {f"k{number}" for number in range(8)}

    def test_a_column_that_an_earlier_release_did_not_have_is_null_there(self, lake: Lake) -> None:
        add(lake, "a")
        wider = EVENTS.append(pa.field("place", pa.int64()))
        row = {"key": "b", "number": 1, "place": 7}
        for _ in range(2):
            lake.append(
                "events", wider, lambda _: pa.Table.from_pylist([row], schema=wider), origin=ORIGIN
            )
        rows = sorted(lake.read("events").to_pylist(), key=lambda found: found["key"])
        assert [(found["key"], found["place"]) for found in rows] == [
            ("a", None),
            ("b", 7),
            ("b", 7),
        ]


class TestConcurrency:
    def test_six_writers_of_one_partition_end_with_the_rows_of_one(self, lake: Lake) -> None:
        put(lake, "2004-Q4", "old")

        def write(number: int) -> TableReference:
            return put(lake, "2005-Q1", "a", "b", "c", amount=number)

        written = together(6, write)

        assert sorted(reference.version for reference in written) == [2, 3, 4, 5, 6, 7]
        last = max(written, key=lambda reference: reference.version)
        amounts = {amount for name, _, amount in held(lake) if name == "2005-Q1"}
        assert amounts == {written.index(last)}
        assert lake.row_counts("loans") == {"2004-Q4": 1, "2005-Q1": 3}

    def test_a_commit_that_follows_at_once_is_not_taken_for_our_own(
        self, lake: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(lake, "2004-Q4", "old")
        commit = DeltaTable.create_write_transaction

        def commit_and_be_followed(*arguments: Any, **options: Any) -> None:
            commit(*arguments, **options)
            monkeypatch.setattr(DeltaTable, "create_write_transaction", commit)
            put(lake, "2005-Q1", "theirs")

        monkeypatch.setattr(DeltaTable, "create_write_transaction", commit_and_be_followed)
        ours = put(lake, "2005-Q1", "ours")
        assert (ours.version, ours.rows) == (2, 1)
        assert ("2005-Q1", "ours", 1) in held(lake, version=ours.version)
        assert ("2005-Q1", "theirs", 1) in held(lake)

    def test_six_writers_of_six_partitions_keep_all_rows(self, lake: Lake) -> None:
        names = [f"200{number}-Q1" for number in range(6)]

        def write(number: int) -> TableReference:
            return put(lake, names[number], "a", "b", amount=number)

        written = together(6, write)  # the table does not exist yet: they race to make it, too

        assert sorted(reference.version for reference in written) == [1, 2, 3, 4, 5, 6]
        assert held(lake) == sorted(
            (name, id_, number) for number, name in enumerate(names) for id_ in ("a", "b")
        )


def together(count: int, work: Any) -> list[Any]:
    """Run ``work(number)`` in threads that start at the same moment."""
    barrier = Barrier(count)

    def start(number: int) -> Any:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_the_partition_column() -> None:
    rows = with_partition(pa.table({"x": [1, 2]}), "2005-Q1")
    assert rows["partition"].to_pylist() == ["2005-Q1", "2005-Q1"]
    assert with_partition(rows, "2005-Q2")["partition"].to_pylist() == ["2005-Q2", "2005-Q2"]
    none = with_partition(pa.schema([("x", pa.int64())]).empty_table(), "2005-Q1")
    assert none.num_rows == 0
    assert none.schema.field("partition").type == pa.string()
