"""midlayer in llama-cpp-python: python host.py libmidlayer_plugin.so plan.json model.gguf PROMPT
prints the likeliest next token and then the logits, one a line."""

import ctypes
import sys

from llama_cpp import Llama, llama_cpp

library, plan, model, prompt = sys.argv[1:5]
midlayer = ctypes.CDLL(library)
midlayer.midlayer_open_file.restype = ctypes.c_void_p
midlayer.midlayer_last_error.restype = ctypes.c_char_p
session = midlayer.midlayer_open_file(plan.encode())
if not session:
    sys.exit(f"midlayer: {midlayer.midlayer_last_error(None).decode()}")

# llama-cpp-python has no argument for the callback: it is put into the parameters that it begins with.
params = llama_cpp.llama_context_default_params()
params.cb_eval = ctypes.cast(midlayer.midlayer_eval_callback, llama_cpp.ggml_backend_sched_eval_callback)
params.cb_eval_user_data = session
llama_cpp.llama_context_default_params = lambda: params
# As exact as it gets, so that the numbers can be compared.
exact = {"type_k": 0, "type_v": 0, "flash_attn": False}
llama = Llama(model, n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False, **exact)

llama.eval(llama.tokenize(prompt.encode(), special=True))
logits = llama_cpp.llama_get_logits_ith(llama.ctx, -1)[: llama.n_vocab()]
print(max(range(len(logits)), key=logits.__getitem__), *map("{:.9g}".format, logits), sep="\n")
