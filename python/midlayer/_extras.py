"""Packages that are used where they are installed."""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["needed", "polars_type", "progress_bar", "read_parquet", "stream", "table"]


def needed(module: str, extra: str) -> Any:
    """Imports a package that midlayer gets along without.

    Raises ImportError, which names the extra of midlayer that has it, where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        text = f"{package} is not installed: pip install {package} (midlayer's extra `{extra}`)"
        raise ImportError(text, name=package) from error


def _arrow(pyarrow: str) -> tuple[Any, bool]:
    """A package that makes Arrow tables, and whether it is pyarrow."""
    try:
        return needed(pyarrow, "arrow"), True
    except ImportError as error:
        try:
            return needed("polars", "polars"), False
        except ImportError:
            raise error from None


def table(columns: dict[str, list[Any]], types: dict[str, str]) -> Any:
    """An Arrow table of columns, pyarrow's or polars', whichever is installed; types by Arrow's
    names.
    """
    arrow, is_pyarrow = _arrow("pyarrow")
    if is_pyarrow:
        return arrow.table(columns, schema=arrow.schema(list(types.items())))
    return arrow.DataFrame(columns, schema={name: polars_type(t) for name, t in types.items()})


def polars_type(name: str) -> Any:
    """The type of polars that has this name in Arrow."""
    polars = needed("polars", "polars")
    return {
        "string": polars.String,
        "int64": polars.Int64,
        "uint64": polars.UInt64,
        "float64": polars.Float64,
    }[name]


def read_parquet(file: bytes) -> Any:
    """An Arrow table of a Parquet file, pyarrow's or polars', whichever is installed."""
    arrow, is_pyarrow = _arrow("pyarrow.parquet")
    return (arrow.read_table if is_pyarrow else arrow.read_parquet)(io.BytesIO(file))


def stream(arrow_table: Any, requested_schema: object | None) -> object:
    """The table as an Arrow C stream, a capsule."""
    if requested_schema is None:
        return arrow_table.__arrow_c_stream__()
    return arrow_table.__arrow_c_stream__(requested_schema)


@contextmanager
def progress_bar(show: bool | None, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """tqdm's bar, as a function that is told how many of how many are done; None where it is not
    wanted, or not installed and not asked for.
    """
    try:
        with warnings.catch_warnings():
            # In a notebook without widgets tqdm warns of its bar's being text.
            warnings.simplefilter("ignore")
            auto = None if show is False else needed("tqdm.auto", "progress")
    except ImportError:
        if show:
            raise
        auto = None
    if auto is None:
        yield None
        return
    bar = auto.tqdm(desc=what, leave=False, delay=1.0)

    def done(n: int, total: int) -> None:
        bar.total = total
        bar.update(n - bar.n)

    with bar:
        yield done
