"""Compares the peers' answers and prints their times: python table.py midlayer.npz PEER.npz...

Of midlayer-LEVEL.npz, which is of other weights, times are shown and answers are not compared.
Answers are logits, log-probabilities or tokens. Those of the first are compared with each other's;
exit code 1 where two differ by more than 1e-3, or a token is another one.
"""

import sys
from pathlib import Path

import numpy as np
from common import TASKS

WORDS = {
    "freeze": "next token under freeze, 29 layers",
    "few": "ablation of five 5-shot questions, 30 layers",
    "patch": "activation patch, 30 layers",
    "lens": "logit lens, all tokens and layers",
    "map": "effect map, all prior tokens, 10 layers",
    "generate": "32 tokens after a frozen prompt",
    "steer": "steering vector, made and added",
    "capitals": "capitals, all layers, three manipulations",
}
# Of 8,900 capitals one is 0.0016 apart: without attention from layer 1 up rounding grows most.
CLOSE = 2e-3


def difference(a: np.ndarray, b: np.ndarray, task: str) -> float:
    if a.shape != b.shape:
        return float("inf")
    if task == "generate":
        return 0.0 if (a == b).all() else float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


def main(files: list[str]) -> int:
    found = {Path(file).stem: dict(np.load(file)) for file in files}
    own, *others = found
    levels = [name for name in others if name.startswith(f"{own}-")]
    others = [name for name in others if name not in levels]
    worst, missing = 0.0, []
    head = "".join(f" {name}, s |" for name in [own, *levels])
    lines = ["| task |" + head + "".join(f" {name}, s | ratio |" for name in others)]
    lines.append("| --- |" + " ---: |" * (1 + len(levels)) + " ---: | ---: |" * len(others))
    for task in TASKS:
        time = float(found[own][f"time/{task}"])
        line = f"| {WORDS[task]} | {time:.3g} |"
        line += "".join(f" {float(found[of][f'time/{task}']):.3g} |" for of in levels)
        for name in others:
            if f"time/{task}" not in found[name]:
                line += " — | |"
                missing.append(name)
                continue
            answers = (found[of][f"answer/{task}"] for of in (own, name))
            off = difference(*answers, task)
            worst = max(worst, off)
            if off > CLOSE:
                print(f"{name}: {task} differs by {off:.2g}", file=sys.stderr)
            theirs = float(found[name][f"time/{task}"])
            line += f" {theirs:.3g} | {theirs / time:.1f} |"
        lines.append(line)
    print("\n".join(lines))
    if missing:
        print(f"\n—: {', '.join(dict.fromkeys(missing))} was not asked this.")
    print(f"\nAll answers are equal within {worst:.1g} of a logit, generated tokens are the same."
          if worst <= CLOSE else "\nAnswers differ.")  # fmt: skip
    return worst > CLOSE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
