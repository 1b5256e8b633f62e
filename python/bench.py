"""What hooks cost beside the built-in manipulation, and `run` beside the program, on this machine.

python bench.py MODEL [ROUNDS]; rows are measured in turns, medians are shown.
"""

import statistics
import subprocess
import sys
import time

import midlayer as ml

TOKENS = 250


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(name: str, rounds: int) -> None:
    model = ml.Model(name)
    text = "one"
    while len(model.prompt(text)) < TOKENS:
        text += " one"
    prompt = model.prompt(text)
    layer = model.n_layer // 2

    def halve(layer, positions, rows):
        rows *= 0.5

    command = [sys.executable, "-m", "midlayer", "try", "-m", name, "-p", text, "-o", "json"]
    load = [*command[:3], "tokens", "-m", name, "-p", text, "-o", "json"]
    works = {
        "built in, one layer": lambda: model.run(prompt, ml.scale(layer, factor=0.5)),
        "hook, one layer": lambda: model.run(prompt, hooks={layer: halve}),
        "run, all layers": lambda: model.run(prompt, ml.freeze()).to_json(),
        "program, all layers": lambda: subprocess.run(command, capture_output=True, check=True),
        "program, loading": lambda: subprocess.run(load, capture_output=True, check=True),
    }
    times: dict[str, list[float]] = {row: [] for row in works}
    for _ in range(rounds):
        for row, work in works.items():
            times[row].append(seconds(work))
    for row, all_of_it in times.items():
        print(f"{row:22} {statistics.median(all_of_it):.3f} s")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
