"""The eight tasks in midlayer: `python with_midlayer.py QUESTIONS ANSWERS [MODEL.gguf]`, on the
peers' weights or on another file.
"""

import sys

import numpy as np
from common import GENERATED, LAYER, MAPPED, SCALES, THREADS, Asked, measure

import midlayer as ml


class Midlayer:
    def __init__(self, asked: Asked, gguf: str | None = None) -> None:
        self.model = ml.Model(
            gguf or asked.gguf,
            threads=THREADS,
            cache_type_k="f32",
            cache_type_v="f32",
            flash_attn="off",
        )
        self.long = self.model.prompt(asked.texts["long"])
        self.short = self.model.prompt(asked.texts["short"])
        self.shots = [self.model.prompt(text) for text in asked.texts["shots"]]
        self.positive = [self.model.prompt(text) for text in asked.texts["positive"]]
        self.negative = [self.model.prompt(text) for text in asked.texts["negative"]]
        self.items = asked.capitals
        assert (self.long.ids, self.short.ids) == (asked.long, asked.short)

    def freeze(self):
        return self.model.run(self.long, ml.freeze()).logits

    def few(self):
        return np.stack([self.model.run(prompt, ml.zero()).logits for prompt in self.shots])

    def patch(self):
        patch = ml.inject(donor="The country Italy", at=" France")
        return self.model.run(self.short, patch).logits

    def lens(self):
        return np.log(self.model.lens(self.short, answer=" Paris").answer_probs)

    def map(self):
        return self.model.map(self.short, ml.zero(MAPPED), answer=" Paris", progress=False).values

    def generate(self):
        made = self.model.run(
            self.long, ml.freeze(LAYER), generate=GENERATED, manipulate_generated=False
        )
        return [token["id"] for token in made[0]["generated"]["tokens"]]

    def steer(self):
        found = self.model.capture_many([*self.positive, *self.negative], LAYER)
        last = [states["resid_pre"][0, -1] for states in found]
        pos, neg = last[: len(self.positive)], last[len(self.positive) :]
        direction = {LAYER: np.mean(pos, 0) - np.mean(neg, 0)}
        steered = [ml.add(LAYER, direction=direction, scale=s, unit="absolute") for s in SCALES]
        return self.model.run(self.short, steered).logits

    def capitals(self):
        manipulations = [ml.freeze(), ml.zero(), ml.skip_attention()]
        answers = [asked["answer"] for asked in self.items]
        runs = [self.model.run(asked["text"], manipulations) for asked in self.items]
        return np.stack([run.logits[:, answer] for run, answer in zip(runs, answers, strict=True)])


if __name__ == "__main__":
    other = sys.argv[3] if len(sys.argv) > 3 else None
    measure(lambda asked: Midlayer(asked, other))
