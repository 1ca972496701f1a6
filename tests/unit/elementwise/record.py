# SPDX-License-Identifier: Apache-2.0
"""Writes recorded.h: what PyTorch answers, and the gradients it gives, for the calls of test_elementwise.c.
Run it with a Python that has torch."""

import os

import torch
import torch.nn.functional as F

SHAPE = (2, 3)


def f32(f):
    return torch.tensor([f(i) for i in range(6)], dtype=torch.float64).float().reshape(SHAPE)


def i64(f):
    return torch.tensor([f(i) for i in range(6)]).reshape(SHAPE)


def inputs():
    return dict(
        x=f32(lambda i: ((i * 7 + 3) % 11 - 5) / 4 + 0.1).requires_grad_(),
        y=f32(lambda i: ((i * 5 + 2) % 7 + 1) / 3).requires_grad_(),
        u=f32(lambda i: ((i * 3 + 1) % 8 + 0.5) / 9).requires_grad_(),
        m=i64(lambda i: (i * 7 + 3) % 11 - 5),
        n=i64(lambda i: ((i * 5 + 2) % 3 + 1) * (1 if i % 2 else -1)),
        c=i64(lambda i: i % 3) > 0,
        row=f32(lambda i: (i - 2) / 5)[0].clone().requires_grad_(),
        classes=torch.tensor([2, 0]),
        weight=torch.tensor([0.5, 1.0, 2.0]),
    )


CASES = """
add               x.add(row, alpha=2)
sub               x.sub(y, alpha=0.5)
rsub              torch.rsub(x, y)
mul               x * row
div               x / y
div_floor         torch.div(x, y, rounding_mode='floor')
div_trunc         torch.div(x, y, rounding_mode='trunc')
div_integers      m / n
div_floor_integers torch.div(m, n, rounding_mode='floor')
floor_divide      m // n
remainder         torch.remainder(x, y)
remainder_integers torch.remainder(m, n)
fmod              torch.fmod(x, y)
fmod_integers     torch.fmod(m, n)
pow               y ** x
pow_square        x ** 2
pow_half          y ** 0.5
pow_scalar        y ** 1.5
pow_integers      m ** 3
pow_base          torch.pow(2.5, x)
addcmul           torch.addcmul(x, y, u, value=0.5)
addcdiv           torch.addcdiv(x, u, y, value=-2)
lerp              torch.lerp(x, y, 0.25)
lerp_tensor       torch.lerp(x, y, u)
abs               x.abs()
square            x.square()
rsqrt             y.rsqrt()
reciprocal        y.reciprocal()
clamp             x.clamp(-0.5, 0.5)
clamp_tensor      torch.clamp(x, row, y)
maximum           torch.maximum(x, row)
minimum           torch.minimum(x, y)
round             torch.round(x, decimals=1)
frac              x.frac()
exp2              x.exp2()
expm1             x.expm1()
log2              y.log2()
log10             y.log10()
log1p             y.log1p()
logaddexp         torch.logaddexp(x, y)
xlogy             torch.xlogy(x, y)
erf               x.erf()
erfc              x.erfc()
erfinv            u.erfinv()
sigmoid           x.sigmoid()
logit             u.logit(eps=0.25)
sin               x.sin()
tan               u.tan()
asin              u.asin()
acos              u.acos()
atan2             torch.atan2(x, y)
sinh              x.sinh()
tanh              x.tanh()
asinh             x.asinh()
atanh             u.atanh()
where             torch.where(c, x, row)
masked_fill       x.masked_fill(c, 2.5)
relu              F.relu(x)
threshold         F.threshold(x, 0.5, 20)
leaky_relu        F.leaky_relu(x, 0.2)
elu               F.elu(x, 1.5)
selu              F.selu(x)
celu              F.celu(x, 0.5)
silu              F.silu(x)
gelu              F.gelu(x)
gelu_tanh         F.gelu(x, approximate='tanh')
softplus          F.softplus(x, 2, 1)
log_sigmoid       F.logsigmoid(x)
mish              F.mish(x)
softsign          F.softsign(x)
tanhshrink        F.tanhshrink(x)
hardtanh          F.hardtanh(x, -0.5, 0.25)
hardsigmoid       F.hardsigmoid(x)
hardswish         F.hardswish(x)
softshrink        F.softshrink(x, 0.25)
prelu             F.prelu(x, row)
tril              x.tril()
triu              x.triu(1)
mse_loss          F.mse_loss(x, y)
mse_loss_none     F.mse_loss(x, y, reduction='none')
l1_loss           F.l1_loss(x, y, reduction='sum')
smooth_l1_loss    F.smooth_l1_loss(x, y, beta=0.5)
huber_loss        F.huber_loss(x, y, delta=0.5)
binary_cross_entropy F.binary_cross_entropy(u, u.detach().flip(0), weight)
binary_cross_entropy_with_logits F.binary_cross_entropy_with_logits(x, u, pos_weight=weight)
nll_loss          F.nll_loss(x, classes, weight)
cross_entropy     F.cross_entropy(x, classes)
cross_entropy_ignored F.cross_entropy(x, classes, weight, ignore_index=2)
cross_entropy_smoothed F.cross_entropy(x, classes, weight, label_smoothing=0.1)
cross_entropy_probabilities F.cross_entropy(x, u, reduction='sum')
kl_div            F.kl_div(x, u, reduction='batchmean')
"""


def numbers(tensor):
    return ", ".join("%.9g" % v for v in tensor.double().reshape(-1).tolist())


def record(name, expression):
    given = inputs()
    y = eval(expression, {"torch": torch, "F": F}, given)
    if y.requires_grad:
        y.backward(torch.cos(torch.arange(1, y.numel() + 1)).reshape(y.shape))
    lines = ["static const double %s_result[] = {%s};" % (name, numbers(y))]
    for leaf in ("x", "y", "u", "row"):
        grad = given[leaf].grad
        grad = numbers(grad) if grad is not None and bool((grad != 0).any()) else "0"
        lines.append("static const double %s_d%s[] = {%s};" % (name, leaf, grad))
    return lines


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded.h"), "w", encoding="utf-8") as out:
    out.write("/* SPDX-License-Identifier: Apache-2.0 */\n")
    out.write("/* Written by record.py with PyTorch %s: do not edit. */\n" % torch.__version__.split("+")[0])
    out.write("/* clang-format off */\n")
    for line in CASES.strip().splitlines():
        out.write("\n".join(record(*line.split(None, 1))) + "\n")
