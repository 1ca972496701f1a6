# SPDX-License-Identifier: Apache-2.0
"""The same work as bench.c under PyTorch, by the same protocol: lines "NAME SECONDS" in, "NAME NANOSECONDS" out."""

import math
import sys
import time

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(int(sys.argv[1]))

small = [torch.randn(16) for _ in range(2)]
large = [torch.randn(4_000_000) for _ in range(2)]
squares = {n: [torch.randn(n, n) for _ in range(2)] for n in (256, 1024)}

classic_net = nn.Linear(1, 1)
classic_optimizer = torch.optim.SGD(classic_net.parameters(), lr=0.01)
classic_x = torch.tensor([[1.0], [2.0], [3.0]])
classic_y = torch.tensor([[2.0], [4.0], [6.0]])

mlp_net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
mlp_optimizer = torch.optim.Adam(mlp_net.parameters(), lr=1e-3)
mlp_x = torch.randn(128, 784)
mlp_y = torch.arange(128) % 10


def add16():
    for _ in range(100):
        small[0] + small[1]


kept = None


def add_4m_kept():
    global kept
    kept = large[0] + large[1]


def gelu_4m():
    x = large[0]
    inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
    return x * 0.5 * (torch.tanh(inner) + 1.0)


def step(net, optimizer, loss_function, x, y):
    loss = loss_function(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


WORKS = {
    "add16": (add16, 100),
    "classic_step": (lambda: step(classic_net, classic_optimizer, nn.functional.mse_loss, classic_x, classic_y), 1),
    "matmul_256": (lambda: squares[256][0] @ squares[256][1], 1),
    "matmul_1024": (lambda: squares[1024][0] @ squares[1024][1], 1),
    "add_4m": (lambda: large[0] + large[1], 1),
    "add_4m_kept": (add_4m_kept, 1),
    "gelu_4m": (gelu_4m, 1),
    "mlp_step": (lambda: step(mlp_net, mlp_optimizer, nn.functional.cross_entropy, mlp_x, mlp_y), 1),
}


def measure(name, seconds):
    run, rounds = WORKS[name]
    calls = 0
    start = time.perf_counter()
    while True:
        run()
        calls += 1
        passed = time.perf_counter() - start
        if passed >= seconds:
            return 1e9 * passed / (calls * rounds)


for name in WORKS:
    measure(name, 0.0)
for line in sys.stdin:
    name, seconds = line.split()
    print(name, f"{measure(name, float(seconds)) if name in WORKS else 0.0:.1f}", flush=True)
