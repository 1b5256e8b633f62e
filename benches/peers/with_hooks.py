"""The eight tasks with PyTorch's own hooks on transformers, as the paper's code does it."""

from contextlib import contextmanager

import numpy as np
import torch
from common import GENERATED, LAYER, MAPPED, SCALES, Asked, measure, transformer


class Hooks:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.model = transformer(asked.gguf)
        self.blocks = self.model.model.layers

    @contextmanager
    def entering(self, layers, f):
        """`f(layer, rows)` changes the states that enter these layers, [tokens, width]."""

        def hook(layer):
            def before(_, args):
                rows = args[0].clone()
                if rows.shape[1] > 1:  # a prompt, no generated token
                    f(layer, rows[0])
                return (rows, *args[1:])

            return self.blocks[layer].register_forward_pre_hook(before)

        handles = [hook(layer) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def logits(self, ids):
        return self.model(torch.tensor([ids]), use_cache=False).logits[0, -1]

    def frozen(self, k):
        kept = {}

        def f(layer, rows):
            if layer == k - 1:
                kept["rows"] = rows[:-1].clone()
            else:
                rows[:-1] = kept["rows"]

        return self.entering(range(k - 1, len(self.blocks)), f)

    def states(self, ids):
        return self.model(
            torch.tensor([ids]), output_hidden_states=True, use_cache=False
        ).hidden_states

    def freeze(self):
        found = []
        for k in range(1, len(self.blocks)):
            with self.frozen(k):
                found.append(self.logits(self.asked.long))
        return torch.stack(found)

    def few(self):
        def zero(layer, rows):
            rows[:-1] = 0

        def ablated(ids, k):
            with self.entering([k], zero):
                return self.logits(ids)

        layers = range(len(self.blocks))
        found = [torch.stack([ablated(ids, k) for k in layers]) for ids in self.asked.shots]
        return torch.stack(found)

    def patch(self):
        donor = self.states(self.asked.donor)
        found = []
        for k in range(len(self.blocks)):

            def f(layer, rows):
                rows[self.asked.at] = donor[layer][0, -1]

            with self.entering([k], f):
                found.append(self.logits(self.asked.short))
        return torch.stack(found)

    def lens(self):
        states = self.states(self.asked.short)
        normed = [self.model.model.norm(state) for state in states[:-1]] + [states[-1]]
        logprobs = [self.model.lm_head(n)[0].log_softmax(-1) for n in normed]
        return torch.stack([of[:, self.asked.answer] for of in logprobs], 1)

    def map(self):
        ids, answer = self.asked.short, self.asked.answer
        clean = self.logits(ids).log_softmax(-1)[answer]
        found = np.empty((len(ids) - 1, len(MAPPED)))
        for column, k in enumerate(MAPPED):
            for token in range(len(ids) - 1):

                def f(layer, rows, token=token):
                    rows[token] = 0

                with self.entering([k], f):
                    found[token, column] = self.logits(ids).log_softmax(-1)[answer] - clean
        return found

    def generate(self):
        ids = torch.tensor([self.asked.long])
        with self.frozen(LAYER):
            made = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=GENERATED,
                do_sample=False,
            )
        return made[0, ids.shape[1] :]

    def steer(self):
        def mean(texts):
            return torch.stack([self.states(ids)[LAYER][0, -1] for ids in texts]).mean(0)

        direction = mean(self.asked.positive) - mean(self.asked.negative)
        found = []
        for scale in SCALES:

            def f(layer, rows, scale=scale):
                rows[:-1] += scale * direction

            with self.entering([LAYER], f):
                found.append(self.logits(self.asked.short))
        return torch.stack(found)

    @contextmanager
    def silent(self, first):
        def after(_, args, made):
            return (torch.zeros_like(made[0]), *made[1:])

        layers = self.blocks[first:]
        handles = [layer.self_attn.register_forward_hook(after) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def capitals(self):
        def zero(layer, rows):
            rows[:-1] = 0

        layers = range(len(self.blocks))
        makers = [(self.frozen, k) for k in layers[1:]]
        makers += [(lambda k: self.entering([k], zero), k) for k in layers]
        makers += [(self.silent, k) for k in layers]
        found = []
        for asked in self.asked.capitals:
            for make, k in makers:
                with make(k):
                    # A number: a view would keep the logits of all tokens.
                    found.append(self.logits(asked["ids"])[asked["answer"]].item())
        return np.reshape(found, (len(self.asked.capitals), -1))


if __name__ == "__main__":
    measure(Hooks)
