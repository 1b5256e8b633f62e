"""What results look like."""

import xml.etree.ElementTree as ET

import pytest

import midlayer as ml


@pytest.fixture(scope="module")
def results(model, prompt):
    return model.run(prompt, [ml.freeze(), ml.random(2)], answers=["<b>"])


def test_reprs_tell_what_they_are(model, prompt, results):
    assert "4 layers of width 64" in repr(model)
    assert repr(prompt).startswith('Prompt("The capital of France is", ')
    text = repr(results)
    assert text.splitlines()[0].split()[:2] == ["manipulation", "layer"]
    assert len(text.splitlines()) == 1 + 1 + 3 + 1
    made = ml.inject(8, donor="Italy", at=" France") + ml.scale(range(1, 5), factor=2)
    assert repr(made) == (
        'midlayer.inject(8, donor="Italy", at=" France") + midlayer.scale("1-4+1", factor=2)'
    )


def test_html_has_a_picture_and_no_script(results):
    page = results._repr_html_()
    tree = ET.fromstring(page)
    names = {element.tag.split("}")[-1] for element in tree.iter()}
    assert "svg" in names and "table" in names and "script" not in names
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert len(tree.findall(".//tbody/tr")) == 1 + 3 + 1


def test_one_run_has_no_picture(model, prompt):
    page = model.run(prompt, ml.freeze(2))._repr_html_()
    assert "<svg" not in page and "<table>" in page


def test_pandas(results):
    pandas = pytest.importorskip("pandas")
    frame = results.to_pandas()
    assert list(frame.manipulation) == ["clean", "freeze", "freeze", "freeze", "random"]
    assert frame.layer.isna().tolist() == [True, False, False, False, False]
    assert frame.prob[1:].tolist() == results.answer_probs[:, 0].tolist()
    assert isinstance(frame, pandas.DataFrame)


def test_polars(results):
    pytest.importorskip("polars")
    frame = results.to_polars()
    assert frame["layer"].to_list() == [None, 1, 2, 3, 2]
    assert frame["kl"].to_list()[1:] == results.kl.tolist()


def test_plot(results):
    pytest.importorskip("matplotlib").use("agg")
    axes = results.plot()
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["'<b>' freeze"].get_xdata().tolist() == [1, 2, 3]
    assert lines["'<b>' freeze"].get_ydata().tolist() == results.answer_probs[:3, 0].tolist()
    assert axes.get_xlabel() == "manipulated layer k"
