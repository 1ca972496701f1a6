# SPDX-License-Identifier: Apache-2.0
"""Writes exact.h: parameters after five steps of PyTorch's fused optimizers, to the bit. Run it with a Python that has
torch, on a processor with FMA."""

import os

import torch

CONFIGS = [
    ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, fused=True)),
    ("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01, fused=True)),
    ("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True, fused=True)),
    ("adam", lambda p: torch.optim.Adam(p, fused=True)),
    ("adam_decay", lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, fused=True)),
    ("adam_amsgrad", lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True, fused=True)),
    ("adamw", lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.3, maximize=True, fused=True)),
]
COUNT, STEPS = 64, 5


def number(i, step):
    """A fraction that fills the mantissa, made exactly alike in C."""
    x = (i * 2654435761 + step * 40503 + 12345) % 2**32
    x = (x ^ (x >> 15)) * 2246822519 % 2**32
    return ((x ^ (x >> 13)) % 2**24 - 2**23) / 2**22


def run(make):
    p = torch.tensor([number(i, 0) for i in range(COUNT)]).requires_grad_()
    optimizer = make([p])
    for step in range(1, STEPS + 1):
        p.grad = torch.tensor([number(i, step) for i in range(COUNT)])
        optimizer.step()
    return [float.hex(x) + "f" for x in p.detach().tolist()]


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "exact.h"), "w", encoding="utf-8") as out:
    out.write("/* SPDX-License-Identifier: Apache-2.0 */\n")
    out.write(f"/* Written by record_exact.py with PyTorch {torch.__version__.split('+')[0]}: do not edit. */\n")
    out.write("/* clang-format off */\n")
    for name, make in CONFIGS:
        out.write(f"static const float exact_{name}[] = {{{', '.join(run(make))}}};\n")
