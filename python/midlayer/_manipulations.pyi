"""Made from the library's table of manipulations by stubs.py."""

from collections.abc import Iterable
from os import PathLike

from numpy.typing import ArrayLike

from ._native import Manipulation

__all__ = [
    "freeze",
    "random",
    "shuffle",
    "skip_attention",
    "hide",
    "inject",
    "patch",
    "zero",
    "filler",
    "splice",
    "scale",
    "skip_layer",
    "itself",
    "add",
    "steer",
    "add_random",
    "ablate",
    "mean",
    "equal_norm",
    "add_noise",
]

def freeze(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """States entering every layer from k up become the state that entered layer k−1.

    layers: the layers k (it acts from k up): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 1 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def random(
    layers: int | str | Iterable[int] | None = None,
    *,
    seed: int | Iterable[int] = 1,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k becomes noise of the same norm.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    seed: the seed of what is drawn, or a list of several.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def shuffle(
    layers: int | str | Iterable[int] | None = None,
    *,
    seed: int | Iterable[int] = 1,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The dimensions of the state entering layer k are permuted.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    seed: the seed of what is drawn, or a list of several.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def skip_attention(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """Attention adds nothing in the layers from k up, for the last token too.

    layers: the layers k (it acts from k up): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def hide(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """Attention in the layers from k up is masked so that no later token sees the chosen ones; those that are not chosen stay as anchors.

    layers: the layers k (it acts from k up): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def inject(
    layers: int | str | Iterable[int] | None = None,
    *,
    donor: str | None = None,
    at: str | None = None,
    from_at: str | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k becomes that of a donor prompt, which has another answer.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    donor: the donor prompt, whose last tokens' states are taken.
    at: the part of the prompt that is replaced, as ' France'; '#2: France' is its second occurrence, '#all: France' all.
    from_at: the part of the donor that is taken instead of its last tokens.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def patch(
    layers: int | str | Iterable[int] | None = None,
    *,
    donor: str | None = None,
    at: str | None = None,
    from_at: str | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k becomes that of a donor prompt, which has another answer.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    donor: the donor prompt, whose last tokens' states are taken.
    at: the part of the prompt that is replaced, as ' France'; '#2: France' is its second occurrence, '#all: France' all.
    from_at: the part of the donor that is taken instead of its last tokens.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def zero(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k becomes zero.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def filler(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k becomes that of a neutral text of the same length.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def splice(
    layers: int | str | Iterable[int] | None = None,
    *,
    scaffold: str | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """Keys and values of layer k become those of a scaffold text at the same positions; in generated text from a chosen step on.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    scaffold: the text whose keys and values are put in place of the prompt's.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def scale(
    layers: int | str | Iterable[int] | None = None,
    *,
    factor: float = 0.5,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k is multiplied by a factor.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    factor: the factor; 1 changes nothing.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def skip_layer(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """Layer k adds nothing to prior tokens: the state entering layer k+1 is the one that entered layer k.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def itself(
    layers: int | str | Iterable[int] | None = None,
    *,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k is rewritten with itself, which must change nothing (a control).

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def add(
    layers: int | str | Iterable[int] | None = None,
    *,
    scale: float = 1.0,
    unit: str = "norm",
    direction: str | PathLike[str] | dict[int, ArrayLike] | ArrayLike | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """A direction is added to the state entering layer k.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    scale: how much of the direction is added; 0 changes nothing.
    unit: what a scale of 1 adds: a vector as long as the row, or the direction as it is (norm or absolute).
    direction: the directions: a file (control vector or safetensors), a dict of vectors by layer, or an array [layers, width].
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def steer(
    layers: int | str | Iterable[int] | None = None,
    *,
    scale: float = 1.0,
    unit: str = "norm",
    direction: str | PathLike[str] | dict[int, ArrayLike] | ArrayLike | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """A direction is added to the state entering layer k.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    scale: how much of the direction is added; 0 changes nothing.
    unit: what a scale of 1 adds: a vector as long as the row, or the direction as it is (norm or absolute).
    direction: the directions: a file (control vector or safetensors), a dict of vectors by layer, or an array [layers, width].
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def add_random(
    layers: int | str | Iterable[int] | None = None,
    *,
    scale: float = 1.0,
    unit: str = "norm",
    direction: str | PathLike[str] | dict[int, ArrayLike] | ArrayLike | None = None,
    seed: int | Iterable[int] = 1,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """A random direction, as long as the direction given, is added to the state entering layer k (the control of steering).

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    scale: how much of the direction is added; 0 changes nothing.
    unit: what a scale of 1 adds: a vector as long as the row, or the direction as it is (norm or absolute).
    direction: the directions: a file (control vector or safetensors), a dict of vectors by layer, or an array [layers, width].
    seed: the seed of what is drawn, or a list of several.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def ablate(
    layers: int | str | Iterable[int] | None = None,
    *,
    direction: str | PathLike[str] | dict[int, ArrayLike] | ArrayLike | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The component along a direction is removed from the state entering layer k.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    direction: the directions: a file (control vector or safetensors), a dict of vectors by layer, or an array [layers, width].
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def mean(
    layers: int | str | Iterable[int] | None = None,
    *,
    by: str = "position",
    mean_of: str | PathLike[str] | Iterable[str] | None = None,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """The state entering layer k becomes the mean over a set of texts.

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    by: over what has this position in the texts, or is this token there (position or token).
    mean_of: the texts over which states are averaged: a list, or a file.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def equal_norm(
    layers: int | str | Iterable[int] | None = None,
    *,
    seed: int | Iterable[int] = 1,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """States entering layer k at as many other positions, drawn at random, become noise of the same norm (a control).

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    seed: the seed of what is drawn, or a list of several.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """

def add_noise(
    layers: int | str | Iterable[int] | None = None,
    *,
    sd: float = 3.0,
    seed: int | Iterable[int] = 1,
    tokens: str | int | Iterable[int] = "prior",
    extent: str = "paper",
    site: str = "residual",
) -> Manipulation:
    """Noise is added to the state entering layer k (the corruption of causal tracing).

    layers: the layers k (it acts at k alone): a number, a range, a list, or '0-29+3';
        without it all at which it is defined, from 0 up.
    sd: how many times as long as the state the noise is; 0 changes nothing.
    seed: the seed of what is drawn, or a list of several.
    tokens: which prior tokens: 'prior', 'skip:1', '3-7', 'text: France', or positions.
    extent: 'paper', 'from' (k up), 'only' (k alone) or 'window:N'.
    site: 'residual', 'attn_out', 'mlp_out', 'heads' (some: 'heads:3,7'), 'kv', 'keys' or 'values'.
    """
