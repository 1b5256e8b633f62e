"""Python functions on states, and states as arrays."""

import numpy as np
import pytest

import midlayer as ml


def test_a_hook_that_does_nothing_gives_equal_bits(model, prompt):
    clean = model.run(prompt, ml.itself(2))
    seen = []

    def look(layer, positions, rows):
        seen.append((layer, positions.tolist(), rows.shape, rows.dtype, rows.flags.writeable))

    found = model.run(prompt, hooks={2: look})
    np.testing.assert_array_equal(found.logits, clean.logits)
    n = len(prompt) - 1
    assert seen == [(2, list(range(n)), (n, model.width), np.float32, True)]
    assert found.names == ["hooks"] and found.layers == [2]


def test_in_place_and_returned_and_the_table_s_own_are_the_same(model, prompt):
    expected = model.run(prompt, ml.scale(2, factor=0.5)).logits

    def halve(layer, positions, rows):
        rows *= 0.5

    for hook in (halve, lambda layer, positions, rows: rows * 0.5,
                 lambda layer, positions, rows: (rows * 0.5).astype(np.float64)):  # fmt: skip
        np.testing.assert_array_equal(model.run(prompt, hooks={2: hook}).logits, expected)
    both = model.run(prompt, ml.scale(1, factor=0.5) + ml.scale(2, factor=0.5)).logits
    np.testing.assert_array_equal(model.run(prompt, hooks={1: halve, 2: halve}).logits, both)
    np.testing.assert_array_equal(
        model.run(prompt, ml.scale(1, factor=0.5), hooks={2: halve}).logits, both
    )


def test_a_hook_gets_what_capture_gets(model, prompt):
    kept = []
    model.run(prompt, hooks={2: lambda layer, positions, rows: kept.append(rows)})
    states = model.capture(prompt, 2)["resid_pre"]
    np.testing.assert_array_equal(kept[0], states[0, :-1])


def test_an_exception_comes_out_whole_and_the_next_call_is_the_same(model, prompt):
    before = model.run(prompt, ml.freeze()).logits
    raised = ZeroDivisionError("mine")

    def fails(layer, positions, rows):
        rows[:] = 0
        raise raised

    with pytest.raises(ZeroDivisionError) as caught:
        model.run(prompt, hooks={1: fails})
    assert caught.value is raised and caught.traceback[-1].name == "fails"
    np.testing.assert_array_equal(model.run(prompt, ml.freeze()).logits, before)


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (lambda layer, positions, rows: rows[:-1], "shape"),
        (lambda layer, positions, rows: rows.T, "shape"),
        (lambda layer, positions, rows: rows * np.nan, "NaN, and states are finite"),
        (lambda layer, positions, rows: rows + np.inf, "finite"),
        (lambda layer, positions, rows: "x", "gave no array"),
    ],
)
def test_what_is_no_state_is_an_error(model, prompt, hook, text):
    with pytest.raises(ml.HookError, match=text):
        model.run(prompt, hooks={1: hook})


def test_rows_that_are_kept_can_be_read_and_not_written(model, prompt):
    kept = []
    model.run(prompt, hooks={1: lambda layer, positions, rows: kept.append(rows)})
    assert np.isfinite(kept[0]).all()
    with pytest.raises(ValueError, match="read-only"):
        kept[0][0, 0] = 1


def test_a_hook_cannot_ask_its_own_model(model, prompt):
    with pytest.raises(ml.EngineError, match="cannot ask the same model"):
        model.run(prompt, hooks={1: lambda layer, positions, rows: model.run(prompt)})


def test_a_layer_that_there_is_not(model, prompt):
    with pytest.raises(ml.UsageError, match="out of range"):
        model.run(prompt, hooks={4: lambda *_: None})
    with pytest.raises(ml.UsageError, match="out of range"):
        model.capture(prompt, 4)


def test_captured_states(model, prompt):
    found = model.capture(prompt, layers=[3, 0], sites=["resid_pre", "k", "v"])
    n = len(prompt)
    assert list(found) == ["resid_pre", "k", "v"]
    assert found["resid_pre"].shape == (2, n, model.width)
    assert found["k"].shape == found["v"].shape and found["k"].shape[:2] == (2, n)
    alone = model.capture(prompt, 0)["resid_pre"]
    np.testing.assert_array_equal(alone[0], found["resid_pre"][1])
    # Each state put in place of itself changes nothing, another one does.
    states = found["resid_pre"][0]
    put = model.run(prompt, hooks={3: lambda layer, at, rows: states[at]})
    assert put.kl[0] < 1e-6
    other = model.run(prompt, hooks={3: lambda layer, at, rows: alone[0][at]})
    assert other.kl[0] > 1e-6
    assert model.capture(prompt)["resid_pre"].shape[0] == model.n_layer
    with pytest.raises(ml.UsageError, match="not a site"):
        model.capture(prompt, 0, "x")
    assert model.capture(prompt, 0, "heads")["heads"].shape[:2] == (1, n)
    with pytest.raises(ml.UsageError, match="all heads of a layer are captured"):
        model.capture(prompt, 0, "heads:1")


def test_arrays_go_to_others_without_a_copy(model, prompt):
    states = model.capture(prompt, [0, 1])["resid_pre"]
    again = np.from_dlpack(states)
    assert np.shares_memory(states, again)


def test_many_prompts_are_captured_as_one_is(model, prompt):
    texts = [prompt, "ab", "A longer text with more tokens than those.", "ab"]
    sites = ["resid_pre", "attn_out", "v"]
    together = model.capture_many(texts, [0, 2, model.n_layer - 1], sites)
    assert len(together) == len(texts)
    for text, found in zip(texts, together, strict=True):
        alone = model.capture(text, [0, 2, model.n_layer - 1], sites)
        for site in sites:
            assert found[site].shape == alone[site].shape
            assert np.allclose(found[site], alone[site], rtol=0, atol=2e-2)
    assert not np.allclose(together[1]["v"][0, -1], together[2]["v"][0, -1], atol=0.1)
    assert model.capture_many([]) == []
    with pytest.raises(ml.UsageError, match="layer 99"):
        model.capture_many(texts, 99)
