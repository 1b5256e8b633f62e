"""The logit lens, generation, sweeps and what they store."""

import json
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

import midlayer as ml


def test_the_lens_is_the_program_s_and_ends_with_the_model_s_word(model, model_file, prompt):
    lens = model.lens(prompt, answer="x")
    n = len(prompt)
    assert lens.ids.shape == lens.probs.shape == lens.entropy.shape == (n, model.n_layer + 1)
    assert lens.layers == list(range(model.n_layer + 1))
    done = subprocess.run(
        [sys.executable, "-m", "midlayer", "map", "--lens", "-m", str(model_file), "-c", "256",
         "-t", "2", "-p", prompt.text, "--answer", "x", "-o", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [json.loads(line) for line in lens.json_lines().splitlines()] == [
        json.loads(line) for line in done.stdout.splitlines()
    ]
    clean = model.run(prompt).clean
    assert lens.ids[-1, -1] == clean["argmax"]["id"]
    assert lens.tokens[-1][-1] == clean["argmax"]["text"]
    np.testing.assert_allclose(lens.probs[-1, -1], clean["argmax"]["probability"], rtol=1e-4)
    assert (lens.answer_ranks >= 1).all() and (lens.answer_probs < 1).all()
    assert lens._repr_html_().startswith("<svg")
    with pytest.raises(ml.UsageError, match="2 tokens"):
        model.lens(prompt, answer="xy")


def test_generation_is_the_run_s(model, prompt):
    clean = model.generate(prompt, max_tokens=6)
    assert clean == model.run(prompt, generate=6).clean["generated"]["text"]
    frozen = model.generate(prompt, ml.zero(1), max_tokens=6)
    assert frozen == model.run(prompt, ml.zero(1), generate=6)[0]["generated"]["text"]
    with pytest.raises(ml.UsageError, match="single layer"):
        model.generate(prompt, ml.freeze())


@pytest.fixture(scope="module")
def swept(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    records = folder / "mine.jsonl"
    lines = [{"question": f"What is {n}?", "answer": str(n), "subject": str(n)} for n in range(4)]
    records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = folder / "out"
    return ml.sweep(model, [str(records)], [ml.freeze([1, 3])], out=out, no_selftest=True)


def test_a_sweep_and_its_rows(swept):
    rows = list(swept.records())
    # Clean, clean again for the noise floor, and two layers.
    assert {row["manipulation"] for row in rows} >= {"freeze"}
    frozen = [row for row in rows if row["manipulation"] == "freeze"]
    assert sorted({row["layer"] for row in frozen}) == [1, 3] and len(frozen) == 8
    assert swept.missing is None
    pytest.importorskip("pyarrow")
    frame = ml.Run.open(swept.folder).rows
    assert len(frame) == len(rows)


def test_a_sweep_s_scores_and_their_picture(swept):
    clean, *rows = swept.scores
    assert (clean["manipulation"], clean["layer"], clean["items"]) == ("clean", None, 4)
    frozen = [row for row in swept.records() if row["manipulation"] == "freeze"]
    for row in rows:
        of = [line["score"] for line in frozen if line["layer"] == row["layer"]]
        assert row["score"] == np.mean(of) and row["low"] <= row["score"] <= row["high"]
    assert [row["layer"] for row in rows] == [1, 3]
    pytest.importorskip("matplotlib").use("agg")
    axes = swept.plot()
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["freeze"].get_xdata().tolist() == [1, 3]
    assert lines["freeze"].get_ydata().tolist() == [row["score"] for row in rows]


def test_a_sweep_s_rows_as_arrow(swept):
    pyarrow, polars = pytest.importorskip("pyarrow"), pytest.importorskip("polars")
    table = pyarrow.table(swept)
    assert table["item"].to_pylist() == [row["item"] for row in swept.records()]
    assert polars.DataFrame(swept).equals(swept.to_polars())


def test_a_sweep_tells_how_far_it_is(model, tmp_path, told):
    ml.sweep(model, "capitals", ml.freeze(1), out=tmp_path / "x", no_selftest=True, limit=2,
             shots=0, progress=True)  # fmt: skip
    assert told and all(0 <= n <= total for n, total in told)


def test_a_sweep_notes_the_program_s_command(swept):
    database = sqlite3.connect(f"file:{swept.folder}/results.sqlite?mode=ro", uri=True)
    (command,) = database.execute("SELECT value FROM meta WHERE key = 'command'").fetchone()
    assert command.startswith("midlayer sweep ")


def test_a_sweep_s_report(swept):
    [found] = swept.transitions
    assert found["task"] == "mine" and found["manipulation"] == "freeze" and found["items"] == 4
    assert "mine" in repr(swept.report())
    assert "<svg" in swept._repr_html_() and "<script" not in swept._repr_html_()
    assert repr(swept).startswith("Run(")


def test_sweeps_that_cannot_be_meant(model, tmp_path):
    with pytest.raises(ml.UsageError, match="one by one"):
        ml.sweep(model, "capitals", ml.freeze(1) + ml.zero(2), out=tmp_path / "x")
    with pytest.raises(ml.UsageError, match="nonsense"):
        ml.sweep(model, "nonsense", ml.freeze(1), out=tmp_path / "x")
    with pytest.raises(ml.StoreError):
        ml.Run.open(os.fspath(tmp_path))


def test_a_map_is_the_program_s(model, model_file, prompt):
    found = model.map(prompt, ml.random(), answer="x")
    done = subprocess.run(
        [sys.executable, "-m", "midlayer", "map", "-m", str(model_file), "-c", "256", "-t", "2",
         "-p", prompt.text, "--answer", "x", "--manipulate", "random", "-o", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    assert [json.loads(line) for line in found.json_lines().splitlines()] == expected
    n = len(prompt) - 1
    assert found.values.shape == (n, model.n_layer) == (len(found.tokens), len(found.layers))
    assert sorted(row["value"] for row in expected) == sorted(found.values.ravel())
    assert found._repr_html_().startswith("<svg")
    some = model.map(prompt, ml.zero([1, 2], tokens="3-5"), kl=True)
    assert some.values.shape == (3, 2) and (some.values >= 0).all()
    with pytest.raises(ml.UsageError, match="not several"):
        model.map(prompt, ml.zero(1) + ml.freeze(2))


def program(model_file, *arguments):
    """The rows that `midlayer map` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "midlayer", "map", "-m", str(model_file), "-c", "256", "-t", "2",
         *arguments, "-o", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows_of(found):
    return [json.loads(line) for line in found.json_lines().splitlines()]


def test_a_map_by_head_is_the_program_s(model, model_file, prompt):
    found = model.map(prompt, ml.zero(tokens="skip:2"), answer="x", heads=True)
    assert rows_of(found) == program(
        model_file, "-p", prompt.text, "--answer", "x", "--manipulate", "zero", "--heads",
        "--tokens", "skip:2",
    )  # fmt: skip
    assert found.rows == [f"head {n}" for n in range(len(found.rows))] and len(found.rows) > 1
    assert (found.positions, found.tokens, found.items) == ([], [], {})
    # Nothing reads what the last layer's heads add to prior tokens.
    assert np.isnan(found.values[:, -1]).all() and not np.isnan(found.values[:, :-1]).any()
    assert "heads" in repr(found)
    with pytest.raises(ml.UsageError, match="one by one"):
        model.map(prompt, ml.zero(site="mlp_out"), heads=True)


def test_a_map_that_restores_is_the_program_s(model, model_file, prompt):
    found = model.map(prompt, answer="x", corrupt="4-9", seed=[1, 2])
    assert rows_of(found) == program(
        model_file, "-p", prompt.text, "--answer", "x", "--corrupt", "4-9", "--seed", "1,2"
    )
    assert found.corrupted is not None and found.corrupted != found.clean
    assert model.map(prompt, ml.zero(1), answer="x").corrupted is None
    first = model.map(prompt, ml.inject(1), answer="x", corrupt=range(4, 10), corrupt_by="zero")
    assert first.values.shape == (len(prompt) - 1, 1)
    with pytest.raises(ml.UsageError, match="without a donor"):
        model.map(prompt, ml.zero(), corrupt="4-9")


def test_maps_of_a_task_are_the_program_s(model, model_file):
    given = {"limit": 3, "shots": 0, "corrupt": "subject"}
    with pytest.warns(UserWarning, match="capitals: 3 items; .* left out"):
        found = model.map_task("capitals", ml.inject("0-2"), **given)
    assert rows_of(found) == program(
        model_file, "--task", "capitals", "--limit", "3", "--shots", "0", "--corrupt", "subject",
        "--layers", "0-2",
    )  # fmt: skip
    assert "subject last" in found.rows and found.values.shape == (len(found.rows), 3)
    last = found.rows.index("subject last")
    assert (found.low[last] <= found.values[last]).all()
    assert (found.values[last] <= found.high[last]).all()
    assert len(found.items) == 3 and "3 items" in repr(found)
    one = next(iter(found.items.values()))
    assert len(one.roles) == len(one.tokens) == len(one.rows) == len(one.values)
    others = [item.values[[r == "before" for r in item.roles]] for item in found.items.values()]
    mean = np.mean([rows.mean(axis=0) for rows in others], axis=0)
    np.testing.assert_allclose(found.values[found.rows.index("before")], mean)
    heads = model.map_task("math", ml.zero(1), limit=2, shots=0, heads=True, kl=True)
    assert heads.rows[0] == "head 0" and (heads.values >= 0).all()
    pytest.importorskip("matplotlib").use("agg")
    assert len(found.plot().get_yticklabels()) == len(found.rows)
    with pytest.raises(ml.UsageError, match="not a task"):
        model.map_task("nonsense")


def test_items_of_a_task_have_foils_and_data(model, model_file, tmp_path):
    given = {"limit": 3, "shots": 0, "heads": True}
    with pytest.warns(UserWarning, match="left out"):
        found = model.map_task("capitals", ml.zero("0-2"), foil=True, **given)
    command = ["--task", "capitals", "--limit", "3", "--shots", "0", "--heads"]
    command += ["--manipulate", "zero", "--layers", "0-2"]
    assert rows_of(found) == program(model_file, *command, "--foil")
    assert found.measure == "logit of the answer less that of the foil"
    with pytest.warns(UserWarning, match="left out"):
        found = model.map_task("capitals", ml.zero("0-2"), foil="Rome", **given)
    assert rows_of(found) == program(model_file, *command, "--foil", " Rome")
    with pytest.raises(ml.UsageError, match="it has no foil"):
        model.map_task("math", ml.zero(1), foil=True, **given)
    with pytest.raises(ml.UsageError, match="leave out"):
        model.map_task("capitals", ml.zero(1), foil=True, kl=True, **given)

    answer = {"text": "The sky", "answer_start": 0}
    asked = {"id": "sky", "question": "What is blue?", "answers": [answer]}
    passage = {"context": "The sky is blue.", "qas": [asked]}
    data = tmp_path / "own.json"
    data.write_text(json.dumps({"data": [{"title": "t", "paragraphs": [passage]}]}))
    longer = ml.Model(str(model_file), ctx_size=1024, threads=2)
    found = longer.map_task("squad", ml.zero(1), data=data, **given)
    assert list(found.items) == ["sky"]
    with pytest.raises(ml.UsageError, match="math reads no data, squad and cnn_dailymail do"):
        model.map_task("math", ml.zero(1), data=data, **given)


def test_the_last_layer_s_sums_are_captured(model, prompt):
    n = model.n_layer
    states = model.capture(prompt, sites=["resid_pre", "attn_out", "mlp_out"])
    assert all(array.shape == (n, len(prompt), model.width) for array in states.values())
    added = states["attn_out"] + states["mlp_out"]
    below = states["resid_pre"][:-1] + added[:-1]
    np.testing.assert_allclose(states["resid_pre"][1:], below, atol=1e-3)
    assert (np.abs(added[-1]).max(axis=-1) > 0).all()
