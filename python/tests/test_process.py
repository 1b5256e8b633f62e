"""Threads, signals, forks, other libraries."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import midlayer as ml


def python(code, *arguments, **environment):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_threads_wait_for_each_other(model, prompt):
    expected = model.run(prompt, ml.freeze()).logits
    found = []

    def work():
        found.append(model.run(prompt, ml.freeze(), progress=False).logits)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for logits in found:
        np.testing.assert_array_equal(logits, expected)


def test_the_gil_is_free_while_it_computes(model, prompt):
    ticks = 0
    over = threading.Event()

    def tick():
        nonlocal ticks
        while not over.wait(0.0005):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    model.run(prompt, [ml.random(seed=list(range(40)))], progress=False)
    over.set()
    thread.join()
    assert ticks > 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_refused_and_spawn_works(model, model_file, prompt):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            model.run(prompt, ml.freeze(1))
            text = "it ran"
        except ml.EngineError as error:
            text = str(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    os.waitpid(child, 0)
    assert "fork" in text and "spawn" in text
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(_argmax, [str(model_file)])
    assert there == int(model.run(prompt).clean_logits.argmax())


def _argmax(model_file):
    model = ml.Model(model_file, ctx_size=256, threads=2)
    return int(model.run("The capital of France is").clean_logits.argmax())


def test_ctrl_c_stops_a_run_and_the_next_is_whole(model_file):
    done = python(
        """
        import signal, sys, threading, time, os
        import numpy as np
        import midlayer as ml
        model = ml.Model(sys.argv[1], ctx_size=2048, threads=1)
        prompt = model.prompt("x" * 1000)
        before = model.run(prompt, ml.freeze(2), progress=False).logits
        begun = threading.Event()
        def press(n, total):
            begun.set()
        def later():
            begun.wait()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=later).start()
        try:
            model._run(prompt, [ml.random(seed=list(range(2000)))], [], [], None, True, 0, press)
        except KeyboardInterrupt:
            print("stopped")
        after = model.run(prompt, ml.freeze(2), progress=False).logits
        print((before == after).all())
        """,
        model_file,
    )
    assert done.stdout.split() == ["stopped", "True"], done.stderr


def test_an_exception_in_progress_comes_out_whole(model, prompt):
    before = model.run(prompt, ml.freeze()).logits

    def fails(n, total):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        model._run(prompt, [ml.freeze()], [], [], None, True, 0, fails)
    np.testing.assert_array_equal(model.run(prompt, ml.freeze()).logits, before)


def test_a_model_asked_from_within_is_an_error(model, prompt):
    def asks(n, total):
        model.run(prompt)

    with pytest.raises(ml.EngineError, match="cannot ask the same model"):
        model._run(prompt, [ml.freeze()], [], [], None, True, 0, asks)


OTHERS = {
    "numpy": "a = np.ones((300, 300)); assert (a @ a == 300).all()",
    "torch": "import torch; a = torch.ones(300, 300); assert (a @ a == 300).all()",
    "llama_cpp": "import llama_cpp as it; assert it.llama_print_system_info()",
}


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("other", OTHERS)
def test_beside_another_library(model, model_file, prompt, other, order):
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    own = "import midlayer as ml; model = ml.Model(sys.argv[1], ctx_size=256, threads=2)"
    there = OTHERS[other]
    steps = [there, own] if order == "before" else [own, there]
    run = "model.run(sys.argv[2], ml.freeze(), progress=False).logits.tobytes().hex()"
    code = ["import sys; import numpy as np", *steps, f"print({run})", there, f"print({run})"]
    done = python("\n".join(code), model_file, prompt.text)
    expected = model.run(prompt, ml.freeze(), progress=False).logits.tobytes().hex()
    assert done.stdout.split() == [expected, expected], done.stderr


def test_the_environment_is_left_as_it_was():
    code = """
        import os, sys
        before = dict(os.environ), sys.getdlopenflags()
        import midlayer
        print(before == (dict(os.environ), sys.getdlopenflags()))
    """
    assert python(code).stdout.strip() == "True"


def test_the_program_comes_along(model_file):
    done = subprocess.run(
        [sys.executable, "-m", "midlayer", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith("midlayer ")
    done = subprocess.run(
        [sys.executable, "-m", "midlayer", "try"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "Usage" in done.stderr
    script = os.path.join(os.path.dirname(sys.executable), "midlayer")
    done = subprocess.run(
        [script, "tokens", "-m", str(model_file), "-p", "ab"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "prior" in done.stdout
