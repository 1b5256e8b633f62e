"""Runs: the program's numbers, identities, errors."""

import json
import subprocess
import sys
from typing import Any, cast

import numpy as np
import pytest

import midlayer as ml

TEXT = "The capital of France is"


def program(*arguments, **options):
    command = [sys.executable, "-m", "midlayer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def lines(model_file, *arguments):
    done = program(
        "try", "-m", model_file, "-c", 256, "-t", 2, "-p", TEXT, "-o", "json", *arguments
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("manipulation", "arguments"),
    [
        (ml.freeze(range(1, 4)), ["--manipulate", "freeze", "--layers", "1-3"]),
        (ml.freeze(), ["--manipulate", "freeze"]),
        (ml.random(seed=[1, 2]), ["--manipulate", "random", "--seed", "1,2"]),
        (ml.scale("1-2", factor=0.5), ["--manipulate", "scale:factor=0.5", "--layers", "1-2"]),
        (ml.skip_attention(2, extent="only"), ["--manipulate", "skip-attention", "--layers", "2",
                                               "--extent", "only"]),
        (ml.zero(1, site="kv", tokens="skip:1"), ["--manipulate", "zero", "--layers", "1",
                                                  "--site", "kv", "--tokens", "skip:1"]),
        (ml.inject(1, donor="a country, Italy", at="France", from_at=" Italy"),
         ["--manipulate", "inject", "--layers", "1", "--inject-from", "a country, Italy",
          "--inject-at", "France", "--inject-from-at", " Italy"]),
        (ml.inject(1, donor="The country Greece", at="France") + ml.freeze(2),
         ["--manipulate", "inject@1+freeze@2", "--inject-from", "The country Greece",
          "--inject-at", "France"]),
        (ml.inject(1, donor="The country Greece", at="France") + ml.freeze([2, 3]),
         ["--manipulate", "inject@1+freeze", "--layers", "2,3",
          "--inject-from", "The country Greece", "--inject-at", "France"]),
    ],
)  # fmt: skip
def test_numbers_are_the_program_s(model, model_file, prompt, manipulation, arguments):
    expected = lines(model_file, "--answer", " P", "--answer", "x", *arguments)
    expected[0].pop("prompt")
    results = model.run(prompt, manipulation, answers=[" P", "x"])
    found = [json.loads(line) for line in results.to_json().splitlines()]
    assert len(found) > 1
    assert found == expected


def test_arrays_are_the_lines(model, prompt):
    results = model.run(prompt, [ml.freeze([1, 3]), ml.random(2)], answers=["ab", "x"])
    assert results.names == ["freeze", "freeze", "random"]
    assert results.layers == [1, 3, 2] and results.seeds == [None, None, 1]
    assert results.logits.shape == (3, model.n_vocab) and results.logits.dtype == np.float32
    assert results.probs.shape == results.logits.shape
    np.testing.assert_allclose(results.probs.sum(axis=1), 1, atol=1e-9)
    for n, line in enumerate(results):
        assert results.kl[n] == line["kl"] > 0
        for a, answer in enumerate(line["answers"]):
            assert results.answer_probs[n, a] == answer["probability"]
            assert results.answer_logprobs[n, a] == answer["logprob"]
            assert results.answer_ranks[n, a] == answer["rank"]
        best = line["argmax"]
        assert results.logits[n].argmax() == best["id"]
        assert results.probs[n, best["id"]] == best["probability"]
    clean = results.clean
    assert clean["manipulation"] == "clean" and clean["kl"] == 0
    assert results.clean_logits.argmax() == clean["argmax"]["id"]
    assert results[-1] == results[2]
    with pytest.raises(IndexError):
        results[3]


def test_what_changes_nothing_and_two_ways_to_one_result(model, prompt):
    # Scaling by 1 and rewriting a state by itself change nothing; what is zero is not.
    results = model.run(prompt, [ml.scale(factor=1), ml.itself(), ml.zero(1)])
    assert (results.kl[:-1] < 1e-6).all() and results.kl[-1] > 1e-4
    # At layer k freeze and the same of keys and values are two ways to one result.
    two = model.run(prompt, [ml.freeze(3), ml.freeze(3, site="kv")])
    np.testing.assert_allclose(two.logits[0], two.logits[1], atol=1e-4)


def test_both_engines_agree(model_file, model, prompt):
    straight = ml.Model(str(model_file), ctx_size=256, threads=2, engine="straightforward")
    asked = [ml.freeze(), ml.shuffle(), ml.skip_attention()]
    a, b = model.run(prompt, asked), straight.run(straight.prompt(TEXT), asked)
    assert len(a) == len(b) == 3 + 4 + 4
    np.testing.assert_allclose(a.logits, b.logits, atol=1e-4)


def test_all_manipulations_of_the_table_are_functions(model, prompt):
    vectors = np.eye(4, model.width, dtype=np.float32)
    given = {
        "donor": {"donor": "The country Greece", "at": "France"},
        "scaffold": {"scaffold": "a text"},
        "direction": {"direction": vectors},
        "mean_of": {"mean_of": [TEXT, "some other text of some length"]},
        "nothing": {},
    }
    for entry in ml._native.table():
        name = {"self": "itself"}.get(entry["name"], entry["name"].replace("-", "_"))
        make = getattr(ml, str(name))
        assert entry["sentence"][1:20] in make.__doc__
        more = {} if "residual" in entry["sites"] else {"site": "kv"}
        if entry["needs"] != "donor":
            # Some act elsewhere than they are told.
            more["tokens"] = "1-3"
        results = model.run(prompt, make(1, **given[entry["needs"]], **more))
        assert results.names == [entry["name"]] and np.isfinite(results.logits).all()


def test_a_plan_is_the_program_s(model, model_file, prompt, tmp_path):
    manipulation = ml.random(1, seed=7) + ml.freeze(2, tokens="3-7")
    file = tmp_path / "plan.json"
    lines(model_file, "--manipulate", "random", "--seed", 7, "--layers", "1", "--save-plan", file)
    assert model.plan(prompt, ml.random(1, seed=7)) == file.read_text()
    steps = json.loads(model.plan(prompt, manipulation))["interventions"]
    assert [step["manipulation"] for step in steps] == ["random", "freeze"]
    with pytest.raises(ml.UsageError, match="single layer"):
        model.plan(prompt, ml.freeze())


def test_generation(model, model_file, prompt):
    found = model.run(prompt, ml.freeze(2), generate=5)
    expected = lines(model_file, "--manipulate", "freeze", "--layers", 2, "--generate", 5)
    assert found[0]["generated"] == expected[1]["generated"]
    assert len(found[0]["generated"]["tokens"]) == 5


def test_prompts(model):
    prompt = model.prompt("ab ab c")
    assert prompt.tokens[-7:] == list("ab ab c") and len(prompt) == len(prompt.ids)
    # The tokenizer puts a BOS token and a space first.
    assert prompt.roles == ["special"] + ["prior"] * (len(prompt) - 2) + ["last"]
    first = len(prompt) - 7
    assert prompt.find("ab") == [range(first, first + 2), range(first + 3, first + 5)]
    with pytest.raises(ml.PromptError, match="not in the prompt"):
        prompt.find("x")
    with pytest.raises(ml.PromptError):
        model.prompt("")


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: ml.freeze(0), ml.UsageError, "layer 0"),
        (lambda: ml.freeze(9), ml.UsageError, "`layers`"),
        (lambda: ml.freeze(-1), ml.UsageError, "counted from 0"),
        (lambda: ml.freeze([1, 9]), ml.UsageError, "out of range"),
        (lambda: ml.freeze([]), ml.UsageError, "no layers"),
        (lambda: ml.freeze("x"), ml.UsageError, "not a layer list"),
        (lambda: ml.freeze(cast(Any, 1.5)), ml.UsageError, "not a layer"),
        (lambda: ml.scale(1, factor=cast(Any, "x")), ml.UsageError, "not a number"),
        (lambda: ml.freeze(1, site="q"), ml.UsageError, "not a site"),
        (lambda: ml.freeze(1, tokens="text:Spain"), ml.PromptError, "not in the prompt"),
        (lambda: ml.freeze([1, 2]) + ml.zero([1]), ml.UsageError, "same layers"),
        (lambda: ml.inject(1), ml.UsageError, "`donor`"),
        (lambda: ml.inject(1, donor="Rome"), ml.UsageError, "`at`"),
        (lambda: ml.inject(1, at="France"), ml.UsageError, "need a donor"),
        (lambda: ml.add(1), ml.UsageError, "`direction`"),
        (lambda: ml.add(1, direction=np.ones((4, 3))), ml.EngineError, "3 values"),
        (lambda: ml.add(1, direction=np.full((4, 64), np.nan)), ml.UsageError, "finite"),
    ],
)
def test_errors_have_kinds_and_the_library_s_text(model, prompt, make, kind, text):
    with pytest.raises(kind, match=text):
        model.run(prompt, make())
    assert issubclass(kind, ml.MidlayerError)


def test_unknown_keywords_are_type_errors():
    with pytest.raises(TypeError, match="sed"):
        ml.random(1, sed=1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError):
        ml.freeze(1, factor=2)  # pyright: ignore[reportCallIssue]


def test_a_model_that_is_none(tmp_path):
    with pytest.raises(ml.LoadError, match="neither a file nor a model"):
        ml.Model("no-such-model")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ml.LoadError):
        ml.Model(str(broken))


def test_devices_and_servers_are_the_program_s(model, model_file, prompt):
    here = ml.Model(str(model_file), ctx_size=256, threads=2, device="none")
    np.testing.assert_array_equal(here.run(prompt).clean_logits, model.run(prompt).clean_logits)
    assert here.options[-2:] == ["--device", "none"]
    for device in ("none,NONE7", ["none", "NONE7"]):
        with pytest.raises(ml.LoadError, match=r"(NONE7|none).*`device`"):
            ml.Model(str(model_file), device=device)
    # Without the feature, or with it and no server there.
    with pytest.raises(ml.LoadError, match="`rpc`"):
        ml.Model(str(model_file), rpc="127.0.0.1:1")


def test_what_is_left_out_is_a_warning(model, prompt):
    with pytest.warns(UserWarning, match="not defined"):
        results = model.run(prompt, ml.freeze(range(0, 3)))
    assert results.layers == [1, 2]
