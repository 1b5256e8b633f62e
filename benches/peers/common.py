"""What all peers are asked, how it is timed, and the same weights for those on PyTorch."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ALL = ["freeze", "few", "patch", "lens", "map", "generate", "steer", "capitals"]
# PEERS_TASKS=freeze,lens asks these alone.
TASKS = [task for task in ALL if task in os.environ.get("PEERS_TASKS", ",".join(ALL)).split(",")]
THREADS = 2
GENERATED = 32
# Frozen from this layer while text is generated; and the layer that is steered.
LAYER = 15
SCALES = [1.0, 2.0, 4.0]
MAPPED = range(0, 30, 3)
# A task that has taken so many seconds is not repeated.
ENOUGH = float(os.environ.get("PEERS_SECONDS", "20"))


class Asked:
    """The questions: prompts by their tokens, so that no tokenizer makes a difference."""

    def __init__(self, file: str) -> None:
        told = json.loads(Path(file).read_text())
        self.gguf: str = told["gguf"]
        self.texts: dict = told["texts"]
        self.long: list[int] = told["long"]
        self.short: list[int] = told["short"]
        self.shots: list[list[int]] = told["shots"]
        self.capitals: list[dict] = told["capitals"]
        self.donor: list[int] = told["donor"]
        self.at: int = told["at"]
        self.answer: int = told["answer"]
        self.positive: list[list[int]] = told["positive"]
        self.negative: list[list[int]] = told["negative"]


def median(times: list[float]) -> float:
    return float(np.median(times))


def measure(make) -> None:
    """Asks a peer everything, once to be warm and then up to three times, and writes its answers
    and median times: `python with_PEER.py QUESTIONS ANSWERS`.
    """
    peer = make(Asked(sys.argv[1]))
    found = {}
    for task in TASKS:
        if not hasattr(peer, task):
            continue
        work = getattr(peer, task)
        start = time.perf_counter()
        answer = work()
        times = [time.perf_counter() - start]
        found[f"answer/{task}"] = np.asarray(answer)
        while len(times) < 4 and sum(times) < ENOUGH:
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        found[f"time/{task}"] = median(times[1:] or times)
        print(
            f"{Path(sys.argv[0]).stem}: {task} {found[f'time/{task}']:.3f} s",
            file=sys.stderr,
        )
    np.savez(sys.argv[2], **found)


def transformer(gguf: str):
    """The model in transformers, in F32, from the same file."""
    import torch
    import transformers

    torch.set_grad_enabled(False)
    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    path = Path(gguf).resolve()
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    model.lm_head.weight = model.model.embed_tokens.weight  # tied, which the loader does not know
    return model


def tokenizer(gguf: str):
    """The file's tokenizer, for libraries that want one; all are asked by tokens."""
    import transformers

    path = Path(gguf).resolve()
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
