"""What results look like."""

import sys
import xml.etree.ElementTree as ET

import numpy as np
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
    assert frame.seed.tolist()[-1] == 1 and frame.dtypes["seed"] == "UInt64"


def test_polars(results):
    pytest.importorskip("polars")
    frame = results.to_polars()
    assert frame["layer"].to_list() == [None, 1, 2, 3, 2]
    assert frame["kl"].to_list()[1:] == results.kl.tolist()


def test_arrow(results):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(results)
    assert table["layer"].to_pylist() == [None, 1, 2, 3, 2]
    assert table["prob"].to_pylist()[1:] == results.answer_probs[:, 0].tolist()
    assert table.schema.field("seed").type == pyarrow.uint64()
    polars = pytest.importorskip("polars")
    assert polars.DataFrame(results).equals(results.to_polars())


def test_arrow_without_pyarrow(results, hidden):
    polars = pytest.importorskip("polars")
    whole = polars.DataFrame(results)
    hidden("pyarrow")
    assert polars.DataFrame(results).equals(whole)


@pytest.fixture
def hidden(monkeypatch):
    """Hides a package, as if it were not installed."""

    def hide(package):
        for name in [package, *sys.modules]:
            if name.partition(".")[0] == package:
                monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize(
    ("use", "packages", "extra"),
    [
        (lambda r: r.plot(), ["matplotlib"], "plot"),
        (lambda r: r.to_pandas(), ["pandas"], "pandas"),
        (lambda r: r.to_polars(), ["polars"], "polars"),
        (lambda r: r.__arrow_c_stream__(), ["pyarrow", "polars"], "arrow"),
    ],
)
def test_what_is_not_installed_is_named(results, hidden, use, packages, extra):
    for package in packages:
        hidden(package)
    with pytest.raises(ImportError, match=f"pip install {packages[0]} .*extra `{extra}`"):
        use(results)


def test_plot(results):
    pytest.importorskip("matplotlib").use("agg")
    axes = results.plot()
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["'<b>' freeze"].get_xdata().tolist() == [1, 2, 3]
    assert lines["'<b>' freeze"].get_ydata().tolist() == results.answer_probs[:3, 0].tolist()
    assert axes.get_xlabel() == "manipulated layer k"


def test_pictures_of_maps_and_lenses(model, prompt):
    pytest.importorskip("matplotlib").use("agg")
    found = model.map(prompt, ml.zero([1, 2], tokens="3-5"), answer="x")
    axes = found.plot()
    np.testing.assert_array_equal(axes.images[0].get_array(), found.values)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2"]
    lens = model.lens(prompt, answer="x")
    axes = lens.plot()
    np.testing.assert_array_equal(axes.images[0].get_array(), lens.answer_probs)
    assert len(axes.texts) == lens.ids.size and len(axes.get_yticks()) == len(prompt)
    assert lens.prompt_tokens == prompt.tokens
    axes = model.lens(prompt).plot(axes)
    np.testing.assert_array_equal(axes.images[-1].get_array(), model.lens(prompt).probs)


def test_progress(model, prompt, told, hidden):
    model.run(prompt, ml.freeze(), progress=True)
    assert told[-1] == (4, 4)
    model.map(prompt, ml.zero([1, 2], tokens="3-5"), progress=True)
    assert told[-1][0] == told[-1][1] > 4
    before = list(told)
    model.run(prompt, ml.freeze(), progress=False)
    hidden("tqdm")
    model.run(prompt, ml.freeze())
    assert told == before
    with pytest.raises(ImportError, match="extra `progress`"):
        model.run(prompt, ml.freeze(), progress=True)
