#!/usr/bin/env python3
"""Computes maps in PyTorch by forward hooks on transformers' Llama, one cell a run, from what
docs/guide.md says of them, and records what comes out in tests/golden/maps/maps.json:

    python vendor/golden/maps.py SmolLM2-135M-Instruct.Q4_1.requantized-f32.gguf
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GOLDEN = Path(__file__).resolve().parent.parent.parent / "tests/golden"
CAPITALS = "Q: What is the capital of {}?\nA: {}\nQ: What is the capital of {}?\nA:"
PROMPT = CAPITALS.format("Spain", "Madrid", "France")
# As many tokens, of which three differ.
DONOR = CAPITALS.format("France", "Paris", "Spain")
ANSWER, FOIL = " Paris", " Madrid"
# Every token of the prompt is at a position of one of them.
MEAN_OF = [
    "Q: What is the capital of France?\nA: Paris\nQ: What is the capital of Spain?\nA: Madrid\n",
    "Q: What is the capital of Italy?\nA: Rome\nQ: What is the capital of Peru?\nA:",
    "Spain and France are neighbours. Madrid is a city.",
]
LAYERS = [0, 5, 10, 15, 20, 25, 29]
# What the last layer adds to prior tokens is read by nothing.
PARTS = [0, 7, 14, 21, 28]
CORRUPTED = [7, 21]  # " Spain" and " France"
SEEN = [7, 21, 25]  # these and the last token

torch.set_grad_enabled(False)
path = Path(sys.argv[1]).resolve()
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
model.lm_head.weight = model.model.embed_tokens.weight  # tied, which the loader does not know
blocks = model.model.layers
n_heads = model.config.num_attention_heads
width = model.config.hidden_size // n_heads


def tokens(text):
    return tokenizer(text, add_special_tokens=False).input_ids


def run(ids, *hooks):
    """Logits after the last token, of as many copies of the text as the first hook has cells."""
    copies = hooks[0].cells if hooks else 1
    handles = [hook.put() for hook in hooks]
    states = model.model(torch.tensor([ids] * copies), use_cache=False).last_hidden_state
    for handle in handles:
        handle.remove()
    return model.lm_head(states[:, -1]).double()


class Hook:
    """Rows of what a module reads, or gives, are changed: in copy n of the text those that
    `change` changes, a function of n and of the copy's rows."""

    def __init__(self, cells, module, change, gives=False):
        self.cells, self.module, self.change, self.gives = cells, module, change, gives

    def put(self):
        if self.gives:
            return self.module.register_forward_hook(self.after)
        return self.module.register_forward_pre_hook(self.before)

    def changed(self, rows):
        rows = rows.clone()
        for n in range(self.cells):
            self.change(n, rows[n])
        return rows

    def before(self, _, args):
        return (self.changed(args[0]), *args[1:])

    def after(self, _, args, out):
        if isinstance(out, tuple):
            return (self.changed(out[0]), *out[1:])
        return self.changed(out)


def entering(ids):
    """The states of a text that enter each layer."""
    kept = []

    def keep(_, args):
        kept.append(args[0][0].clone())

    handles = [block.register_forward_pre_hook(keep) for block in blocks]
    model.model(torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return kept


ids, other = tokens(PROMPT), tokens(DONOR)
(answer,), (foil,) = tokens(ANSWER), tokens(FOIL)
assert len(ids) == len(other)
prior = list(range(len(ids) - 1))
clean = run(ids)[0]
recorded = json.loads((GOLDEN / "P1_clean.json").read_text())
assert ids == recorded["token_ids"]
for token, logit in recorded["top20"]:
    assert abs(clean[token] - logit) < 1e-3, "the clean run is not the reference's"

own, donor = entering(ids), entering(other)
texts = [entering(tokens(text)) for text in MEAN_OF]
means = [
    torch.stack([torch.stack([t[k][p] for t in texts if p < len(t[k])]).mean(0) for p in prior])
    for k in range(len(blocks))
]


def logprob(logits):
    return logits.log_softmax(-1)[..., answer]


def difference(logits):
    return logits[..., answer] - logits[..., foil]


def kl(logits):
    p, q = clean.log_softmax(-1), logits.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


maps = []


def record(name, of, layers, columns, zero=None, **what):
    """`columns` gives for each layer the logits of its cells, one after the other."""
    zero = float(of(clean)) if zero is None else zero
    columns = [of(columns(k)) - zero for k in layers]
    values = [[round(float(x), 6) for x in row] for row in torch.stack(columns, 1)]
    maps.append({"map": name, **what, "layers": layers, "clean": round(float(of(clean)), 6), "values": values})
    print(name, max(abs(x) for row in values for x in row), flush=True)


def cells(module, put, **where):
    """One token's row at a time becomes what `put` says of it."""

    def change(n, rows):
        rows[n] = put(n)

    return Hook(len(prior), module, change, **where)


record("zero", logprob, LAYERS, lambda k: run(ids, cells(blocks[k], lambda n: 0)), measure="logprob")
record("mean", logprob, LAYERS, lambda k: run(ids, cells(blocks[k], lambda n: means[k][n])), measure="logprob")
record("patched", difference, LAYERS, lambda k: run(ids, cells(blocks[k], lambda n: donor[k][n])), measure="difference")

# Restoring: some tokens are zero where they enter layer 0, and one clean state is put back. Hooks
# of one module run in the order in which they were put.


def corrupt(n, rows):
    rows[CORRUPTED] = 0


corrupted = float(logprob(run(ids, Hook(1, blocks[0], corrupt))[0]))


def restored(k):
    return run(ids, Hook(len(prior), blocks[0], corrupt), cells(blocks[k], lambda n: own[k][n]))


record("restored", logprob, LAYERS, restored, zero=corrupted, measure="logprob", corrupted=corrupted)

for name, part in [("attn_out", "self_attn"), ("mlp_out", "mlp")]:
    of = lambda k: getattr(blocks[k], part)
    record(name, logprob, PARTS, lambda k: run(ids, cells(of(k), lambda n: 0, gives=True)), measure="logprob")


def without_heads(k):
    """One head at a time is zero, at all prior tokens."""

    def change(n, rows):
        rows[prior, n * width : (n + 1) * width] = 0

    return run(ids, Hook(n_heads, blocks[k].self_attn.o_proj, change))


record("heads", kl, PARTS, without_heads, measure="kl")

# The logit lens: final norm and head on what enters each layer, and on what leaves the last.

leaving = model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]
said = [model.lm_head(model.model.norm(states)).double() for states in own] + [model.lm_head(leaving).double()]
said = torch.stack(said)  # [layer, token, vocabulary]
assert torch.allclose(said[-1, -1], clean, atol=1e-4)
lens = []
for at in SEEN:
    top = said[:, at].topk(5)
    lens.append(
        {
            "position": at,
            "top": [[[int(t), round(float(x), 5)] for t, x in zip(*row)] for row in zip(top.indices, top.values)],
            "answer": [round(float(x), 5) for x in said[:, at, answer]],
            "answer_logprob": [round(float(x), 6) for x in said[:, at].log_softmax(-1)[:, answer]],
            "answer_rank": [int((row > row[answer]).sum()) + 1 for row in said[:, at]],
        }
    )

# The column from which on each token's likeliest next token is that of the last column; none where
# a margin that decides it is small.
commitments = []
for at in range(len(ids)):
    values, likeliest = said[:, at].topk(2)
    margins, likeliest = values[:, 0] - values[:, 1], likeliest[:, 0]
    others = [k for k in range(len(said)) if likeliest[k] != likeliest[-1]]
    column = others[-1] + 1 if others else 0
    decided = margins[max(column - 1, 0) :].min() > 4e-3
    commitments.append(column if decided else None)
print("commitments", commitments)

head = {"prompt": PROMPT, "token_ids": ids, "donor": DONOR, "mean_of": MEAN_OF, "answer": answer, "foil": foil}
head |= {"corrupted": CORRUPTED, "commitments": commitments}
text = json.dumps(head)[:-1]
for name, rows in [("maps", maps), ("lens", lens)]:
    lines = ",\n".join(json.dumps(row) for row in rows)
    text += f', "{name}": [\n{lines}\n]'
(GOLDEN / "maps/maps.json").write_text(text + "}\n")
