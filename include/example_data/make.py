"""Make ``sba_loans_2000_2008.parquet`` from the public records (see README.md).

python -m include.example_data.make <records.parquet>
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from include.example_data.landing import LOAN_COLUMNS, LOANS, OUTCOME_COLUMNS
from include.storage.parquet import open_parquet


def make(records: Path, target: Path = LOANS) -> int:
    """Keep the needed columns in plain types, sorted by approval and key.

    Returns:
        Number of loans.
    """
    names = list(dict.fromkeys([*LOAN_COLUMNS, *OUTCOME_COLUMNS]))
    table = open_parquet(records).read(columns=names).select(names)
    fields = []
    for field in table.schema:
        plain = pa.string() if pa.types.is_large_string(field.type) else field.type
        fields.append(pa.field(field.name, pa.int64() if pa.types.is_integer(plain) else plain))
    table = (
        table.replace_schema_metadata()
        .cast(pa.schema(fields))
        .sort_by([("ApprovalDate", "ascending"), ("loan_id", "ascending")])
    )
    pq.write_table(table, target, compression="zstd", compression_level=19)
    return int(table.num_rows)


if __name__ == "__main__":
    print(make(Path(sys.argv[1])), "loans")
