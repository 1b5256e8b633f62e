"""Loads the native module, so that it keeps to itself beside others."""

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import _cpu

__all__ = ["native"]

_SPIN = "GOMP_SPINCOUNT"


@contextmanager
def _own_openmp():
    """OpenMP's runtime reads its variables as it is loaded, and that is now.

    Threads that wait spin, by default so long that a busy neighbour on the same cores makes a
    forward pass several times slower. And where torch was imported first, its copy of the runtime
    would be bound instead of the wheel's own, which RTLD_DEEPBIND prevents (Linux).
    """
    chosen = _SPIN in os.environ or "OMP_WAIT_POLICY" in os.environ
    if not chosen:
        os.environ[_SPIN] = "10000"
    flags = sys.getdlopenflags() if hasattr(sys, "getdlopenflags") else None
    deep = getattr(os, "RTLD_DEEPBIND", 0)
    if flags is not None and deep:
        sys.setdlopenflags(os.RTLD_NOW | deep)
    try:
        yield
    finally:
        if flags is not None:
            sys.setdlopenflags(flags)
        if not chosen:
            del os.environ[_SPIN]


if TYPE_CHECKING:
    from . import _native as native
else:
    with _own_openmp():
        native = _cpu.load()

# What the program starts again (to try a file in a process of its own) is this module.
if sys.executable:
    native.is_part([sys.executable, "-m", "midlayer"], native.__file__)
