"""The seven tasks in TransformerLens, whose bridge keeps the model's own weights: nothing is folded
or centered.
"""

import numpy as np
import torch
from common import GENERATED, LAYER, MAPPED, SCALES, Asked, measure, tokenizer, transformer
from transformer_lens.model_bridge import TransformerBridge


def resid(layer):
    return f"blocks.{layer}.hook_resid_pre"


class TransformerLens:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.model = TransformerBridge.boot_transformers(
            asked.gguf,
            hf_model=transformer(asked.gguf),
            tokenizer=tokenizer(asked.gguf),
            device="cpu",
            dtype=torch.float32,
        )
        self.n_layer = self.model.cfg.n_layers
        self.long, self.short, self.donor = (
            torch.tensor([ids]) for ids in (asked.long, asked.short, asked.donor)
        )
        self.resid = [resid(k) for k in range(self.n_layer)]

    def frozen(self, k):
        kept = {}

        def keep(rows, hook):
            if rows.shape[1] > 1:  # a prompt, no generated token
                kept["rows"] = rows[:, :-1].clone()
            return rows

        def put(rows, hook):
            if rows.shape[1] > 1:
                rows[:, :-1] = kept["rows"]
            return rows

        return [(resid(k - 1), keep), *((resid(n), put) for n in range(k, self.n_layer))]

    def logits(self, ids, hooks):
        return self.model.run_with_hooks(ids, fwd_hooks=hooks)[0, -1]

    def states(self, ids):
        return self.model.run_with_cache(ids, names_filter=self.resid)

    def freeze(self):
        return torch.stack([self.logits(self.long, self.frozen(k)) for k in range(1, self.n_layer)])

    def few(self):
        def zero(rows, hook):
            rows[:, :-1] = 0
            return rows

        found = [
            torch.stack([self.logits(torch.tensor([ids]), [(name, zero)]) for name in self.resid])
            for ids in self.asked.shots
        ]
        return torch.stack(found)

    def patch(self):
        _, donor = self.states(self.donor)

        def put(rows, hook):
            rows[:, self.asked.at] = donor[hook.name][:, -1]
            return rows

        return torch.stack([self.logits(self.short, [(name, put)]) for name in self.resid])

    def lens(self):
        logits, cache = self.states(self.short)
        read = [self.model.unembed(self.model.ln_final(cache[name])) for name in self.resid]
        logprobs = [of[0].log_softmax(-1) for of in [*read, logits]]
        return torch.stack([of[:, self.asked.answer] for of in logprobs], 1)

    def map(self):
        answer = self.asked.answer
        clean = self.logits(self.short, []).log_softmax(-1)[answer]
        found = np.empty((self.short.shape[1] - 1, len(MAPPED)))
        for column, k in enumerate(MAPPED):
            for token in range(len(found)):

                def zero(rows, hook, token=token):
                    rows[:, token] = 0
                    return rows

                changed = self.logits(self.short, [(resid(k), zero)]).log_softmax(-1)[answer]
                found[token, column] = changed - clean
        return found

    def generate(self):
        with self.model.hooks(fwd_hooks=self.frozen(LAYER)):
            made = self.model.generate(
                self.long,
                max_new_tokens=GENERATED,
                do_sample=False,
                return_type="tokens",
                verbose=False,
            )
        return made[0, self.long.shape[1] :]

    def steer(self):
        def mean(texts):
            last = [self.states(torch.tensor([ids]))[1][resid(LAYER)][0, -1] for ids in texts]
            return torch.stack(last).mean(0)

        direction = mean(self.asked.positive) - mean(self.asked.negative)
        found = []
        for scale in SCALES:

            def add(rows, hook, scale=scale):
                rows[:, :-1] += scale * direction
                return rows

            found.append(self.logits(self.short, [(resid(LAYER), add)]))
        return torch.stack(found)


if __name__ == "__main__":
    measure(TransformerLens)
