"""Serves a model as llama-server does until its input ends: python serve.py WHEEL_FOLDER OPTION ...

The options are llama-server's own, and so is what reads them: the wheel has that code, but no way
to it from Python."""

import ctypes
import os
import sys

sys.path.insert(0, sys.argv[1])
import xllamacpp

LLAMA_EXAMPLE_SERVER = 12

params = xllamacpp.CommonParams()
code = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
# bool common_params_parse(int, char **, common_params &, llama_example, void (*)(int, char **))
parse = code._Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E
# One thread: threads that wait for each other spin.
words = ["llama-server", "--ctx-size", "256", "--parallel", "1", "--threads", "1", *sys.argv[2:]]
words = (ctypes.c_char_p * len(words))(*map(os.fsencode, words))
# The C++ object lies behind the head that every object of Python has.
inside = ctypes.c_void_p(id(params) + object.__basicsize__)
if not parse(len(words), words, inside, LLAMA_EXAMPLE_SERVER, None) & 1:
    sys.exit("serve.py: llama-server would refuse these options")
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
# Its own end waits for a thread that does not come.
os._exit(0)
