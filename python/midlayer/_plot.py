"""Pictures with matplotlib, where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._extras import needed

if TYPE_CHECKING:
    from ._model import Lens, Map
    from ._results import Results
    from ._runs import Run

# A lens of more columns or rows shows no words.
_WORDS = 40


def _axes(ax: Any, size: tuple[float, float] | None = None) -> Any:
    plt = needed("matplotlib.pyplot", "plot")
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _layers(axes: Any) -> None:
    ticker = needed("matplotlib.ticker", "plot")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    axes.set_xlabel("manipulated layer k")


def of_results(results: Results, ax: Any) -> Any:
    axes = _axes(ax)
    groups: dict[tuple[str, int | None], list[int]] = {}
    for n, key in enumerate(zip(results.names, results.seeds, strict=True)):
        if results.layers[n] is not None:
            groups.setdefault(key, []).append(n)
    probs = results.answer_probs
    for (name, seed), runs in groups.items():
        for a, answer in enumerate(results.answers):
            label = f"{answer!r} {name}" + ("" if seed is None else f", seed {seed}")
            layers = [results.layers[n] or 0 for n in runs]
            axes.plot(layers, [probs[n, a] for n in runs], marker=".", label=label)
    for clean in results.clean_answer_probs:
        axes.axhline(clean, linestyle="--", linewidth=0.8, color="black")
    axes.set(ylabel="probability of the answer", ylim=(0, 1))
    _layers(axes)
    if groups:
        axes.legend()
    return axes


def of_run(run: Run, ax: Any) -> Any:
    axes = _axes(ax)
    curves: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in run.scores:
        curves.setdefault((row["model"], row["task"], row["manipulation"]), []).append(row)
    # What all curves have in common is not said.
    told = [len({key[part] for key in curves}) > 1 or part == 2 for part in range(3)]
    for key, rows in curves.items():
        label = ", ".join(part for part, tell in zip(key, told, strict=True) if tell)
        if key[2] == "clean":
            color = axes.plot([], [], linestyle="--", linewidth=0.8, label=label)[0].get_color()
            axes.axhline(rows[0]["score"], linestyle="--", linewidth=0.8, color=color)
            continue
        layers = [row["layer"] for row in rows]
        (line,) = axes.plot(layers, [row["score"] for row in rows], marker=".", label=label)
        low, high = [row["low"] for row in rows], [row["high"] for row in rows]
        axes.fill_between(layers, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(ylabel="mean score, with its 95% interval", ylim=(0, 1))
    _layers(axes)
    axes.legend()
    return axes


def _grid(axes: Any, layers: list[int], tokens: list[str]) -> None:
    """Names the rows and columns of a picture, tokens down and layers across."""
    each = max(1, len(layers) // 15)
    axes.set_xticks(range(0, len(layers), each), layers[::each])
    axes.set_yticks(range(len(tokens)), [repr(token)[1:-1] for token in tokens])
    axes.set_xlabel("layer that the state enters")


def _size(layers: int, tokens: int, cell: float) -> tuple[float, float]:
    return (2.5 + cell * layers, 1.5 + 0.25 * tokens)


def of_map(found: Map, ax: Any) -> Any:
    import numpy as np

    values = found.values
    axes = _axes(ax, _size(len(found.layers), len(found.rows), 0.25))
    largest = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
    axes.figure.colorbar(image, ax=axes, label=f"change: {found.measure}")
    _grid(axes, found.layers, found.rows)
    return axes


def of_lens(lens: Lens, ax: Any) -> Any:
    answer = lens.answer_probs
    values = lens.probs if answer is None else answer
    rows, columns = values.shape
    worded = rows <= _WORDS and columns <= _WORDS
    axes = _axes(ax, _size(columns, rows, 0.7 if worded else 0.25))
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    of = "the likeliest token" if answer is None else "the answer"
    axes.figure.colorbar(image, ax=axes, label=f"probability of {of}")
    _grid(axes, lens.layers, lens.prompt_tokens)
    if worded:
        for row, words in enumerate(lens.tokens):
            for column, word in enumerate(words):
                color = "white" if values[row, column] > 0.5 else "black"
                style = {"ha": "center", "va": "center", "fontsize": 6, "clip_on": True}
                axes.text(column, row, repr(word)[1:-1][:9], color=color, **style)
    return axes
