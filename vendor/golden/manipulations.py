#!/usr/bin/env python3
"""Computes manipulations once more, by forward hooks in PyTorch on transformers' Llama, from what
docs/manipulations.md and docs/guide.md say of them, and records what comes out in
tests/golden/manipulations/:

    python vendor/golden/manipulations.py SmolLM2-135M-Instruct.Q4_1.requantized-f32.gguf

Random draws are the program's: `draws.npy` is read, and MIDLAYER_WRITE=1 makes the test
`draws_are_the_programs` write it (tests/golden_manipulations.rs).
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers

GOLDEN = Path(__file__).resolve().parent.parent.parent / "tests/golden"
OUT = GOLDEN / "manipulations"
LAYERS = [1, 8, 15, 22, 29]
CAPITALS = "Q: What is the capital of {}?\nA: {}\nQ: What is the capital of {}?\nA:"
PROMPT = CAPITALS.format("Spain", "Madrid", "France")
# Of different lengths, and every token of the prompt is in one of them.
MEAN_OF = [
    "Q: What is the capital of France?\nA: Paris\nQ: What is the capital of Spain?\nA: Madrid\n",
    "Q: What is the capital of Italy?\nA: Rome\nQ: What is the capital of Peru?\nA:",
    "Spain and France are neighbours. Madrid is a city.",
]
# Shorter than the prompt, so that it is repeated.
SCAFFOLD = "The weather was fine and the sea was calm."
POSITIVE = ["I love this film", "What a wonderful day", "She was happy to see him", "The food tastes great"]
NEGATIVE = ["I hate this film", "What a terrible day", "She was sad to see him", "The food tastes awful"]
# " Spain" and " France"; and the places that the program draws instead of them.
SUBJECTS, ELSEWHERE = [7, 21], [1, 12]

torch.set_grad_enabled(False)
transformers.logging.set_verbosity_error()
path = Path(sys.argv[1]).resolve()
tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name).eval()
model.lm_head.weight = model.model.embed_tokens.weight  # tied, which the loader does not know
blocks = model.model.layers


def tokens(text):
    return tokenizer(text, add_special_tokens=False).input_ids


def run(ids, entering={}, leaving={}, cached={}, hidden={}):
    """(logits after the last token, [state entering each layer: token x width]). The arguments
    are functions by layer: of the states that enter it, of those that leave it (and of those
    that entered), of its keys and of its values; and tokens that no later one sees."""
    states = [None] * len(blocks)

    def before(layer):
        def hook(_, args):
            states[layer] = entering.get(layer, lambda rows: rows)(args[0][0].clone())
            return (states[layer][None], *args[1:])

        return hook

    def after(layer):
        return lambda _, args, out: (leaving[layer](out[0][0].clone(), args[0][0])[None], *out[1:])

    def projected(layer):
        return lambda _, args, out: cached[layer](out[0].clone())[None]

    def masked(layer):
        sees = torch.full([len(ids)] * 2, True).tril()
        sees[:, hidden[layer]] = False
        mask = torch.zeros(sees.shape).masked_fill(~(sees | torch.eye(len(ids)).bool()), -torch.inf)
        return lambda _, args, words: (args, words | {"attention_mask": mask[None, None]})

    hooks = [block.register_forward_pre_hook(before(n)) for n, block in enumerate(blocks)]
    hooks += [blocks[n].register_forward_hook(after(n)) for n in leaving]
    for n in cached:
        attention = blocks[n].self_attn
        hooks += [part.register_forward_hook(projected(n)) for part in [attention.k_proj, attention.v_proj]]
    hooks += [blocks[n].self_attn.register_forward_pre_hook(masked(n), with_kwargs=True) for n in hidden]
    logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return logits.double(), states


def norm(rows):
    return rows.norm(dim=-1, keepdim=True)


# Directions: what leads from the negative to the positive texts' states at their last tokens.

last = {sign: [run(tokens(text))[1] for text in texts] for sign, texts in [(1, POSITIVE), (-1, NEGATIVE)]}
last = {sign: np.array([[state[-1].double().numpy() for state in text] for text in texts]) for sign, texts in last.items()}


def mean_difference(positive, negative):
    return positive.mean(0) - negative.mean(0)


def pca(positive, negative):
    pairs = positive - negative
    component = np.linalg.svd(pairs, full_matrices=False)[2][0]
    return component * (pairs @ component).mean()


directions, explained = {}, {}
for name, method in [("mean-difference", mean_difference), ("pca", pca)]:
    found = [method(last[1][:, layer], last[-1][:, layer]) for layer in range(len(blocks))]
    directions[name] = torch.tensor(np.array(found), dtype=torch.float32)
    explained[name] = []
    for layer, direction in enumerate(found):
        states = np.concatenate([last[1][:, layer], last[-1][:, layer]])
        states -= states.mean(0)
        shares = (states @ direction / np.linalg.norm(direction)) ** 2
        explained[name].append(round(float(shares.sum() / (states**2).sum()), 6))
    np.save(OUT / f"{name}.npy", directions[name][LAYERS].numpy())

# A control vector as repeng writes it: the same directions, last layer first.
writer = gguf.GGUFWriter(OUT / "repeng.gguf", "controlvector")
writer.add_string("controlvector.model_hint", "llama")
writer.add_uint32("controlvector.layer_count", 2)
for layer in [14, 7]:
    writer.add_tensor(f"direction.{layer}", directions["pca"][layer + 1].numpy())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

# What manipulations need besides the prompt.

ids = tokens(PROMPT)
prior = list(range(len(ids) - 1))
clean, own = run(ids)
for token, logit in json.loads((GOLDEN / "P1_clean.json").read_text())["top20"]:
    assert abs(clean[token] - logit) < 1e-3, "the clean run is not the reference's"
direction = directions["mean-difference"]
draws = dict(zip(LAYERS, torch.from_numpy(np.load(OUT / "draws.npy"))))
neutral = run([ids[0]] + tokens(" .") * len(prior))[1]
texts = [(tokens(text), run(tokens(text))[1]) for text in MEAN_OF]


def mean(k, same):
    """For each prior token the mean over all tokens of all texts to which it is the same."""
    found = [[s[k][q] for t, s in texts for q in range(len(t)) if same(p, t, q)] for p in prior]
    return torch.stack([torch.stack(states).mean(0) for states in found])


def along(direction, rows):
    """The direction, as long as the rows."""
    return norm(rows) * direction / norm(direction)


# What becomes of rows (token x width) at layer k.
CHANGES = {
    "zero": lambda rows, k: 0 * rows,
    "scale": lambda rows, k: 0.5 * rows,
    "scale:factor=-2": lambda rows, k: -2 * rows,
    "self": lambda rows, k: rows,
    "filler": lambda rows, k: neutral[k][prior],
    "mean": lambda rows, k: mean(k, lambda p, text, q: p == q),
    "mean:by=token": lambda rows, k: mean(k, lambda p, text, q: ids[p] == text[q]),
    "add": lambda rows, k: rows + along(direction[k], rows),
    "add:scale=0.8:unit=absolute": lambda rows, k: rows + 0.8 * direction[k],
    "ablate": lambda rows, k: rows - (rows @ direction[k])[:, None] * direction[k] / direction[k].square().sum(),
    "add-random": lambda rows, k: rows + along(draws[k][0], rows),
    "equal-norm": lambda rows, k: along(draws[k][1:3], rows),
    "add-noise": lambda rows, k: rows + 3 * along(draws[k][3:5], rows),
}
PLACES = {"equal-norm": ELSEWHERE, "add-noise": SUBJECTS}
runs = []


def change(name, k):
    """A function that changes some rows of the text."""

    def changed(rows):
        places = PLACES.get(name, prior)
        rows[places] = CHANGES[name](rows[places], k)
        return rows

    return changed


def record(name, run_at, layers=LAYERS, **where):
    entries = []
    for k in layers:
        logits, _ = run_at(k)
        top = logits.topk(20)
        kl = torch.nn.functional.kl_div(logits.log_softmax(0), clean.log_softmax(0), reduction="sum", log_target=True)
        likeliest = [[int(token), round(float(logit), 5)] for token, logit in zip(top.indices, top.values)]
        entries.append({"k": k, "argmax": likeliest[0][0], "kl_clean_manip": round(float(kl), 7), "top20": likeliest})
    runs.append({"manipulation": name, **where, "entries": entries})
    print(name, where, [entry["kl_clean_manip"] for entry in entries], flush=True)


for name in CHANGES:
    where = {"tokens": SUBJECTS, "rewritten": PLACES[name]} if name in PLACES else {}
    record(name, lambda k: run(ids, entering={k: change(name, k)}), **where)


def skip_layer(k):
    """Layer k adds nothing to prior tokens."""
    return run(ids, leaving={k: lambda left, entered: torch.cat([entered[prior], left[-1:]])})


record("skip-layer", skip_layer, LAYERS[:-1] + [len(blocks) - 2])


def upward(k):
    return run(ids, entering={layer: change("mean", layer) for layer in range(k, len(blocks))})


record("mean", upward, extent="from")


def in_cache(name):
    """Keys and values are changed; prior tokens' own states stay as they are above."""

    def stay(layer):
        return lambda rows: torch.cat([own[layer][prior], rows[-1:]])

    return lambda k: run(ids, {n: stay(n) for n in range(k + 1, len(blocks))}, cached={k: change(name, k)})


for kept in [0, 4]:
    chosen = prior[kept:]
    where = {"tokens": chosen, "rewritten": chosen} if kept else {}
    record("hide", lambda k: run(ids, hidden={n: chosen for n in range(k, len(blocks))}), **where)


for name in ["zero", "scale"]:
    record(name, in_cache(name), sites=["keys", "values"])



def projections(text):
    """By layer, the keys (before they are rotated) and the values of a text."""
    kept = {n: [] for n in range(len(blocks))}

    def keep(layer):
        return lambda rows: kept[layer].append(rows.clone()) or rows

    run(text, cached={n: keep(n) for n in kept})
    return kept


scaffold = projections((tokens(SCAFFOLD) * len(ids))[: len(ids)])


def splice(k):
    """Keys, then values, of prior tokens become the scaffold's."""
    parts = iter(scaffold[k])

    def changed(rows):
        rows[prior] = next(parts)[prior]
        return rows

    def stay(layer):
        return lambda rows: torch.cat([own[layer][prior], rows[-1:]])

    return run(ids, {n: stay(n) for n in range(k + 1, len(blocks))}, cached={k: changed})


record("splice", splice, sites=["keys", "values"])

head = {"prompt": PROMPT, "token_ids": ids, "layers": LAYERS, "mean_of": MEAN_OF, "scaffold": SCAFFOLD}
head |= {"positive": POSITIVE, "negative": NEGATIVE, "explained": explained}
lines = ",\n".join(json.dumps(run) for run in runs)
(OUT / "runs.json").write_text(json.dumps(head)[:-1] + f', "runs": [\n{lines}\n]}}\n')
