"""Sweeps, and what they have stored."""

from __future__ import annotations

import html
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _plot
from ._extras import needed, progress_bar, read_parquet, stream
from ._load import native
from ._model import Model, named_task

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
        needed("pyarrow", "pandas")
        return needed("pandas", "pandas").read_parquet(io.BytesIO(self._stored.parquet(prompts)))

    def to_polars(self, *, prompts: bool = False) -> polars.DataFrame:
        """Its rows as a polars data frame."""
        return needed("polars", "polars").read_parquet(io.BytesIO(self._stored.parquet(prompts)))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Its rows as an Arrow stream, for `pyarrow.table(run)`, `polars.DataFrame(run)` and
        others; pyarrow or polars makes it.

        Raises ImportError where neither is installed.
        """
        return stream(read_parquet(self._stored.parquet(False)), requested_schema)

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Mean scores, 0 to 1, of each model, task, manipulation and layer: `score` with its 95%
        interval `low` to `high` over `items`, and the mean `kl` from the clean run (nats). The
        clean run is a manipulation "clean" whose layer is None.
        """
        return self._stored.scores()

    def plot(self, ax: Any = None) -> Any:
        """Draws the scores against the layer with matplotlib, with their 95% intervals, the clean
        run's dashed, and returns the axes.

        Raises ImportError where matplotlib is not installed.
        """
        return _plot.of_run(self, ax)

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
    progress: bool | None = None,
    **options: Any,
) -> Run:
    """Scores tasks while the manipulated layer moves through the models, as `midlayer sweep` does,
    and in a process of its own: an interrupted sweep goes on with the same call.

    models: names or Models, one or several.
    tasks: built-in tasks, or files of records of one's own ("mine.jsonl", or "name=mine.jsonl").
    manipulations: manipulations or their names.
    out: the folder of the results.
    layers: the layers, as "0-29+3"; default: those of the manipulations, or all.
    progress: True for tqdm's bar of a model's results, False for none; by default where tqdm is
        installed.
    options: those of `midlayer sweep`, as limit=30, shots=0, adaptive=True, no_selftest=True.

    Raises MidlayerError with the program's text where it fails, KeyboardInterrupt where it is
    interrupted.
    """
    names, loaded = _names(models)
    files = [tasks] if isinstance(tasks, str) else list(tasks)
    asked = [named_task(task) for task in files]
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
    with progress_bar(progress, "results") as done:
        _carry_out(command, done)
    return Run.open(out)


_STORED = re.compile(r"(?:model \d+ of \d+: )?(\d+) of (\d+) results stored")


def _carry_out(command: list[str], done: Callable[[int, int], None] | None) -> None:
    """Runs the program, tells how far it has come, and raises its error."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            told = _STORED.match(line)
            if told is None:
                said.append(line.strip())
            elif done is not None:
                done(int(told[1]), int(told[2]))
        process.communicate()
    except BaseException:
        # It ends by itself, with what it has stored.
        process.send_signal(signal.SIGINT)
        process.communicate()
        raise
    if process.returncode:
        kind = native.UsageError if process.returncode == 2 else native.MidlayerError
        raise kind("\n".join(said[-6:]).removeprefix("midlayer: "))
