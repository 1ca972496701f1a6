# SPDX-License-Identifier: Apache-2.0
"""Writes expected.h: parameters after five steps of PyTorch's optimizers. Run it with a Python that has torch."""

import os

import torch

CONFIGS = [
    ("sgd", lambda p: torch.optim.SGD(p, lr=0.1)),
    ("sgd_momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    ("sgd_dampening", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01)),
    ("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)),
    ("sgd_maximize", lambda p: torch.optim.SGD(p, lr=0.1, maximize=True)),
    ("adam", lambda p: torch.optim.Adam(p)),
    ("adam_decay", lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1)),
    ("adam_amsgrad", lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True)),
    ("adamw", lambda p: torch.optim.AdamW(p, lr=0.05)),
    ("adamw_decay", lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.3, maximize=True)),
]
STEPS = 5


def gradient(step, count):
    return torch.tensor([((i * 7 + step * 3) % 11 - 5) / 8 for i in range(count)])


def run(make):
    parameters = [
        torch.tensor([(i - 2) / 4 for i in range(6)]).reshape(2, 3).requires_grad_(),
        torch.tensor([(i - 2) / 4 for i in range(4)]).requires_grad_(),
    ]
    optimizer = make(parameters)
    for step in range(STEPS):
        for p in parameters:
            p.grad = gradient(step, p.numel()).reshape(p.shape)
        optimizer.step()
    return [x for p in parameters for x in p.detach().reshape(-1).tolist()]


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.h"), "w", encoding="utf-8") as out:
    out.write("/* SPDX-License-Identifier: Apache-2.0 */\n")
    out.write(f"/* Written by record.py with PyTorch {torch.__version__.split('+')[0]}: parameters after {STEPS} steps. */\n")
    for name, make in CONFIGS:
        values = ", ".join(f"{x:.9g}f" if "." in f"{x:.9g}" or "e" in f"{x:.9g}" else f"{x:.9g}.0f" for x in run(make))
        out.write(f"static const float expected_{name}[] = {{{values}}};\n")
