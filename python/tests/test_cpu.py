"""Wheels with several builds of the native module."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import midlayer as ml
from midlayer import _cpu

OLD = set(_cpu.BUILDS["avx2"].split())
NEW = OLD | set(_cpu.BUILDS["avx512"].split())


def test_the_best_build_that_runs_is_chosen():
    both = ["avx2", "avx512"]
    assert _cpu.choose(both, NEW) == "avx512"
    assert _cpu.choose(both, OLD) == "avx2"
    assert _cpu.choose(both, NEW - {"avx512_vnni"}) == "avx2"
    assert _cpu.choose(["avx2"], NEW) == "avx2"
    assert _cpu.choose(both, NEW, "avx2") == "avx2"
    with pytest.raises(ImportError, match=r"no build.*avx2 .*lacks.*make wheel"):
        _cpu.choose(both, {"sse2"})
    with pytest.raises(ImportError, match=r"MIDLAYER_CPU=neon.*has avx512, avx2$"):
        _cpu.choose(both, NEW, "neon")
    with pytest.raises(ImportError, match=r"avx512 \(this processor lacks avx512_vnni\), avx2$"):
        _cpu.choose(both, NEW - {"avx512_vnni"}, "avx512")


def test_this_processor_has_what_its_builds_need():
    if "avx2" not in _cpu.features():
        pytest.skip("no x86 with AVX2, or not Linux")
    there = _cpu.features()
    assert there >= OLD
    assert "avx512f" not in there or there >= NEW - {"avx512_vnni"}


@pytest.fixture
def two_builds(tmp_path):
    """This package with its native module put twice, as if built twice."""
    if not _cpu.features() >= OLD:
        pytest.skip("no processor for these builds")
    package = Path(ml.__file__).parent
    there = tmp_path / "midlayer"
    shutil.copytree(
        package, there, ignore=shutil.ignore_patterns("_native.*.so", "_cpu", "__pycache__")
    )
    for name in _cpu.BUILDS:
        place = there / "_cpu" / name
        place.mkdir(parents=True)
        (place / Path(ml._native.__file__).name).symlink_to(ml._native.__file__)
    # Where the module looks for its libraries, in a wheel of one build and of several.
    for place in (there / "_cpu", tmp_path):
        (place / "midlayer.libs").symlink_to(package.parent / "midlayer.libs")
    return tmp_path


def loaded(folder, **environment):
    """Where a new process has its native module from, told by the module and by the program."""
    code = (
        "import midlayer, sys; from midlayer import _native; "
        "assert _native is midlayer._native is sys.modules['midlayer._native']; "
        "print(_native.__file__, midlayer.__version__)"
    )
    own = {name: value for name, value in os.environ.items() if name != _cpu.CHOICE}
    env = {**own, "PYTHONPATH": str(folder), **environment}
    return [
        subprocess.run([sys.executable, *how], capture_output=True, text=True, check=False, env=env)
        for how in (["-c", code], ["-m", "midlayer", "--version"])
    ]


def test_a_wheel_with_two_builds_loads_one_of_them(two_builds):
    best = _cpu.choose(_cpu.BUILDS, _cpu.features())
    for name, environment in [(best, {}), ("avx2", {_cpu.CHOICE: "avx2"})]:
        module, program = loaded(two_builds, **environment)
        assert module.returncode == 0, module.stderr
        file, version = module.stdout.split()
        assert Path(file).parent == two_builds / "midlayer" / "_cpu" / name
        assert version == ml.__version__
        assert program.stdout.startswith(f"midlayer {version}"), program.stderr
    for said in loaded(two_builds, MIDLAYER_CPU="avx10"):
        assert said.returncode == 1
        assert "ImportError: MIDLAYER_CPU=avx10" in said.stderr


def test_each_build_of_this_wheel_is_loaded_or_refused():
    folder = Path(ml.__file__).parent
    names = [place.name for place in (folder / "_cpu").glob("*/")]
    for name in names:
        module, program = loaded("", MIDLAYER_CPU=name)
        runs = set(_cpu.BUILDS[name].split()) <= _cpu.features()
        assert (module.returncode == 0) == runs == (program.returncode == 0), module.stderr
    if not names:
        for said in loaded("", MIDLAYER_CPU="avx2"):
            assert "this wheel has a single build" in said.stderr
