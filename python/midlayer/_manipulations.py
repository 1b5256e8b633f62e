"""A function for each manipulation of the library's table."""

from __future__ import annotations

import inspect
from typing import Any

from ._load import native

__all__ = []

_PLACE = {"tokens": "prior", "extent": "paper", "site": "residual"}
_NEEDS: dict[str, dict[str, str]] = {
    "nothing": {},
    "donor": {
        "donor": "the donor prompt, whose last tokens' states are taken",
        "at": "the part of the prompt that is replaced, as ' France'; '#2: France' is its second"
        " occurrence, '#all: France' all",
        "from_at": "the part of the donor that is taken instead of its last tokens",
    },
    "scaffold": {"scaffold": "the text whose keys and values are put in place of the prompt's"},
    "direction": {
        "direction": "the directions: a file (control vector or safetensors), a dict of vectors by"
        " layer, or an array [layers, width]",
    },
    "mean_of": {"mean_of": "the texts over which states are averaged: a list, or a file"},
}
_PLACE_HELP = {
    "tokens": "which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions",
    "extent": "'paper', 'from' (k up), 'only' (k alone) or 'window:N'",
    "site": "'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or"
    " 'values'",
}


def _keyword(name: str, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)


def _maker(entry: dict[str, Any], name: str):
    needs = _NEEDS[entry["needs"]]
    parameters = {p["name"]: p for p in entry["parameters"]}
    keywords = [_keyword(p["name"], p["default"]) for p in entry["parameters"]]
    keywords += [_keyword(key) for key in needs]
    if entry["has_seed"]:
        keywords.append(_keyword("seed", 1))
    keywords += [_keyword(key, default) for key, default in _PLACE.items()]
    layers = inspect.Parameter("layers", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    signature = inspect.Signature([layers, *keywords])

    def make(*args: Any, **kwargs: Any):
        given = signature.bind(*args, **kwargs).arguments
        return native.Manipulation(entry["name"], given.pop("layers", None), given)

    make.__name__ = make.__qualname__ = name
    make.__module__ = "midlayer"
    make.__signature__ = signature  # type: ignore[attr-defined]
    lines = [f"{entry['sentence'][0].upper()}{entry['sentence'][1:]}.", ""]
    where = "from k up" if entry["upward"] else "at k alone"
    lines.append(f"layers: the layers k (it acts {where}): a number, a range, a list, or '0-29+3';")
    lines.append(f"    without it all at which it is defined, from {entry['first_layer']} up.")
    for key, parameter in parameters.items():
        words = f" ({' or '.join(parameter['words'])})" if "words" in parameter else ""
        lines.append(f"{key}: {parameter['sentence']}{words}.")
    lines += [f"{key}: {text}." for key, text in needs.items()]
    if entry["has_seed"]:
        lines.append("seed: the seed of what is drawn, or a list of several.")
    lines += [f"{key}: {text}." for key, text in _PLACE_HELP.items()]
    make.__doc__ = "\n".join(lines)
    return make


def _add() -> None:
    for entry in native.table():
        for written in [entry["name"], *entry["synonyms"]]:
            # `self` is no good name for a function of a module.
            name = "itself" if written == "self" else written.replace("-", "_")
            globals()[name] = _maker(entry, name)
            __all__.append(name)


_add()
