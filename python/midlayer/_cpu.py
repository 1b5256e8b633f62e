"""Which of a wheel's native modules is loaded.

A wheel for other machines holds several builds of the native module, `_cpu/NAME/_native.*.so`, of
which the best that the processor runs is taken. A wheel for the processor at hand holds one,
`_native.*.so`.
"""

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

CHOICE = "MIDLAYER_CPU"
"""The environment variable that names a build."""

BUILDS = {
    "avx512": "avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni "
    "avx avx2 bmi1 bmi2 f16c fma abm movbe",
    "avx2": "avx avx2 bmi2 f16c fma",
}
"""Best first: what a processor needs for each build, in the words of /proc/cpuinfo. What each is
compiled with is in scripts/cpu-flags.
"""


def features() -> frozenset[str]:
    """What this processor has, in the words of /proc/cpuinfo (Linux on x86)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(next((had for name, _, had in lines if name.strip() == "flags"), "").split())


def choose(there: Iterable[str], has: Iterable[str], asked: str | None = None) -> str:
    """The build to load, of those that are there, on a processor that has these features.

    ImportError where there is none, and where the one asked for (MIDLAYER_CPU) is not there or
    cannot run.
    """
    builds = [name for name in BUILDS if name in there]
    lacks = {name: sorted(set(BUILDS[name].split()) - set(has)) for name in builds}
    told = ", ".join(
        f"{name} (this processor lacks {' '.join(lacks[name])})" if lacks[name] else name
        for name in builds
    )
    if asked:
        if asked not in builds or lacks[asked]:
            raise ImportError(f"{CHOICE}={asked}: it cannot be loaded; this wheel has {told}")
        return asked
    able = [name for name in builds if not lacks[name]]
    if not able:
        raise ImportError(
            f"no build of midlayer in this wheel runs here; it has {told}; "
            "build one on this machine (make wheel)"
        )
    return able[0]


def load() -> ModuleType:
    """The native module, as `midlayer._native`."""
    folder = Path(__file__).parent
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    files = (folder / "_cpu").glob("*/_native.*")
    builds = {file.parent.name: file for file in files if file.name.endswith(tuple(suffixes))}
    asked = os.environ.get(CHOICE)
    if not builds:
        if asked:
            raise ImportError(f"{CHOICE}={asked}: this wheel has a single build; unset {CHOICE}")
        from . import _native

        return _native
    file = builds[choose(builds, features(), asked)]
    name = f"{__package__}._native"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
