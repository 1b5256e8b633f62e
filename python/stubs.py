"""Writes midlayer/_manipulations.pyi from the library's table, or with --check says whether it is
what the table gives.
"""

import inspect
import sys
import textwrap
from pathlib import Path

import midlayer as ml

FILE = Path(__file__).parent / "midlayer" / "_manipulations.pyi"
LAYERS = "int | str | Iterable[int] | None"
TYPES = {
    "seed": "int | Iterable[int]",
    "tokens": "str | int | Iterable[int]",
    "direction": "str | PathLike[str] | dict[int, ArrayLike] | ArrayLike | None",
    "mean_of": "str | PathLike[str] | Iterable[str] | None",
}


def stub(name: str) -> str:
    lines = [f"def {name}("]
    for key, parameter in inspect.signature(getattr(ml, name)).parameters.items():
        default = parameter.default
        kind = {float: "float", str: "str"}.get(type(default), "str | None")
        if key == "layers":
            lines += [f"    layers: {LAYERS} = None,", "    *,"]
        else:
            shown = f'"{default}"' if isinstance(default, str) else repr(default)
            lines.append(f"    {key}: {TYPES.get(key, kind)} = {shown},")
    doc = textwrap.indent(inspect.getdoc(getattr(ml, name)) or "", "    ").strip()
    return "\n".join([*lines, ") -> Manipulation:", f'    """{doc}', '    """', ""])


def text() -> str:
    from midlayer import _manipulations as made

    names = "\n".join(f'    "{name}",' for name in made.__all__)
    head = (
        '"""Made from the library\'s table of manipulations by stubs.py."""\n\n'
        "from collections.abc import Iterable\nfrom os import PathLike\n\n"
        "from numpy.typing import ArrayLike\n\nfrom ._native import Manipulation\n\n"
        f"__all__ = [\n{names}\n]\n\n"
    )
    return head + "\n".join(stub(name) for name in made.__all__)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(FILE.read_text() != text())
    FILE.write_text(text())
