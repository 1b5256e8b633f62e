#!/usr/bin/env python3
"""Computes the logit lens in PyTorch, on transformers' Llama: final norm and head on each of its
hidden states, and records what comes out in tests/golden/maps/lens.json:

    python vendor/golden/lens.py SmolLM2-135M-Instruct.Q4_1.requantized-f32.gguf
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GOLDEN = Path(__file__).resolve().parent.parent.parent / "tests/golden"
# The state entering each of these layers; 30 is what leaves the last one.
LAYERS = [1, 8, 15, 22, 29, 30]
PROMPT = "Q: What is the capital of Spain?\nA: Madrid\nQ: What is the capital of France?\nA:"
ANSWER = " Paris"

torch.set_grad_enabled(False)
path = Path(sys.argv[1]).resolve()
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()
model.lm_head.weight = model.model.embed_tokens.weight  # tied, which the loader does not know
ids = tokenizer(PROMPT, add_special_tokens=False).input_ids
(answer,) = tokenizer(ANSWER, add_special_tokens=False).input_ids
out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
clean = json.loads((GOLDEN / "P1_clean.json").read_text())
assert ids == clean["token_ids"]
for token, logit in clean["top20"]:
    assert abs(out.logits[0, -1, token] - logit) < 1e-3, "the run is not the reference's"


def said(layer):
    """What the head says of each token's state entering a layer."""
    states = out.hidden_states[layer][0]
    # The last of them have been through the norm already.
    normed = states if layer == len(model.model.layers) else model.model.norm(states)
    return model.lm_head(normed).double()


layers = []
for layer in LAYERS:
    logits = said(layer)
    logprobs = logits.log_softmax(-1)
    top = logits.topk(5)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    layers.append(
        {
            "layer": layer,
            "top": [
                [[int(token), round(float(logit), 5)] for token, logit in zip(*row)]
                for row in zip(top.indices, top.values)
            ],
            "answer_logprob": [round(float(x), 6) for x in logprobs[:, answer]],
            "entropy": [round(float(x), 6) for x in entropy],
        }
    )
assert torch.allclose(said(LAYERS[-1]), out.logits[0].double()), "the last layer's is the model's own"
head = {"prompt": PROMPT, "token_ids": ids, "answer": answer}
lines = ",\n".join(json.dumps(layer) for layer in layers)
(GOLDEN / "maps/lens.json").write_text(json.dumps(head)[:-1] + f', "layers": [\n{lines}\n]}}\n')
