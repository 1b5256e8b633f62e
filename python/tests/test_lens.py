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
