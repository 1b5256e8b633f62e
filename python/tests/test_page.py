"""The notebook that the page of `midlayer serve` saves gives the page's numbers."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request

import pytest

import midlayer as ml

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

PROMPT = 'it\'s "abcdefgh"\nand \U0001f999'
ASKED = {
    "freeze": {"manipulate": ["freeze"], "answer": [" x", '"']},
    "inject": {"manipulate": ["inject"], "inject_from": "the xyz", "inject_at": "cde"},
    "stack": {
        "manipulate": ["scale:factor=0.25@1+random"],
        "seed": [4],
        "tokens": "1-5,8",
        "extent": "only",
        "answer": ["y"],
    },
    "keys and values": {"manipulate": ["zero"], "site": "kv", "layers": "0-2", "answer": [" x"]},
    "part of a donor": {
        "manipulate": ["inject"],
        "inject_from": "abcxyzabc",
        "inject_at": "fg",
        "inject_from_at": "xy",
        "answer": ["q"],
    },
}


@pytest.fixture(scope="module")
def address(model_file):
    """Where a page is."""
    command = [sys.executable, "-m", "midlayer", "serve", "-m", str(model_file), "-t", "2"]
    command += ["-c", "256", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        yield served.stdout.readline().strip()
        served.kill()


@pytest.fixture
def asks(address):
    """Asks the API of the page, and returns the lines of its answer."""

    def ask(path, what):
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(address + path, json.dumps(what).encode(), head)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [json.loads(line) for line in answer]

    return ask


@pytest.mark.parametrize("name", ASKED)
def test_a_notebook_gives_the_numbers_of_the_page(asks, name, tmp_path):
    what = {"prompt": PROMPT, **ASKED[name]}
    lines = asks("v1/try", what)
    assert lines[-1]["type"] == "done", lines[-1]
    clean, *cells = [line for line in lines if line["type"] == "cell"]
    cells = {cell["layer"]: cell for cell in cells}
    assert len(cells) >= 3

    # The page's cells, and one more that says what they gave.
    shown = "import json\nprint(r.to_json(), end='')\nprint(json.dumps([r.layers, r.kl.tolist(), "
    shown += "r.answer_probs.tolist(), r.clean_answer_probs.tolist(), r.answer_ranks.tolist()]))"
    sources = [lines[0]["python"], "r.kl, r.answer_probs", shown]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=place).execute()
    printed = "".join(
        output.text for output in notebook.cells[-1].outputs if output.get("name") == "stdout"
    ).splitlines()
    layers, kl, probabilities, clean_probabilities, ranks = json.loads(printed.pop())

    followed = [answer["probability"] for answer in clean["answers"]]
    assert clean_probabilities == followed
    assert sorted(layers) == sorted(cells)
    for n, layer in enumerate(layers):
        cell = cells[layer]
        assert kl[n] == cell["kl"]
        assert probabilities[n] == [answer["probability"] for answer in cell["answers"]]
        assert ranks[n] == [answer["rank"] for answer in cell["answers"]]
    # Whole lines, the ten likeliest tokens among them.
    rows = {row["layer"]: row for row in map(json.loads, printed) if row["manipulation"] != "clean"}
    for layer, cell in cells.items():
        assert rows[layer]["top"] == cell["top"]
        assert rows[layer]["argmax"] == cell["argmax"]


def test_a_saved_notebook_runs(address, asks, tmp_path):
    """The file that a browser saves, as it is."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("there is no Chromium")
    place = tmp_path / "midlayer.ipynb"
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(address + "#prompt=abcdefgh&do=zero&answer=+x")
        save = page.get_by_role("button", name="notebook", exact=True)
        sync_api.expect(page.locator("body")).not_to_have_class(re.compile("busy"), timeout=60_000)
        with page.expect_download() as download:
            save.click(timeout=60_000)
        download.value.save_as(place)
        chromium.close()
    notebook = nbformat.read(place, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = notebook.cells[-1].outputs[-1]["data"]["text/plain"]
    numbers = [float(number) for number in re.findall(r"[0-9.]+(?:e[-+]?[0-9]+)?", shown)]

    what = {"prompt": "abcdefgh", "manipulate": ["zero"], "answer": [" x"]}
    lines = asks("v1/try", what)
    cells = [line for line in lines if line["type"] == "cell"][1:]
    expected = [cell["kl"] for cell in cells]
    expected += [cell["answers"][0]["probability"] for cell in cells]
    assert len(cells) >= 3 and numbers == pytest.approx(expected, rel=1e-6)


def test_what_the_page_says_in_python_is_python(asks):
    lines = asks("v1/try", {"prompt": "abc", "manipulate": ["freeze", "random"], "seed": [1, 2]})
    names = {name for name in dir(ml) if not name.startswith("_")}
    code = lines[0]["python"]
    assert "ml.Model(" in code
    assert {"freeze", "random"} <= names
    assert all(f"ml.{name}(" in code for name in ("freeze", "random"))
