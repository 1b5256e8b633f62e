"""What hooks cost beside the built-in manipulation, and `run` beside the program, on this machine.

python benches/python.py MODEL [ROUNDS]; rows are measured in turns, medians are shown. Exit code 1
where a limit is exceeded.
"""

import statistics
import subprocess
import sys
import time

import midlayer as ml

TOKENS = 250
ORDER = [
    "hook, one layer",
    "built in, one layer",
    "run, all layers",
    "program, all layers",
    "program, loading",
]


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

    command = [
        sys.executable,
        "-m",
        "midlayer",
        "try",
        "-m",
        name,
        "-p",
        text,
        "-o",
        "json",
    ]
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
    shown = {row: statistics.median(all_of_it) for row, all_of_it in times.items()}
    for row, time_of_it in shown.items():
        print(f"{row:22} {time_of_it:.3f} s")
    hook, built_in, run, program, loading = (times[row] for row in ORDER)
    # Of each round, so that what else the machine does weighs less.
    hooks = statistics.median(a / b for a, b in zip(hook, built_in, strict=True))
    runs = zip(run, program, loading, strict=True)
    beside = statistics.median(a / (b - c) for a, b, c in runs)
    print(f"a hook: {hooks:.2f} times the built-in manipulation (at most 1.5)")
    print(f"run: {beside:.2f} times the program without loading (at most 1.05)")
    sys.exit(hooks > 1.5 or beside > 1.05)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
