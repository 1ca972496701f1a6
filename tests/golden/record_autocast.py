# SPDX-License-Identifier: Apache-2.0
"""Records which dtypes PyTorch gives to the calls of record.py under autocast, for test_autocast.c:

    python3 record_autocast.py > autocast.txt

A line is an op, its arguments, and the dtypes of its results under torch.autocast("cpu", torch.bfloat16) where the
floats of the arguments are f32, and where they are bf16; "-" where PyTorch refuses the call. Calls with floats of a
dtype of their own are left out.
"""
import re
import warnings

import torch
import torch.nn.functional as F

import record as r

# Beside those of record.py: ops whose numbers are compared elsewhere.
MORE = """
conv1d f[1,2,5], f[3,2,3], f[3]
conv2d f[1,2,5,5], f[3,2,3,3], f[3] | f[1,2,5,5], f[3,2,3,3]
conv3d f[1,2,3,3,3], f[3,2,2,2,2]
conv_transpose1d f[1,2,5], f[2,3,3]
conv_transpose2d f[1,2,3,3], f[2,3,3,3], f[3]
conv_transpose3d f[1,2,3,3,3], f[2,3,2,2,2]
scaled_dot_product_attention f[1,2,3,4], f[1,2,3,4], f[1,2,3,4]
avg_pool1d f[1,2,4], [2]
avg_pool2d f[1,2,4,4], [2,2]
avg_pool3d f[1,2,4,4,4], [2,2,2]
max_pool2d f[1,2,4,4], [2,2]
max_pool3d f[1,2,4,4,4], [2,2,2]
adaptive_avg_pool2d f[1,2,4,4], [2,2]
adaptive_avg_pool3d f[1,2,4,4,4], [2,2,2]
cdist f[2,3], f[4,3]
cosine_similarity f[2,3], f[2,3]
pairwise_distance f[2,3], f[2,3]
cosine_embedding_loss f[2,3], f[2,3], i[2]<2
hinge_embedding_loss f[3], i[3]<2
margin_ranking_loss f[3], f[3], i[3]<2
multi_margin_loss f[2,3], i[2]<3
multilabel_margin_loss f[2,3], i[2,3]<3
poisson_nll_loss f[3], f[3]
soft_margin_loss f[3], i[3]<2
triplet_margin_loss f[2,3], f[2,3], f[2,3]
layer_norm f[2,3], [3]
group_norm f[2,4,3], 2
"""


def function_of(name):
    if any(line.startswith(name + " ") for line in MORE.splitlines()) and hasattr(F, name):
        return getattr(F, name)
    return r.OPS.get(name) or getattr(F if name in r.FUNCTIONAL else torch, name, None) or getattr(F, name)


def results(name, text, dtype):
    torch.manual_seed(0)
    positional, named = r.Line(text).arguments()

    def cast(v):
        if isinstance(v, torch.Tensor):
            return v.detach().to(dtype) if v.dtype.is_floating_point else v
        return [cast(x) for x in v] if isinstance(v, list) else v

    function = function_of(name)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = function(*[cast(v) for v in positional], **{k: cast(v) for k, v in named.items()})
    except (RuntimeError, TypeError, IndexError, ValueError):
        return "-"
    return ",".join(r.WORDS[x.dtype] for x in (y if isinstance(y, (tuple, list)) else [y]))


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("# PyTorch %s, recorded by record_autocast.py" % torch.__version__.split("+")[0])
    for line in r.CALLS.strip().splitlines() + MORE.strip().splitlines():
        name, arguments = line.split(" ", 1)
        for text in map(str.strip, arguments.split("|")):
            if not re.search(r"\bf(16|32|64)\[|bf16\[", text) and re.search(r"\b[fpund]\[", text):
                print("|".join((name, text, results(name, text, torch.float32), results(name, text, torch.bfloat16))))


if __name__ == "__main__":
    main()
