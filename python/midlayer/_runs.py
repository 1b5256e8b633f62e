"""Sweeps, and what they have stored."""

from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._load import native
from ._model import Model

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["Report", "Run", "sweep"]


class Report:
    """The report of a run: text in a terminal, tables and figures in a notebook."""

    def __init__(self, run: native.Stored) -> None:
        self._run = run

    def __repr__(self) -> str:
        return self._run.report()

    def _repr_html_(self) -> str:
        figures = "".join(self._run.figures())
        return f"<div>{figures}<pre>{html.escape(self._run.report())}</pre></div>"

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes the page that `midlayer report` writes: one file with all that it needs."""
        Path(file).write_text(self._run.page(), encoding="utf-8")


class Run:
    """A stored run, read-only and as it was when it was opened.

    Raises StoreError where there is none, or it is damaged.
    """

    def __init__(self, stored: native.Stored) -> None:
        self._stored = stored

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Run:
        """Reads the run in a folder."""
        return cls(native.Stored(os.fspath(folder)))

    @property
    def folder(self) -> Path:
        """Its folder."""
        return Path(self._stored.folder)

    @property
    def models(self) -> list[str]:
        """What tells its models apart."""
        return self._stored.labels

    @property
    def missing(self) -> str | None:
        """What is missing of a run that was interrupted; None of one that is whole."""
        return self._stored.missing

    def records(self, *, prompts: bool = False) -> Iterator[dict[str, Any]]:
        """Its rows, one for each item and cell, with the columns of `midlayer export`."""
        for line in self._stored.json_lines(prompts).splitlines():
            yield json.loads(line)

    @property
    def rows(self) -> pandas.DataFrame:
        """The same as a pandas data frame."""
        return self.to_pandas()

    def to_pandas(self, *, prompts: bool = False) -> pandas.DataFrame:
        """Its rows as a pandas data frame (with types as in the Parquet file, through pyarrow)."""
        import io

        import pandas

        return pandas.read_parquet(io.BytesIO(self._stored.parquet(prompts)))

    def to_polars(self, *, prompts: bool = False) -> polars.DataFrame:
        """Its rows as a polars data frame."""
        import io

        import polars

        return polars.read_parquet(io.BytesIO(self._stored.parquet(prompts)))

    @property
    def transitions(self) -> list[dict[str, Any]]:
        """Where each manipulation stops mattering, for each model and task: `half_way` (the layer
        at which the score crosses half of the clean one) with its 95% interval `low` to `high`, and
        `ignorable_from` (from this layer up the loss is at most 10 points, 95%); None where there
        is none.
        """
        return self._stored.transitions()

    def report(self) -> Report:
        """The report."""
        return Report(self._stored)

    def __repr__(self) -> str:
        missing = f", incomplete: {self.missing}" if self.missing else ""
        return f"Run({str(self.folder)!r}, {', '.join(self.models)}{missing})"

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()


def _names(models: Any) -> tuple[str, list[str]]:
    several = [models] if isinstance(models, str | os.PathLike | Model) else list(models)
    names = [m.name if isinstance(m, Model) else os.fspath(m) for m in several]
    options = [m.options for m in several if isinstance(m, Model)]
    if any(other != options[0] for other in options):
        raise native.UsageError("the models of a sweep are loaded with the same options")
    return ",".join(names), options[0] if options else []


def _written(manipulation: native.Manipulation | str) -> tuple[str, str | None]:
    if isinstance(manipulation, str):
        return manipulation, None
    return manipulation.sweep()


def sweep(
    models: Any,
    tasks: Iterable[str] | str = "capitals",
    manipulations: Any = "freeze",
    *,
    out: str | os.PathLike[str],
    layers: str | None = None,
    **options: Any,
) -> Run:
    """Scores tasks while the manipulated layer moves through the models, as `midlayer sweep` does,
    and in a process of its own: an interrupted sweep goes on with the same call.

    models: names or Models, one or several.
    tasks: built-in tasks, or files of records of one's own ("mine.jsonl", or "name=mine.jsonl").
    manipulations: manipulations or their names.
    out: the folder of the results.
    layers: the layers, as "0-29+3"; default: those of the manipulations, or all.
    options: those of `midlayer sweep`, as limit=30, shots=0, adaptive=True, no_selftest=True.

    Raises MidlayerError with the program's text where it fails, KeyboardInterrupt where it is
    interrupted.
    """
    names, loaded = _names(models)
    files = [tasks] if isinstance(tasks, str) else list(tasks)
    asked = [f"{Path(t).stem}={t}" if t.endswith((".jsonl", ".json", ".csv", ".parquet"))
             and "=" not in t else t for t in files]  # fmt: skip
    one = isinstance(manipulations, str | native.Manipulation)
    written = [_written(m) for m in ([manipulations] if one else manipulations)]
    of_layers = {at for _, at in written if at is not None} | ({layers} if layers else set())
    if len(of_layers) > 1:
        raise native.UsageError(f"a sweep has one set of layers, and these are {of_layers}")
    command = [sys.executable, "-m", "midlayer", "sweep", "-m", names, *loaded]
    command += ["--task", ",".join(asked), "--manipulate", ",".join(name for name, _ in written)]
    command += ["--layers", of_layers.pop() if of_layers else "all", "--out", os.fspath(out)]
    for key, value in options.items():
        option = "--" + key.replace("_", "-")
        if value is True:
            command.append(option)
        elif value is not False and value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            command += [option, text]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate()
    except KeyboardInterrupt:
        # It ends by itself, with what it has stored.
        process.send_signal(signal.SIGINT)
        process.communicate()
        raise
    if process.returncode:
        text = errors.strip().splitlines()
        kind = native.UsageError if process.returncode == 2 else native.MidlayerError
        raise kind("\n".join(text[-6:]).removeprefix("midlayer: "))
    return Run.open(out)
