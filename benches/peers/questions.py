"""Writes what the peers are asked: `python questions.py MODEL.gguf QUESTIONS`."""

import csv
import json
import os
import sys
from pathlib import Path

import midlayer as ml

CAPITALS = [
    ("Spain", "Madrid"), ("Italy", "Rome"), ("Peru", "Lima"), ("Japan", "Tokyo"),
    ("Egypt", "Cairo"), ("Greece", "Athens"), ("Norway", "Oslo"), ("Cuba", "Havana"),
    ("Kenya", "Nairobi"), ("Poland", "Warsaw"), ("Iran", "Tehran"),
]  # fmt: skip
POSITIVE = [
    "I love this film",
    "What a wonderful day",
    "She was happy",
    "The food tastes great",
]
NEGATIVE = [
    "I hate this film",
    "What a terrible day",
    "She was sad",
    "The food tastes awful",
]


def prompt(shots: int, country: str = "France") -> str:
    pairs = [*CAPITALS[:shots], (country, "")]
    text = "\n".join(f"Q: What is the capital of {c}?\nA: {capital}" for c, capital in pairs)
    return text.rstrip()


def countries() -> list[tuple[str, str]]:
    with Path("src/tasks/capitals.tsv").open(encoding="utf-8") as file:
        rows = csv.reader(file, delimiter="\t")
        pairs = [(row[1], row[2]) for row in rows][1:]
    n = int(os.environ.get("PEERS_ITEMS", "100"))
    return [pair for pair in pairs if pair != CAPITALS[0]][:n]


def main(gguf: str, file: str) -> None:
    model = ml.Model(gguf)
    texts = {
        "long": prompt(11),
        "short": prompt(1),
        "shots": [prompt(5, country) for country, _ in CAPITALS[5:10]],
        "donor": "The country Italy",
        "positive": POSITIVE,
        "negative": NEGATIVE,
    }

    def ids(text: str | list[str]) -> list:
        return [ids(one) for one in text] if isinstance(text, list) else model.prompt(text).ids

    short = model.prompt(texts["short"])
    tokens = {name: ids(text) for name, text in texts.items()}
    # " Paris" is one token, and " France" is one of the prompt.
    tokens["answer"] = model.prompt(texts["short"] + " Paris").ids[-1]
    (tokens["at"],) = short.find(" France")[0]
    assert model.prompt(texts["short"] + " Paris").ids[:-1] == short.ids
    tokens["capitals"] = []
    for country, capital in countries():
        text = prompt(1, country)
        own = ids(text)
        answered = ids(f"{text} {capital}")
        assert answered[: len(own)] == own
        tokens["capitals"].append({"text": text, "ids": own, "answer": answered[len(own)]})
    asked = {"gguf": str(Path(gguf).resolve()), "texts": texts, **tokens}
    Path(file).write_text(json.dumps(asked, indent=1))
    print(
        f"long prompt {len(tokens['long'])} tokens, short prompt {len(short)}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
