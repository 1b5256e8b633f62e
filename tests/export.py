"""Reads midlayer's exports back with pandas: python3 export.py FOLDER

FOLDER holds rows.csv, rows.jsonl, rows.parquet and rows.sql, and in expected.json what the
results that they were made from say.
"""

import json
import math
import sqlite3
import sys
from pathlib import Path

import pandas
from pandas.api import types

folder = Path(sys.argv[1])
expected = json.loads((folder / "expected.json").read_text())
columns = expected["columns"]
texts = [column["name"] for column in columns if column["kind"] == "Text"]
others = [column["name"] for column in columns if column["kind"] != "Text"]


def read_csv():
    # Text is never a number, nor nothing, whatever it looks like.
    return pandas.read_csv(
        folder / "rows.csv",
        dtype={name: str for name in texts},
        keep_default_na=False,
        na_values={name: [""] for name in others},
        float_precision="round_trip",
    )


def read_jsonl():
    return pandas.read_json(
        folder / "rows.jsonl", lines=True, dtype=False, convert_dates=False, precise_float=True
    )


def read_sql():
    database = sqlite3.connect(":memory:")
    with open(folder / "rows.sql", newline="", encoding="utf-8") as script:
        database.executescript(script.read())
    return pandas.read_sql_query("SELECT * FROM results", database)


def check(format, frame):
    assert frame.shape == (expected["rows"], len(columns)), (format, frame.shape)
    assert list(frame.columns) == [column["name"] for column in columns], format
    for column in columns:
        name, kind, values = column["name"], column["kind"], frame[column["name"]]
        what = f"{name} in {format} is {values.dtype}"
        if not column["nullable"]:
            assert values.notna().all(), what
        if kind == "Text":
            assert all(isinstance(value, str) for value in values), what
        elif values.notna().all():
            # SQLite has no flags.
            flag = types.is_integer_dtype if format == "sql" else types.is_bool_dtype
            integer = types.is_integer_dtype
            is_kind = {"Flag": flag, "Whole": integer, "Seed": integer, "Real": types.is_float_dtype}
            assert is_kind[kind](values), what
    for name, sum in expected["sums"].items():
        found = math.fsum(frame[name].dropna())
        assert math.isclose(found, sum, rel_tol=1e-12), (format, name, found, sum)
    for name, nulls in expected["nulls"].items():
        assert frame[name].isna().sum() == nulls, (format, name)
    for name, values in expected["texts"].items():
        assert list(frame[name]) == values, (format, name)


frames = {
    "csv": read_csv(),
    "jsonl": read_jsonl(),
    "parquet": pandas.read_parquet(folder / "rows.parquet"),
    "sql": read_sql(),
}
for format, frame in frames.items():
    check(format, frame)
# All four say the same: to the last bit, but that SQLite may read the last of a decimal's bits
# otherwise.
for format, frame in frames.items():
    for name in texts:
        assert list(frame[name]) == list(frames["parquet"][name]), (format, name)
    for name in others:
        one, other = (pandas.to_numeric(f[name]).astype(float) for f in (frame, frames["parquet"]))
        if format == "sql":
            near = (one - other).abs() <= 4e-16 * other.abs()
            assert (near | (one == other) | (one.isna() & other.isna())).all(), (format, name)
        else:
            assert one.equals(other), (format, name)
# As the README does.
scores = frames["parquet"].groupby(["task", "manipulation", "layer"]).score.mean()
assert scores.between(0, 1).all() and len(scores) == expected["curve_points"], len(scores)
print(f"pandas {pandas.__version__} reads {len(frames)} formats of {expected['rows']} rows")
