"""Writes docs/python-api.md from the package's docstrings and types, or with --check says whether
it is what they give. Of what is native, the docstrings are those of the installed package.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import midlayer as ml

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "python-api.md"
HEAD = """\
# Python, name by name

Made from the docstrings by `python/api.py`. [Python](python.md) shows how it is used.
"""
CLASSES = ["Model", "Prompt", "Results", "Lens", "Map", "Run", "Report", "Manipulation"]
ERRORS = [name for name in ml.__all__ if name.endswith("Error")]
# What all manipulations have is said once.
COMMON = ("layers", "tokens", "extent", "site")
SHORTER = [
    (re.compile(r"npt\.NDArray\[np\.(\w+)\]"), r"array[\1]"),
    (re.compile(r"np\.ndarray\[Any, np\.dtype\[np\.(\w+)\]\]"), r"array[\1]"),
    (re.compile(r"\bnative\."), ""),
]

Nodes = dict[str, ast.ClassDef | ast.FunctionDef]


def nodes(body: list[ast.stmt]) -> Nodes:
    return {n.name: n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)}


def source(name: str) -> Nodes:
    return nodes(ast.parse((HERE / "midlayer" / name).read_text()).body)


NATIVE = source("_native.pyi")
WRITTEN = source("_model.py") | source("_results.py") | source("_runs.py")
MANIPULATIONS = source("_manipulations.pyi")


def parameters(function: ast.FunctionDef, without: tuple[str, ...] = ()) -> list[str]:
    of = function.args
    defaults: list[ast.expr | None] = [None] * (len(of.args) - len(of.defaults))
    pairs = list(zip(of.args, [*defaults, *of.defaults], strict=True))
    shown = [written(a, d) for a, d in pairs if a.arg not in ("self", "cls")]
    keywords = [written(a, d) for a, d in zip(of.kwonlyargs, of.kw_defaults, strict=True)
                if a.arg not in without]  # fmt: skip
    if keywords:
        shown += ["*", *keywords]
    return shown + ([f"**{of.kwarg.arg}"] if of.kwarg else [])


def shorter(shown: str) -> str:
    for pattern, short in SHORTER:
        shown = pattern.sub(short, shown)
    return shown


def written(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    if default is None:
        return argument.arg + kind
    return f"{argument.arg}{kind}{' = ' if kind else '='}{ast.unparse(default)}"


def signature(name: str, shown: list[str], returns: ast.expr | None = None) -> str:
    end = f" -> {ast.unparse(returns)}" if returns else ""
    line = f"{name}({', '.join(shown)}){end}"
    if len(line) > 90:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in shown) + f"){end}"
    return shorter(f"```python\n{line}\n```\n")


def text(doc: str | None) -> str:
    """A docstring as Markdown: lines "name: what it is" become a list, the others flow."""
    found: list[str] = []
    for paragraph in inspect.cleandoc(doc or "").split("\n\n"):
        blocks: list[str] = []
        for line in paragraph.splitlines():
            item = re.match(r"(\w+(?:, \w+)*): (.*)", line)
            if item:
                names = ", ".join(f"`{name}`" for name in item[1].split(", "))
                blocks.append(f"- {names}: {item[2]}")
            elif blocks:
                blocks[-1] += " " + line.strip()
            else:
                blocks.append(line)
        found.append("\n".join(blocks))
    return "\n\n".join(found) + "\n"


def native_doc(name: str, member: str) -> str | None:
    return getattr(getattr(ml._native, name), member).__doc__


def members(name: str) -> Iterator[tuple[str, ast.FunctionDef, str | None]]:
    """A class's members with their docstrings: what Python adds, then what is native."""
    own, native = WRITTEN.get(name), NATIVE.get(name)
    seen: set[str] = set()
    if isinstance(own, ast.ClassDef):
        for key, node in nodes(own.body).items():
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
                seen.add(key)
                yield key, node, ast.get_docstring(node)
        if not any(ast.unparse(base) == f"native.{name}" for base in own.bases):
            return
    if isinstance(native, ast.ClassDef):
        for key, node in nodes(native.body).items():
            if key not in seen and not key.startswith("_") and isinstance(node, ast.FunctionDef):
                yield key, node, native_doc(name, key)


def of_class(name: str) -> str:
    own, native = WRITTEN.get(name), NATIVE.get(name)
    of = own if own is not None else native
    assert isinstance(of, ast.ClassDef)
    doc = ast.get_docstring(of) or getattr(ml._native, name).__doc__
    parts = [f"## {name}\n"]
    if name == "Model":
        assert isinstance(native, ast.ClassDef)
        init = nodes(native.body)["__init__"]
        assert isinstance(init, ast.FunctionDef)
        parts.append(signature(name, parameters(init)))
    parts.append(text(doc))
    properties, methods = [], []
    for key, node, described in members(name):
        if any("property" in ast.unparse(d) for d in node.decorator_list):
            kind = shorter(ast.unparse(node.returns)) if node.returns else ""
            flowing = " ".join(inspect.cleandoc(described or "").split())
            properties.append(f"- `{key}`: `{kind}`. {flowing}\n")
        else:
            methods.append(f"### `{name}.{key}`\n")
            methods.append(signature(key, parameters(node), node.returns))
            methods.append(text(described))
    return "\n".join(
        [*parts, *(["Attributes:\n", "".join(properties)] if properties else []), *methods]
    )


def of_function(name: str) -> str:
    node = WRITTEN[name]
    assert isinstance(node, ast.FunctionDef)
    shown = signature(name, parameters(node), node.returns)
    return "\n".join([f"## {name}\n", shown, text(ast.get_docstring(node))])


def manipulations() -> str:
    parts = ["## Manipulations\n"]
    common = ""
    for name, node in MANIPULATIONS.items():
        assert isinstance(node, ast.FunctionDef)
        lines = (ast.get_docstring(node) or "").splitlines()
        starts = tuple(f"{key}:" for key in COMMON[1:])
        common = "\n".join(line for line in lines if line.startswith(starts))
        own = "\n".join(line for line in lines if not line.startswith(starts))
        shown = signature(name, parameters(node, COMMON))
        parts += [f"### `{name}`\n", shown, text(own)]
    said = "Each gives a `Manipulation`. All take these keywords, too:\n"
    return "\n".join([parts[0], said, text(common), *parts[1:]])


def errors() -> str:
    lines = ["## Errors\n\n"]
    for name in ERRORS:
        kind = getattr(ml, name)
        lines.append(f"- `{name}` ({kind.__base__.__name__}): {kind.__doc__}\n")
    return "".join(lines)


def page() -> str:
    parts = [HEAD, *map(of_class, CLASSES[:1]), of_function("sweep"), *map(of_class, CLASSES[1:])]
    return "\n".join([*parts, manipulations(), errors()])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != page())
    PAGE.write_text(page())
