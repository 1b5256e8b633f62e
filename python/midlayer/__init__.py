"""Rewrite what prior tokens leave for later ones, layer by layer, in quantized GGUF models.

>>> import midlayer as ml
>>> m = ml.Model("smollm2-135m:q8_0")
>>> p = m.prompt("Q: What is the capital of France?\\nA:")
>>> m.run(p, ml.freeze(range(1, 30)), answers=[" Paris"])

Layers are counted from 0; the state of layer k is the one that enters it. Prior tokens are all of a
prompt but the last. Errors are `MidlayerError` and what is derived from it.
"""

from . import _manipulations
from ._load import native as _native
from ._manipulations import *  # noqa: F403  # made from the library's table
from ._model import Lens, Map, Model, Prompt
from ._results import Results
from ._runs import Report, Run, sweep

Manipulation = _native.Manipulation
MidlayerError = _native.MidlayerError
UsageError = _native.UsageError
PromptError = _native.PromptError
LoadError = _native.LoadError
EngineError = _native.EngineError
HookError = _native.HookError
StoreError = _native.StoreError

__version__ = _native.version()
revision: str = _native.REVISION
"""The revision of the sources that this was built from."""

__all__ = [
    "EngineError",
    "HookError",
    "Lens",
    "LoadError",
    "Manipulation",
    "Map",
    "MidlayerError",
    "Model",
    "Prompt",
    "PromptError",
    "Report",
    "Results",
    "Run",
    "StoreError",
    "UsageError",
    "revision",
    "sweep",
]
__all__ += _manipulations.__all__
