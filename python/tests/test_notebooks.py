"""The notebooks run, on tiny models in place of theirs, and are stored as they ran on theirs."""

import os
import re
from pathlib import Path

import pytest

from midlayer.testing import write_tiny_model

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

HERE = Path(__file__).resolve().parent
# Beside the tests, or in the sources.
FOLDERS = [HERE.parent / "notebooks", HERE.parent.parent / "examples" / "notebooks"]
NOTEBOOKS = sorted(next(f for f in FOLDERS if f.is_dir()).glob("*.ipynb"))
MODEL = re.compile(r"smollm2-135m:(q\d_0)")
# Fewer items and layers are enough to see that they run.
SMALLER = {"limit=24": "limit=2", "1-29+2": "1,29", "1-29+3": "4,28", "(0, 30, 3)": "(0, 30, 15)"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model for each level, of as many layers as theirs."""
    folder = tmp_path_factory.mktemp("levels")
    levels = enumerate(["q8_0", "q4_0"])
    return {of: write_tiny_model(folder / f"{of}.gguf", seed=n, n_layer=30) for n, of in levels}


@pytest.fixture
def one_processor():
    """Tiny models lose time with several threads."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    given = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(given)})
    yield
    os.sched_setaffinity(0, given)


def test_there_are_three():
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file, tiny, tmp_path, one_processor):
    notebook = nbformat.read(file, 4)
    replaced = 0
    for cell in notebook.cells:
        cell.source, n = MODEL.subn(lambda found: str(tiny[found[1]]), cell.source)
        replaced += n
        for theirs, ours in SMALLER.items():
            cell.source = cell.source.replace(theirs, ours)
    assert replaced > 0
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=place).execute()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_stored_as_it_ran(file):
    notebook = nbformat.read(file, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert len(outputs) >= 3
    for output in outputs:
        assert output.output_type in ("display_data", "execute_result", "stream"), output
        assert output.get("name") != "stderr", output.get("text")
    assert not re.search(r"/(tmp|home|root|Users|work)/", file.read_text(encoding="utf-8"))
