"""Models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _plot
from ._extras import progress_bar
from ._load import native
from ._results import Results

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hook = Callable[[int, npt.NDArray[np.int64], npt.NDArray[np.float32]], Any]

Prompt = native.Prompt


def named_task(task: str) -> str:
    """A task as the program takes it: a file's name without its ending is the task's."""
    of_records = task.endswith((".jsonl", ".json", ".csv", ".parquet")) and "=" not in task
    return f"{Path(task).stem}={task}" if of_records else task


def _usual(manipulation: native.Manipulation | None, corrupt: object | None) -> native.Manipulation:
    """What a map does where nothing is said: as the program."""
    name = "random" if corrupt is None else "inject"
    return native.Manipulation(name, None, {}) if manipulation is None else manipulation


class Lens(native.Lens):
    """What the model's own final norm and head say of each token's state at each layer. Arrays are
    [tokens, layers]; the last column is what leaves the last layer, of which the head says what
    the model says.
    """

    def plot(self, ax: Any = None) -> Any:
        """Draws the likeliest tokens, coloured by the answer's probability (or, where none is
        followed, by their own), with matplotlib, and returns the axes.

        Raises ImportError where matplotlib is not installed.
        """
        return _plot.of_lens(self, ax)


class Map(native.Map):
    """What each state of a prompt is worth, or each head. Arrays are [rows, layers]: rows are
    tokens, heads, or over a task roles of tokens.
    """

    @property
    def items(self) -> dict[str, Map]:
        """Over a task, each item's map by the item's name; else empty."""
        return {name: Map(made) for name, made in self._items()}

    def plot(self, ax: Any = None) -> Any:
        """Draws the changes, tokens down and layers across, with matplotlib, and returns the axes.

        Raises ImportError where matplotlib is not installed.
        """
        return _plot.of_map(self, ax)


class Model(native.Model):
    """A GGUF model and its engine.

    name: a file, an alias of a pulled model, or either with a level (`smollm2-135m:q8_0`); with
        hub=True a model of the Hugging Face hub, `user/repo[@revision][:quant]`.
    threads: threads that compute (default: all cores).
    gpu_layers: layers to put on a GPU.
    device: the devices to put them on, as `midlayer doctor` names them, as a list or separated by
        commas; "none" is the processor alone (default: all).
    rpc: servers whose devices are added, "host:port" (`midlayer rpc-server`), in wheels built with
        the feature rpc.
    ctx_size, batch_size, ubatch_size: positions, rows in one decode, rows computed at once.
    flash_attn: "auto", "on" or "off".
    cache_type_k, cache_type_v: "f16", "f32", "q8_0", ...
    engine: "planned" computes only what differs from the clean run; "straightforward" computes
        every run whole.

    The engine has a thread of its own. Calls from several threads come one after the other, and
    the GIL is free while it computes. A fork cannot use it (EngineError); spawned processes load
    their own.

    Raises LoadError where there is no such model, device or server, or its file does not load.
    """

    def run(
        self,
        prompt: Prompt | str,
        manipulations: Any = (),
        *,
        hooks: Mapping[int, Hook] | None = None,
        answers: Iterable[str] | str = (),
        generate: int | None = None,
        manipulate_generated: bool = True,
        from_step: int = 0,
        progress: bool | None = None,
    ) -> Results:
        """Runs a prompt, clean and manipulated.

        manipulations: a manipulation, or several that run apart; each at all of its layers.
        hooks: a function for each layer, called as f(layer, positions, rows) with the states that
            enter the layer: `rows` is a writable float32 array [tokens, width] of the prior tokens
            that are computed together, `positions` an int64 array [tokens]. What it returns takes
            their place; where it returns None, what it left in `rows` does. Hooks act in every
            run, after the manipulations, or make a run of their own where there are none.
        answers: texts whose probability is followed, the space before them included (" Paris");
            without any, the clean run's likeliest token.
        generate: continue the text greedily by so many tokens.
        manipulate_generated, from_step: whether tokens after the prompt are manipulated too, and
            from which step on.
        progress: True for tqdm's bar, False for none; by default where tqdm is installed.

        Raises UsageError for what cannot be meant, HookError for what a hook gives that is no
        state, the hook's own exception where it raises one, EngineError where llama.cpp fails.
        """
        text = self.prompt(prompt) if isinstance(prompt, str) else prompt
        one = isinstance(manipulations, native.Manipulation)
        several = [manipulations] if one else list(manipulations)
        texts = [answers] if isinstance(answers, str) else list(answers)
        with progress_bar(progress, "runs") as done:
            made = self._run(
                text,
                several,
                list((hooks or {}).items()),
                texts,
                generate,
                manipulate_generated,
                from_step,
                done,
            )
        return Results(made)

    def plan(self, prompt: Prompt | str, manipulation: native.Manipulation) -> str:
        """What a manipulation does to a prompt, as the JSON that `midlayer try --save-plan` writes
        and `midlayer attach` carries out. The manipulation is one run: it has a single layer.
        """
        text = self.prompt(prompt) if isinstance(prompt, str) else prompt
        return self._plan(text, manipulation)

    def capture(
        self,
        prompt: Prompt | str,
        layers: Iterable[int] | int | None = None,
        sites: Iterable[str] | str = "resid_pre",
    ) -> dict[str, npt.NDArray[np.float32]]:
        """What a clean run of the prompt computes: for each site a float32 array [layers, tokens,
        width], which other libraries take without a copy (DLPack: `torch.from_dlpack`).

        layers: the layers, in the order of the arrays (default: all).
        sites: "resid_pre" (the state entering a layer), "attn_out" and "mlp_out" (what attention
            and the MLP add), "heads" (what attention's output projection reads, all heads in a
            row), "k", "v" (keys after rotary embedding and values, all heads in a row).

        Raises UsageError for a layer or site that the model does not have.
        """
        return self.capture_many([prompt], layers, sites)[0]

    def capture_many(
        self,
        prompts: Iterable[Prompt | str],
        layers: Iterable[int] | int | None = None,
        sites: Iterable[str] | str = "resid_pre",
    ) -> list[dict[str, npt.NDArray[np.float32]]]:
        """`capture` of several prompts: a dict for each, in their order. Short prompts are computed
        several in one batch, which takes a fraction of the time; last digits depend on which ones
        are (engine="straightforward" computes each alone).

        Raises UsageError as `capture` does.
        """
        texts = [self.prompt(text) if isinstance(text, str) else text for text in prompts]
        names = [sites] if isinstance(sites, str) else list(sites)
        every = range(self.n_layer) if layers is None else layers
        at = [every] if isinstance(every, int) else list(every)
        captured = self._capture(texts, at, names)
        return [dict(zip(names, arrays, strict=True)) for arrays in captured]

    def lens(
        self,
        prompt: Prompt | str,
        layers: Iterable[int] | None = None,
        *,
        answer: str | None = None,
    ) -> Lens:
        """The logit lens: what the model's own final norm and head say of each token's state where
        it enters each layer, and where it leaves the last one.

        layers: the layers (default: all).
        answer: a text of one token to follow.

        Raises UsageError for an answer of several tokens, EngineError with the straightforward
        engine.
        """
        text = self.prompt(prompt) if isinstance(prompt, str) else prompt
        return Lens(self._lens(text, None if layers is None else list(layers), answer))

    def map(
        self,
        prompt: Prompt | str,
        manipulation: native.Manipulation | None = None,
        *,
        answer: str | None = None,
        foil: str | None = None,
        kl: bool = False,
        heads: bool = False,
        corrupt: str | Iterable[int] | None = None,
        corrupt_by: str = "add-noise",
        seed: int | Iterable[int] | None = None,
        progress: bool | None = None,
    ) -> Map:
        """What each state is worth: the manipulation is applied to one token's state at one layer
        at a time, and a cell is how much that changes the answer's log-probability (nats), with
        `foil` the answer's logit less the foil's, with kl=True the KL divergence from the clean
        run.

        manipulation: what is done to each state; its tokens are the rows, its layers the columns
            (default: random, with `corrupt` inject).
        answer: the answer (default: the clean run's likeliest token).
        heads: whether rows are heads: one head of one layer is manipulated at a time, at all of the
            manipulation's tokens.
        corrupt: tokens to corrupt, as "text: France": one clean state is put back at a time
            (causal tracing). The manipulation is then inject() without a donor.
        corrupt_by: what corrupts them, where they enter layer 0.
        seed: seeds, whose values are averaged, of what corrupts (default: the manipulation's).

        Raises UsageError for what cannot be meant.
        """
        text = self.prompt(prompt) if isinstance(prompt, str) else prompt
        what = _usual(manipulation, corrupt)
        with progress_bar(progress, "cells") as done:
            made = self._map(text, what, answer, foil, kl, heads, corrupt, corrupt_by, seed, done)
        return Map(made)

    def map_task(
        self,
        task: str,
        manipulation: native.Manipulation | None = None,
        *,
        limit: int = 20,
        shots: int | None = None,
        chat: bool = False,
        data: str | os.PathLike[str] | None = None,
        foil: str | bool | None = None,
        kl: bool = False,
        heads: bool = False,
        corrupt: str | None = None,
        corrupt_by: str = "add-noise",
        seed: int | Iterable[int] | None = None,
        progress: bool | None = None,
    ) -> Map:
        """Maps of a task's items, averaged. Rows are heads, or else roles of tokens: before the
        subject, its first token, those in its middle, its last, those after it, the last prior
        token. A cell is about the log-probability of the item's right answer, with `foil` about its
        logit less the foil's, with kl=True about the KL divergence from the clean run.

        task: a built-in task, or a file of records of one's own ("mine.jsonl", or
            "name=mine.jsonl").
        limit: items at most.
        shots: examples before each question (default: the task's own).
        chat: whether prompts go into the model's chat template.
        data: the file of squad's or cnn_dailymail's data (default: the pulled set, or else a small
            sample).
        foil: True for each item's own: its record's foil, else its wrong choices, else the answer
            that inject would bring (of several the one that comes closest where the two part); or
            a text, for all items. Items without a foil that differs from their answer are left
            out with a warning.
        corrupt: tokens to corrupt, "subject" above all; the others as for `map`.

        Items without a subject, where roles need one, are left out with a warning. Raises
        UsageError for what cannot be meant.
        """
        what = _usual(manipulation, corrupt)
        with progress_bar(progress, "items") as done:
            made = self._map_task(
                named_task(task),
                what,
                limit,
                shots,
                chat,
                None if data is None else Path(data),
                foil,
                kl,
                heads,
                corrupt,
                corrupt_by,
                seed,
                done,
            )
        return Map(made)

    def generate(
        self,
        prompt: Prompt | str,
        manipulation: native.Manipulation | None = None,
        *,
        max_tokens: int = 40,
        manipulate_generated: bool = True,
        from_step: int = 0,
    ) -> str:
        """Continues a prompt greedily by up to `max_tokens` tokens, clean or manipulated. The
        manipulation is one run: it has a single layer.
        """
        made = self.run(
            prompt,
            () if manipulation is None else manipulation,
            generate=max_tokens,
            manipulate_generated=manipulate_generated,
            from_step=from_step,
        )
        if manipulation is not None and len(made) != 1:
            text = f"give the manipulation a single layer: these are {len(made)} runs"
            raise native.UsageError(text)
        line = made.clean if manipulation is None else made[0]
        return line["generated"]["text"]
