# SPDX-License-Identifier: Apache-2.0
"""Records what PyTorch's attention gives, for test_attention.c:  python3 record.py > expected.h

Parameters and inputs are sin(1), sin(2), .. times 0.5, each tensor beginning anew (inputs at 1, 101, 201).
"""
import torch

torch.set_num_threads(1)


def wave(shape, start=1):
    n = int(torch.tensor(shape).prod())
    return (torch.sin(torch.arange(start, start + n, dtype=torch.float64)) * 0.5).to(torch.float32).reshape(shape)


def attention(*args, **options):
    m = torch.nn.MultiheadAttention(*args, **options)
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(wave(p.shape))
    return m


def write(name, x):
    numbers = ", ".join("%.9gf" % v if v != int(v) else "%d" % v for v in x.detach().reshape(-1).tolist())
    print("static const float %s[] = {%s};" % (name, numbers))


print("/* SPDX-License-Identifier: Apache-2.0 */")
print("/* Recorded by record.py with PyTorch %s. */" % torch.__version__.split("+")[0])
m = attention(4, 2, batch_first=True)
x = wave((2, 3, 4))
y, _ = m(x, x, x, need_weights=False)
write("self_output", y)
(y * wave(y.shape, 7)).sum().backward()
write("self_in_proj_grad", m.in_proj_weight.grad)
write("self_bias_grad", m.in_proj_bias.grad)

m = attention(4, 2)
q, k, v = wave((3, 2, 4)), wave((2, 2, 4), 101), wave((2, 2, 4), 201)
padding = torch.tensor([[False, True], [False, False]])
y, w = m(q, k, v, key_padding_mask=padding, attn_mask=wave((3, 2), 11))
write("cross_output", y)
write("cross_weights", w)

m = attention(4, 2, kdim=3, vdim=2, add_bias_kv=True, add_zero_attn=True)
y, w = m(wave((3, 4)), wave((2, 3), 101), wave((2, 2), 201), average_attn_weights=False)
write("more_output", y)
write("more_weights", w)

m = attention(4, 1, bias=False, batch_first=True)
x = wave((2, 3, 4))
causal = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
padding = torch.tensor([[False, False, True], [False, True, False]])
y, _ = m(x, x, x, key_padding_mask=padding, attn_mask=causal, need_weights=False)
write("causal_output", y)
