# SPDX-License-Identifier: Apache-2.0
"""The works of `rushlight bench` under PyTorch, by the same names and the protocol of `rushlight bench --serve`.

usage: torch_worker.py THREADS, then lines "NAME SECONDS" on stdin; answers "NAME NANOSECONDS", of one round, 0 where it
cannot be done. A work is prepared when it is first asked for. Each is a function that makes the inputs and returns what
does one run; every run's result is read.
"""

import sys
import time

import torch
from torch import nn, optim
from torch.nn import functional as F

CHAIN = 100  # rounds of one run of the small works
WORKS = {}


def work(function):
    WORKS[function.__name__] = (function, 1)
    return function


def chain(function):
    """A work whose `step` gives each result to the next call."""

    def prepare():
        x, step = function()

        def run():
            y = x
            for _ in range(CHAIN):
                y = step(y)
            return y

        return run

    WORKS[function.__name__] = (prepare, CHAIN)


# Ops ------------------------------------------------------------------------------------------------------------------


@chain
def op_add_16():
    a, b = torch.randn(16), torch.randn(16)
    return a, lambda x: x + b


@chain
def op_add_16_grad():
    a, b = torch.randn(16, requires_grad=True), torch.randn(16)
    return a, lambda x: x + b


@chain
def op_matmul_4():
    a, b = torch.randn(4, 4), torch.eye(4)
    return a, lambda x: x @ b


@chain
def op_view_slice():
    return torch.randn(8, 8), lambda x: x[0:8].t()


@chain
def tiny_conv():
    a, b = torch.randn(1, 1, 8, 8), torch.randn(1, 1, 3, 3) * 0.25
    return a, lambda x: F.conv2d(x, b, padding=1)


@work
def matmul_256():
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    return lambda: a @ b


@work
def matmul_1024():
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return lambda: a @ b


@work
def add_4m():
    a, b = torch.randn(1 << 22), torch.randn(1 << 22)
    return lambda: a + b


@work
def exp_4m():
    a = torch.randn(1 << 22)
    return lambda: torch.exp(a)


@work
def gelu_chain_4m():
    a = torch.randn(1 << 22)
    return lambda: 0.5 * a * (1.0 + torch.tanh(0.7978845608 * (a + 0.044715 * a * a * a)))


@work
def gelu_chain_4m_eager():
    return gelu_chain_4m()


@work
def sum_dim_4m():
    a = torch.randn(2048, 2048)
    return lambda: a.sum(0)


@work
def transpose_copy_4m():
    a = torch.randn(2048, 2048)
    return lambda: a.t().contiguous()


@work
def softmax_4m():
    a = torch.randn(4096, 1024)
    return lambda: torch.softmax(a, -1)


def forward_backward(function, shape, *leaves):
    """Forward, and backward with a given gradient; the gradient of x."""
    x, g = torch.randn(*shape, requires_grad=True), torch.randn(*function(torch.randn(*shape)).shape)

    def run():
        x.grad = None
        for leaf in leaves:
            leaf.grad = None
        function(x).backward(g)
        return x.grad

    return run


@work
def softmax_fb():
    return forward_backward(lambda x: torch.softmax(x, -1), (4096, 1024))


@work
def layernorm_4m():
    a, norm = torch.randn(4096, 1024), nn.LayerNorm(1024)

    def run():
        with torch.no_grad():
            return norm(a)

    return run


@work
def layernorm_fb():
    norm = nn.LayerNorm(1024)
    return forward_backward(norm, (4096, 1024), *norm.parameters())


@work
def batch_norm_fb():
    norm = nn.BatchNorm2d(32)
    return forward_backward(norm, (64, 32, 28, 28), *norm.parameters())


@work
def max_pool():
    a = torch.randn(64, 32, 28, 28)
    return lambda: F.max_pool2d(a, 2)


@work
def attention():
    q, k, v = (torch.randn(1, 8, 1024, 64) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v)


@work
def attention_fb():
    q, k, v = (torch.randn(1, 8, 1024, 64, requires_grad=True) for _ in range(3))
    g = torch.randn(1, 8, 1024, 64)

    def run():
        q.grad = k.grad = v.grad = None
        F.scaled_dot_product_attention(q, k, v).backward(g)
        return q.grad

    return run


@work
def cross_entropy_fb():
    a, t = torch.randn(256, 10000, requires_grad=True), torch.randint(0, 10000, (256,))

    def run():
        a.grad = None
        F.cross_entropy(a, t).backward()
        return a.grad

    return run


@work
def conv_fb():
    conv, x = nn.Conv2d(64, 64, 3, padding=1), torch.randn(16, 64, 28, 28, requires_grad=True)

    def run():
        conv.zero_grad()
        x.grad = None
        conv(x).sum().backward()
        return x.grad

    return run


# Models ---------------------------------------------------------------------------------------------------------------


def step(optimizer, loss_function):
    def run():
        optimizer.zero_grad()
        loss = loss_function()
        loss.backward()
        optimizer.step()
        return loss

    return run


@work
def seed_step():
    net, criterion = nn.Linear(1, 1), nn.MSELoss()
    x, y = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [4.0], [6.0]])
    return step(optim.SGD(net.parameters(), lr=0.01), lambda: criterion(net(x), y))


@work
def adam_10m():
    p = nn.Parameter(torch.randn(10_000_000))
    p.grad = torch.randn(10_000_000)
    optimizer = optim.AdamW([p], lr=1e-3)

    def run():
        optimizer.step()
        return p

    return run


@work
def mlp_step():
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    x, y = torch.randn(128, 784), torch.randint(0, 10, (128,))
    return step(optim.Adam(net.parameters(), lr=1e-3), lambda: F.cross_entropy(net(x), y))


@work
def cnn_step():
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    return step(optim.SGD(net.parameters(), lr=0.1, momentum=0.9), lambda: F.cross_entropy(net(x), y))


@work
def lstm_step():
    net, x = nn.LSTM(128, 128, batch_first=True), torch.randn(32, 32, 128)
    return step(optim.SGD(net.parameters(), lr=0.1), lambda: net(x)[0].sum())


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.l1, self.l2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.l1(x)).split(width, dim=2)
        q, k, v = (t.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.down(F.gelu(self.up(self.l2(x))))


class GPT(nn.Module):
    def __init__(self, words=96, width=128, heads=4, layers=4, length=64):
        super().__init__()
        self.tok, self.pos = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, tokens):
        x = self.tok(tokens) + self.pos(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


@work
def gpt_step():
    net = GPT()
    tokens, targets = torch.randint(0, 96, (12, 64)), torch.randint(0, 96, (12, 64))
    return step(
        optim.AdamW(net.parameters(), lr=1e-3), lambda: F.cross_entropy(net(tokens).view(-1, 96), targets.view(-1))
    )


@work
def gpt_decode():
    net, tokens = GPT().eval(), torch.randint(0, 96, (1, 64))

    def run():
        with torch.no_grad():
            return net(tokens)

    return run


# The worker -----------------------------------------------------------------------------------------------------------


def read(result):
    result = result.detach()
    while result.dim() > 0 and result.numel() > 1:
        result = result[0]
    result.item()


def measure(run, rounds, seconds):
    """As bench_measure.c has it: a run that does not count, then runs for so long."""
    start = time.perf_counter()
    read(run())
    calls = 0
    if time.perf_counter() - start < seconds:
        start = time.perf_counter()
    else:
        calls = 1
    while True:
        passed = time.perf_counter() - start
        if calls and passed >= seconds:
            return 1e9 * passed / (calls * rounds)
        read(run())
        calls += 1


def main():
    torch.manual_seed(0)
    torch.set_num_threads(int(sys.argv[1]))
    prepared = {}
    for line in sys.stdin:
        name, seconds = line.split()
        cost = 0.0
        if name in WORKS:
            prepare, rounds = WORKS[name]
            if name not in prepared:
                prepared[name] = prepare()
                read(prepared[name]())
            cost = measure(prepared[name], rounds, float(seconds))
        print(name, f"{cost:.1f}", flush=True)


if __name__ == "__main__":
    main()
