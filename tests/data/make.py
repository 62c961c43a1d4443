"""Make ``nyc_taxi_2018_2020.parquet`` from the sampled trip records (see README.md).

python tests/data/make.py <records.parquet>
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TRIPS = Path(__file__).parent / "nyc_taxi_2018_2020.parquet"
COLUMNS = pa.schema(
    [
        ("pickup_datetime", pa.timestamp("ms")),
        ("dropoff_datetime", pa.timestamp("ms")),
        ("pickup_location_id", pa.int16()),
        ("dropoff_location_id", pa.int16()),
        ("trip_distance", pa.float32()),
        ("passenger_count", pa.int8()),
        ("vendor_id", pa.int8()),
    ]
)
FIRST = datetime(2018, 1, 1)


def make(records: Path, target: Path = TRIPS) -> int:
    """Keep the needed columns in the smallest types that lose nothing, sorted by pickup.

    Returns:
        Number of trips.
    """
    table = pq.read_table(records, columns=COLUMNS.names).select(COLUMNS.names)
    # One meter's clock stood at 2008, far from any month of the records.
    table = table.filter(pc.greater_equal(table["pickup_datetime"], pa.scalar(FIRST)))
    order = [(name, "ascending") for name in COLUMNS.names]
    table = table.replace_schema_metadata().sort_by(order)
    miles = table["trip_distance"]
    table = table.cast(COLUMNS)
    if not pc.all(pc.equal(pc.round(table["trip_distance"].cast("float64"), 2), miles)).as_py():
        raise ValueError("column trip_distance: must be whole hundredths of a mile, got others.")
    pq.write_table(
        table,
        target,
        compression="zstd",
        compression_level=19,
        use_dictionary=["pickup_location_id", "dropoff_location_id", "trip_distance"],
        column_encoding={
            "pickup_datetime": "DELTA_BINARY_PACKED",
            "dropoff_datetime": "DELTA_BINARY_PACKED",
        },
    )
    return int(table.num_rows)


if __name__ == "__main__":
    print(make(Path(sys.argv[1])), "trips")
