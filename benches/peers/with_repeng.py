"""The steering vector in repeng, which does nothing else: its own function reads the states, its
vector is added by its own operator, to prior tokens alone.
"""

import torch
from common import LAYER, SCALES, Asked, measure, tokenizer, transformer
from repeng import ControlModel, ControlVector
from repeng.extract import batched_get_hiddens

# repeng's layer is the one whose output is steered; that enters the next.
STEERED = LAYER - 1


def prior(states, direction):
    steered = states + direction
    steered[:, -1] = states[:, -1]
    return steered


class Repeng:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.tokenizer = tokenizer(asked.gguf)
        for name in ("positive", "negative"):
            assert self.tokenizer(asked.texts[name])["input_ids"] == getattr(asked, name)
        self.model = ControlModel(transformer(asked.gguf), [STEERED])

    def steer(self):
        def mean(texts):
            model, states = self.model, [STEERED]
            return batched_get_hiddens(model, self.tokenizer, texts, states, 32)[STEERED].mean(0)

        self.model.reset()
        texts = self.asked.texts
        difference = mean(texts["positive"]) - mean(texts["negative"])
        vector = ControlVector("llama", {STEERED: difference})
        found = []
        for scale in SCALES:
            self.model.set_control(vector, scale, operator=prior)
            found.append(self.model(torch.tensor([self.asked.short])).logits[0, -1])
        return torch.stack(found)


if __name__ == "__main__":
    measure(Repeng)
