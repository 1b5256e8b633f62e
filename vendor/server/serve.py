"""Serves a model as llama-server does until its input ends: python serve.py WHEEL_FOLDER model.gguf"""

import os
import sys

sys.path.insert(0, sys.argv[1])
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[2]
params.n_ctx = 256
params.n_parallel = 1
# One thread: threads that wait for each other spin.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
# Its own end waits for a thread that does not come.
os._exit(0)
