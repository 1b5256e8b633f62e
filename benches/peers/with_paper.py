"""Freeze by the code that the paper's authors published, in a folder named by PAPER_CODE (arXiv
2409.03621; its README says where it is, and commit ec54e16 is what was measured).
"""

import os
import sys
from pathlib import Path

import torch
from common import THREADS, Asked, measure

sys.path.insert(0, os.environ["PAPER_CODE"])


class Paper:
    def __init__(self, asked: Asked) -> None:
        import transformers
        from convert_models.convert_models import enable_manipulated_gen

        torch.set_grad_enabled(False)
        torch.set_num_threads(THREADS)
        path = Path(asked.gguf).resolve()
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.model = load(path.parent, gguf_file=path.name, torch_dtype=torch.float32).eval()
        self.model.lm_head.weight = self.model.model.embed_tokens.weight
        enable_manipulated_gen(self.model)
        self.asked = asked

    def freeze(self):
        ids = torch.tensor([self.asked.long])
        found = []
        for k in range(1, self.model.config.num_hidden_layers):
            how = {"manipulation_type": "freeze", "manipulation_layer": k}
            found.append(self.model(ids, **how)[0][0, -1])
        return torch.stack(found)


if __name__ == "__main__":
    measure(Paper)
