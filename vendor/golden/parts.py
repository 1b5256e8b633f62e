#!/usr/bin/env python3
"""Rewrites what layers add to the residual stream by forward hooks in PyTorch, on transformers' Llama,
and records what comes out in tests/golden/maps/parts.json:

    python vendor/golden/parts.py SmolLM2-135M-Instruct.Q4_1.requantized-f32.gguf
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GOLDEN = Path(__file__).resolve().parent.parent.parent / "tests/golden"
LAYERS = [0, 8, 15, 22, 28]
PROMPT = "Q: What is the capital of Spain?\nA: Madrid\nQ: What is the capital of France?\nA:"
# Of nine heads, three of which share keys and values each.
HEADS = {"heads": list(range(9)), "heads:3": [3], "heads:0-1,8": [0, 1, 8]}
CHANGES = {"zero": lambda rows: 0 * rows, "scale:factor=-2": lambda rows: -2 * rows}

torch.set_grad_enabled(False)
path = Path(sys.argv[1]).resolve()
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()
model.lm_head.weight = model.model.embed_tokens.weight  # tied, which the loader does not know
ids = tokenizer(PROMPT, add_special_tokens=False).input_ids
prior = list(range(len(ids) - 1))
width = model.config.hidden_size // model.config.num_attention_heads


def added(part, change):
    """A hook on a sub-layer: prior tokens' rows of what it gives are changed."""

    def hook(_, args, out):
        rows = (out[0] if isinstance(out, tuple) else out).clone()
        rows[0, prior] = change(rows[0, prior])
        return (rows, *out[1:]) if isinstance(out, tuple) else rows

    return part.register_forward_hook(hook)


def of_heads(part, heads, change):
    """A hook on the output projection: some heads of prior tokens' rows that it reads are changed."""

    def hook(_, args):
        rows = args[0].clone()
        for head in heads:
            columns = slice(head * width, (head + 1) * width)
            rows[0, prior, columns] = change(rows[0, prior, columns])
        return (rows, *args[1:])

    return part.register_forward_pre_hook(hook)


def run(site=None, layer=0, change=None):
    block = model.model.layers[layer]
    hook = None
    if site in HEADS:
        hook = of_heads(block.self_attn.o_proj, HEADS[site], change)
    elif site:
        hook = added({"attn_out": block.self_attn, "mlp_out": block.mlp}[site], change)
    logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1].double()
    if hook:
        hook.remove()
    return logits


clean = run()
recorded = json.loads((GOLDEN / "P1_clean.json").read_text())
assert ids == recorded["token_ids"]
for token, logit in recorded["top20"]:
    assert abs(clean[token] - logit) < 1e-3, "the clean run is not the reference's"
runs = []
for site in ["attn_out", "mlp_out", *HEADS]:
    for name, change in CHANGES.items():
        entries = []
        for k in LAYERS:
            logits = run(site, k, change)
            top = logits.topk(20)
            kl = torch.nn.functional.kl_div(
                logits.log_softmax(0), clean.log_softmax(0), reduction="sum", log_target=True
            )
            likeliest = [[int(t), round(float(x), 5)] for t, x in zip(top.indices, top.values)]
            entry = {"k": k, "argmax": likeliest[0][0], "kl_clean_manip": round(float(kl), 7)}
            entries.append(entry | {"top20": likeliest})
        runs.append({"site": site, "manipulation": name, "entries": entries})
        print(site, name, [entry["kl_clean_manip"] for entry in entries], flush=True)
head = {"prompt": PROMPT, "token_ids": ids}
lines = ",\n".join(json.dumps(run) for run in runs)
(GOLDEN / "maps/parts.json").write_text(json.dumps(head)[:-1] + f', "runs": [\n{lines}\n]}}\n')
