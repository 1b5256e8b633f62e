"""What runs gave."""

from __future__ import annotations

import html
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import _plot
from ._extras import needed, polars_type, stream, table
from ._load import native

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars

_SHOWN = 40
# The columns of a table, by Arrow's names of their types.
_TYPES = {
    "manipulation": "string",
    "layer": "int64",
    "seed": "uint64",
    "next": "string",
    "kl": "float64",
    "answer": "string",
    "prob": "float64",
    "logprob": "float64",
    "rank": "int64",
}


class Results:
    """The runs of one prompt beside the clean one. Arrays have a row for each run, in the order of
    the manipulations, their seeds and layers.
    """

    def __init__(self, native_results: native.Results) -> None:
        self._native = native_results

    def __len__(self) -> int:
        return len(self._native)

    @property
    def names(self) -> list[str]:
        """The manipulations of each run, as "inject@8+freeze"."""
        return self._native.names

    @property
    def layers(self) -> list[int | None]:
        """The layer k of each run; None where manipulations have a layer each."""
        return self._native.layers

    @property
    def seeds(self) -> list[int | None]:
        """The seed of each run; None where nothing is drawn."""
        return self._native.seeds

    @property
    def answers(self) -> list[str]:
        """The answers followed: those asked about, or the clean run's likeliest token."""
        return self._native.answers

    @cached_property
    def logits(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Logits after the prompt, float32 [runs, vocabulary]."""
        return self._native.logits

    @cached_property
    def probs(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Probabilities of the next token, 0 to 1, float64 [runs, vocabulary]."""
        return self._native.probs

    @property
    def kl(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Kullback-Leibler divergence from the clean next-token distribution, nats, [runs]."""
        return self._native.kl

    @property
    def answer_probs(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Probabilities of the whole answers, 0 to 1, float64 [runs, answers]."""
        return self._native.answer_probs

    @property
    def answer_logprobs(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Natural logarithms of the same."""
        return self._native.answer_logprobs

    @property
    def answer_ranks(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Ranks of the answers' first tokens, 1 is the likeliest, int64 [runs, answers]."""
        return self._native.answer_ranks

    @property
    def clean_logits(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The clean run's logits, float32 [vocabulary]."""
        return self._native.clean_logits

    @property
    def clean_answer_probs(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The answers' probabilities in the clean run, float64 [answers]."""
        return self._native.clean_answer_probs

    @property
    def clean(self) -> dict[str, Any]:
        """The clean run, with the fields of `midlayer try -o json`."""
        return json.loads(self._native.json())

    def __getitem__(self, run: int) -> dict[str, Any]:
        """A run, with the fields of `midlayer try -o json`."""
        n = len(self)
        if not -n <= run < n:
            raise IndexError(f"run {run} is none of {n}")
        return json.loads(self._native.json(run % n))

    def to_json(self) -> str:
        """The lines of `midlayer try -o json`, the clean run first (without its prompt)."""
        return "".join(self._native.json(n) for n in [None, *range(len(self))])

    def _columns(self) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {name: [] for name in _TYPES}
        for line in [self.clean, *self]:
            for answer in line["answers"]:
                row = [
                    line["manipulation"],
                    line["layer"],
                    line.get("seed"),
                    line["argmax"]["text"],
                    line["kl"],
                    answer["text"],
                    answer["probability"],
                    answer["logprob"],
                    answer["rank"],
                ]
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
        return columns

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each run and answer, the clean run first: manipulation, layer, seed, next (the
        likeliest token), kl (nats), answer, prob, logprob, rank.

        Raises ImportError where pandas is not installed.
        """
        of = needed("pandas", "pandas")
        columns: dict[str, Any] = self._columns()
        for name, kind in (("layer", "Int64"), ("seed", "UInt64")):
            columns[name] = of.array(columns[name], dtype=kind)
        return of.DataFrame(columns)

    def to_polars(self) -> polars.DataFrame:
        """The same for polars."""
        types = {name: polars_type(of) for name, of in _TYPES.items()}
        return needed("polars", "polars").DataFrame(self._columns(), schema=types)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The same as an Arrow stream, for `pyarrow.table(r)`, `polars.DataFrame(r)` and others;
        pyarrow or polars makes it.

        Raises ImportError where neither is installed.
        """
        return stream(table(self._columns(), _TYPES), requested_schema)

    def plot(self, ax: Any = None) -> Any:
        """Draws the answers' probabilities against the layer with matplotlib, the clean run's
        dashed, and returns the axes.

        Raises ImportError where matplotlib is not installed.
        """
        return _plot.of_results(self, ax)

    def _rows(self) -> list[list[str]]:
        rows = []
        for line in [self.clean, *self]:
            layer = "" if line["layer"] is None else str(line["layer"])
            row = [line["manipulation"], layer, line["argmax"]["text"], f"{line['kl']:.4f}"]
            for answer in line["answers"]:
                row += [f"{100 * answer['probability']:.2f}", str(answer["rank"])]
            rows.append(row)
        return rows

    def _head(self) -> list[str]:
        head = ["manipulation", "layer", "next token", "KL"]
        for answer in self.answers:
            head += [f"{answer!r} %", "rank"]
        return head

    def __repr__(self) -> str:
        rows = [self._head(), *([repr(c) if n == 2 else c for n, c in enumerate(row)]
                                for row in self._rows())]  # fmt: skip
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if n in (0, 2) else cell.rjust(w)
                for n, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows[: _SHOWN + 1]
        ]
        more = len(rows) - 1 - _SHOWN
        if more > 0:
            lines.append(f"... and {more} more (to_pandas)")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self._head())
        rows = self._rows()
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows[:_SHOWN]
        )
        more = len(rows) - _SHOWN
        note = f"<p>... and {more} more (to_pandas)</p>" if more > 0 else ""
        picture = self._native.svg()
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div>{picture}{table}{note}</div>"
