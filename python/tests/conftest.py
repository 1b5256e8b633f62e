"""Tiny models, made here."""

import pytest

import midlayer as ml
from midlayer.testing import write_tiny_model


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """What midlayer keeps goes to a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDLAYER_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(scope="session")
def model_file(tmp_path_factory, _own_cache):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def model(model_file):
    return ml.Model(str(model_file), ctx_size=256, threads=2)


@pytest.fixture(scope="session")
def prompt(model):
    return model.prompt("The capital of France is")


@pytest.fixture
def told(monkeypatch):
    """What tqdm's bars are told: how much is done, and of how much."""
    auto = pytest.importorskip("tqdm.auto")
    told = []

    class Bar(auto.tqdm):
        def update(self, n=1):
            super().update(n)
            told.append((self.n, self.total))

    monkeypatch.setattr(auto, "tqdm", Bar)
    return told
