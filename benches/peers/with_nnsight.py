"""The seven tasks in nnsight."""

import numpy as np
import torch
from common import GENERATED, LAYER, MAPPED, SCALES, Asked, measure, tokenizer, transformer
from nnsight import TransformersModel


class Nnsight:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.model = TransformersModel(
            transformer(asked.gguf),
            task="text-generation",
            tokenizer=tokenizer(asked.gguf),
        )
        self.layers = self.model.model.layers

    def frozen(self, k):
        with self.model.trace(self.asked.long):
            kept = self.layers[k - 1].input[:, :-1].clone()
            for layer in self.layers[k:]:
                layer.input[:, :-1] = kept
            logits = self.model.output.logits[0, -1].save()
        return logits

    def freeze(self):
        return torch.stack([self.frozen(k) for k in range(1, len(self.layers))])

    def ablated(self, ids, layer):
        with self.model.trace(ids):
            layer.input[:, :-1] = 0
            logits = self.model.output.logits[0, -1].save()
        return logits

    def few(self):
        found = [
            torch.stack([self.ablated(ids, layer) for layer in self.layers])
            for ids in self.asked.shots
        ]
        return torch.stack(found)

    def patch(self):
        found = []
        with self.model.trace(self.asked.donor):
            donor = [layer.input[0, -1].clone() for layer in self.layers].save()
        for layer, state in zip(self.layers, donor, strict=True):
            with self.model.trace(self.asked.short):
                layer.input[0, self.asked.at] = state
                logits = self.model.output.logits[0, -1].save()
            found.append(logits)
        return torch.stack(found)

    def lens(self):
        with self.model.trace(self.asked.short):
            states = [layer.input for layer in self.layers].save()
            logits = self.model.output.logits.save()
        norm, head = self.model._module.model.norm, self.model._module.lm_head
        read = [head(norm(state)) for state in states] + [logits]
        return torch.stack([of[0].log_softmax(-1)[:, self.asked.answer] for of in read], 1)

    def map(self):
        ids, answer = self.asked.short, self.asked.answer
        with self.model.trace(ids):
            clean = self.model.output.logits[0, -1].log_softmax(-1)[answer].save()
        found = np.empty((len(ids) - 1, len(MAPPED)))
        for column, k in enumerate(MAPPED):
            layer = self.layers[k]
            for token in range(len(ids) - 1):
                with self.model.trace(ids):
                    layer.input[:, token] = 0
                    changed = self.model.output.logits[0, -1].log_softmax(-1)[answer].save()
                found[token, column] = changed - clean
        return found

    def generate(self):
        # Without tracer.all() it is the prompt's forward pass that is changed.
        with self.model.generate(self.asked.long, max_new_tokens=GENERATED) as tracer:
            kept = self.layers[LAYER - 1].input[:, :-1].clone()
            for layer in self.layers[LAYER:]:
                layer.input[:, :-1] = kept
            made = tracer.result.save()
        return made[0, len(self.asked.long) :]

    def last(self, ids):
        with self.model.trace(ids):
            state = self.layers[LAYER].input[0, -1].clone().save()
        return state

    def steer(self):
        pos, neg = self.asked.positive, self.asked.negative
        means = [torch.stack([self.last(ids) for ids in of]).mean(0) for of in (pos, neg)]
        direction = means[0] - means[1]
        found = []
        for scale in SCALES:
            with self.model.trace(self.asked.short):
                self.layers[LAYER].input[:, :-1] += scale * direction
                logits = self.model.output.logits[0, -1].save()
            found.append(logits)
        return torch.stack(found)


if __name__ == "__main__":
    measure(Nnsight)
