# SPDX-License-Identifier: Apache-2.0
"""Writes expected.h: parameters after five steps of PyTorch's optimizers, and the rates of its schedules. Run it with a
Python that has torch."""

import os
import textwrap
import warnings

import torch
from torch.optim import lr_scheduler as lrs

warnings.simplefilter("ignore")
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
    ("rmsprop", lambda p: torch.optim.RMSprop(p)),
    ("rmsprop_momentum", lambda p: torch.optim.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.8, weight_decay=0.1)),
    ("rmsprop_centered", lambda p: torch.optim.RMSprop(p, lr=0.02, centered=True, maximize=True)),
    ("rmsprop_all", lambda p: torch.optim.RMSprop(p, lr=0.02, eps=1e-4, centered=True, momentum=0.5)),
    ("adagrad", lambda p: torch.optim.Adagrad(p)),
    ("adagrad_all", lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.2, weight_decay=0.1, eps=1e-3,
                                                  initial_accumulator_value=0.5, maximize=True)),
    ("adadelta", lambda p: torch.optim.Adadelta(p)),
    ("adadelta_all", lambda p: torch.optim.Adadelta(p, lr=0.5, rho=0.8, eps=1e-3, weight_decay=0.1, maximize=True)),
    ("adamax", lambda p: torch.optim.Adamax(p)),
    ("adamax_all", lambda p: torch.optim.Adamax(p, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1)),
    ("nadam", lambda p: torch.optim.NAdam(p)),
    ("nadam_all", lambda p: torch.optim.NAdam(p, lr=0.05, betas=(0.8, 0.9), weight_decay=0.1, momentum_decay=0.1)),
    ("nadam_decoupled", lambda p: torch.optim.NAdam(p, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)),
    ("radam", lambda p: torch.optim.RAdam(p)),
    ("radam_all", lambda p: torch.optim.RAdam(p, lr=0.05, betas=(0.8, 0.9), weight_decay=0.1, maximize=True)),
    ("radam_decoupled", lambda p: torch.optim.RAdam(p, lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)),
    ("groups", lambda p: torch.optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.01, "weight_decay": 0.0,
                                                              "momentum": 0.5}], lr=0.1, momentum=0.9,
                                         weight_decay=0.1)),
]
STEPS = 8
RATES = 24

SCHEDULES = [
    ("step", lambda o: lrs.StepLR(o, 3, gamma=0.5)),
    ("step_default", lambda o: lrs.StepLR(o, 7)),
    ("multi_step", lambda o: lrs.MultiStepLR(o, [9, 4, 9, 15], gamma=0.3)),
    ("multi_step_zero", lambda o: lrs.MultiStepLR(o, [0, 2])),
    ("exponential", lambda o: lrs.ExponentialLR(o, 0.9)),
    ("constant", lambda o: lrs.ConstantLR(o)),
    ("constant_long", lambda o: lrs.ConstantLR(o, factor=0.7, total_iters=9)),
    ("linear", lambda o: lrs.LinearLR(o)),
    ("linear_down", lambda o: lrs.LinearLR(o, start_factor=0.9, end_factor=0.0, total_iters=11)),
    ("polynomial", lambda o: lrs.PolynomialLR(o, total_iters=10, power=2.0)),
    ("cosine", lambda o: lrs.CosineAnnealingLR(o, 6, eta_min=0.01)),
    ("cosine_odd", lambda o: lrs.CosineAnnealingLR(o, 7)),
    ("restarts", lambda o: lrs.CosineAnnealingWarmRestarts(o, 5, eta_min=0.02)),
    ("restarts_longer", lambda o: lrs.CosineAnnealingWarmRestarts(o, 3, T_mult=2)),
    ("one_cycle", lambda o: lrs.OneCycleLR(o, 0.4, total_steps=24)),
    ("one_cycle_linear", lambda o: lrs.OneCycleLR(o, 0.4, epochs=5, steps_per_epoch=5, anneal_strategy="linear",
                                                  pct_start=0.4, div_factor=10.0, final_div_factor=100.0,
                                                  base_momentum=0.7, max_momentum=0.8)),
    ("one_cycle_three", lambda o: lrs.OneCycleLR(o, 0.4, total_steps=30, three_phase=True, cycle_momentum=False)),
    ("lambda", lambda o: lrs.LambdaLR(o, lambda t: 1.0 / (1.0 + t))),
    ("sequence", lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, start_factor=0.1, total_iters=4),
                                                lrs.CosineAnnealingLR(o, 12), lrs.ExponentialLR(o, 0.8)], [4, 15])),
    ("sequence_more", lambda o: lrs.SequentialLR(o, [lrs.ConstantLR(o, factor=0.5, total_iters=3),
                                                     lrs.StepLR(o, 2), lrs.CosineAnnealingWarmRestarts(o, 4),
                                                     lrs.LambdaLR(o, lambda t: 1.0 / (1.0 + t))], [3, 9, 16])),
    ("sequence_rest", lambda o: lrs.SequentialLR(o, [lrs.PolynomialLR(o, total_iters=4), lrs.MultiStepLR(o, [0, 2]),
                                                     lrs.LinearLR(o), lrs.ConstantLR(o), lrs.PolynomialLR(o)],
                                                 [5, 9, 13, 18])),
    ("plateau", lambda o: lrs.ReduceLROnPlateau(o, patience=2)),
    ("plateau_max", lambda o: lrs.ReduceLROnPlateau(o, mode="max", factor=0.5, patience=0, threshold=0.1,
                                                    threshold_mode="abs", cooldown=2, min_lr=0.03)),
]


def metric(step):
    return (7 * step % 11) / 4 - step / 8 + 2


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


def rates(make):
    """Of two groups, and the momentum of the first."""
    p = [torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)]
    optimizer = torch.optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.03}], lr=0.2, momentum=0.9)
    schedule = make(optimizer)
    out = []
    for step in range(RATES):
        groups = optimizer.param_groups
        out += [groups[0]["lr"], groups[1]["lr"], groups[0]["momentum"]]
        if isinstance(schedule, lrs.ReduceLROnPlateau):
            schedule.step(metric(step))
        else:
            schedule.step()
    return out


def text(x, digits, suffix):
    x = f"{x:.{digits}g}"
    return (x if "." in x or "e" in x else x + ".0") + suffix


def array(head, values, digits, suffix):
    body = textwrap.fill(", ".join(text(x, digits, suffix) for x in values), 118)
    return f"{head} = {{\n{body}}};\n"


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.h"), "w", encoding="utf-8") as out:
    out.write("/* SPDX-License-Identifier: Apache-2.0 */\n")
    out.write(f"/* Written by record.py with PyTorch {torch.__version__.split('+')[0]}. Parameters after {STEPS} steps; "
              "rates of both groups and momentum\n * before each step of a schedule. */\n/* clang-format off */\n")
    out.write(f"enum {{ STEPS = {STEPS}, RATES = {RATES} }};\n")
    out.write("#ifdef EXPECT_PARAMETERS\n")
    for name, make in CONFIGS:
        out.write(array(f"static const float expected_{name}[]", run(make), 9, "f"))
    out.write("#else\n")
    for name, make in SCHEDULES:
        out.write(array(f"static const double rates_{name}[]", rates(make), 17, ""))
    out.write("#endif\n")
