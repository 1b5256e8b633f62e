"""What tests need and nothing else does: tiny models with random weights.

They answer nothing, but every identity that a manipulation must satisfy holds for them as it does
for a real model.
"""

from __future__ import annotations

import os
from pathlib import Path

from ._load import native

__all__ = ["write_tiny_model"]


def write_tiny_model(path: str | os.PathLike[str], *, seed: int = 1, n_layer: int = 4) -> Path:
    """Writes a llama of `n_layer` layers of width 64 with one token for each byte, and returns the
    path. The same seed gives the same weights.
    """
    native.write_tiny_model(os.fspath(path), seed, n_layer)
    return Path(path)
