"""midlayer in llama-cpp-python: python host.py libmidlayer_plugin.so plan.json model.gguf PROMPT"""

import ctypes
import sys

from llama_cpp import Llama, llama_cpp

midlayer = ctypes.CDLL(sys.argv[1])
midlayer.midlayer_open_file.restype = ctypes.c_void_p
midlayer.midlayer_last_error.restype = ctypes.c_char_p
session = midlayer.midlayer_open_file(sys.argv[2].encode())
if not session:
    print("midlayer:", midlayer.midlayer_last_error(None).decode(), file=sys.stderr)

defaults = llama_cpp.llama_context_default_params
callback = ctypes.cast(midlayer.midlayer_eval_callback, llama_cpp.ggml_backend_sched_eval_callback)


def with_midlayer():
    params = defaults()
    if session:
        params.cb_eval, params.cb_eval_user_data = callback, session
    return params


llama_cpp.llama_context_default_params = with_midlayer
model = Llama(sys.argv[3], n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
print(repr(model(sys.argv[4], max_tokens=1, temperature=0)["choices"][0]["text"]))
