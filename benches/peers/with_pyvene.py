"""The seven tasks in pyvene: states are collected in one run and put into others."""

import numpy as np
import pyvene as pv
import torch
from common import GENERATED, LAYER, MAPPED, SCALES, Asked, measure, transformer


class Pyvene:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.model = transformer(asked.gguf)
        self.n_layer = self.model.config.num_hidden_layers
        self.layers = range(self.n_layer)

    def entering(self, layers, units, intervention):
        """The model with an intervention on what enters these layers, at so many tokens."""
        config = [
            pv.RepresentationConfig(
                layer=layer,
                component="block_input",
                max_number_of_units=units,
                intervention_type=intervention,
            )
            for layer in layers
        ]
        return pv.IntervenableModel(pv.IntervenableConfig(config), self.model)

    def states(self, ids, layers):
        """The states that enter these layers, [tokens, width] each, and what the model says."""
        collect = self.entering(layers, len(ids), pv.CollectIntervention)
        (_, states), out = collect(
            {"input_ids": torch.tensor([ids])}, unit_locations=at(range(len(ids)), layers)
        )
        return [state.reshape(len(ids), -1) for state in states], out.logits[0]

    def logits(self, ids, tokens, layers, intervention, states=None):
        """Last logits with an intervention at tokens of layers, from states given a layer."""
        changed = self.entering(layers, len(tokens), intervention)
        _, out = changed(
            {"input_ids": torch.tensor([ids])},
            unit_locations=at(tokens, layers),
            source_representations=states,
        )
        return out.logits[0, -1]

    def freeze(self):
        ids = self.asked.long
        prior = range(len(ids) - 1)
        states, _ = self.states(ids, self.layers)
        found = []
        for k in range(1, self.n_layer):
            kept = [states[k - 1][None, :-1]] * (self.n_layer - k)
            layers = range(k, self.n_layer)
            found.append(self.logits(ids, prior, layers, pv.VanillaIntervention, kept))
        return torch.stack(found)

    def few(self):
        def ablated(ids, k):
            return self.logits(ids, range(len(ids) - 1), [k], pv.ZeroIntervention)

        found = [torch.stack([ablated(ids, k) for k in self.layers]) for ids in self.asked.shots]
        return torch.stack(found)

    def patch(self):
        donor, _ = self.states(self.asked.donor, self.layers)
        return torch.stack(
            [
                self.logits(
                    self.asked.short,
                    [self.asked.at],
                    [k],
                    pv.VanillaIntervention,
                    [donor[k][None, -1:]],
                )
                for k in self.layers
            ]
        )

    def lens(self):
        states, logits = self.states(self.asked.short, self.layers)
        read = [self.model.lm_head(self.model.model.norm(state)) for state in states]
        logprobs = [of.log_softmax(-1) for of in [*read, logits]]
        return torch.stack([of[:, self.asked.answer] for of in logprobs], 1)

    def map(self):
        ids, answer = self.asked.short, self.asked.answer
        _, logits = self.states(ids, [0])
        clean = logits[-1].log_softmax(-1)[answer]
        found = np.empty((len(ids) - 1, len(MAPPED)))
        for column, k in enumerate(MAPPED):
            for token in range(len(found)):
                changed = self.logits(ids, [token], [k], pv.ZeroIntervention)
                found[token, column] = changed.log_softmax(-1)[answer] - clean
        return found

    def generate(self):
        ids = self.asked.long
        layers = range(LAYER, self.n_layer)
        prior = range(len(ids) - 1)
        (kept,), _ = self.states(ids, [LAYER - 1])
        frozen = self.entering(layers, len(prior), pv.VanillaIntervention)
        _, made = frozen.generate(
            {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))},
            unit_locations=at(prior, layers),
            source_representations=[kept[None, :-1]] * len(layers),
            intervene_on_prompt=True,
            max_new_tokens=GENERATED,
            do_sample=False,
        )
        return made[0, len(ids) :]

    def steer(self):
        ids = self.asked.short
        prior = range(len(ids) - 1)

        def mean(texts):
            return torch.stack([self.states(of, [LAYER])[0][0][-1] for of in texts]).mean(0)

        direction = mean(self.asked.positive) - mean(self.asked.negative)
        added = [(scale * direction).expand(1, len(prior), -1) for scale in SCALES]
        return torch.stack(
            [self.logits(ids, prior, [LAYER], pv.AdditionIntervention, [of]) for of in added]
        )


def at(tokens, layers):
    """Where pyvene looks: tokens of the one text, for each layer."""
    return {"base": [[list(tokens)]] * len(layers)}


if __name__ == "__main__":
    measure(Pyvene)
