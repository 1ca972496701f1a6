# SPDX-License-Identifier: Apache-2.0
"""Writes printed.h: tensors and how PyTorch prints them. Run it with a Python that has torch."""

import json
import os

import torch

nan, inf = float("nan"), float("inf")
F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
I8, U8, I16, I32, I64, BOOL = torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool

# dtype, shape, values (repeated as needed), scale of the element's number added to it
CASES = [
    (F32, [2], [1.0, 2.5], 0),
    (F32, [], [3.14159], 0),
    (F32, [], [nan], 0),
    (F32, [0, 3], [0.0], 0),
    (F32, [0], [0.0], 0),
    (I64, [0], [0], 0),
    (I32, [2, 0], [0], 0),
    (BOOL, [0], [0], 0),
    (F32, [2], [0.00001, 1000.0], 0),
    (F32, [3], [nan, inf, 1.0], 0),
    (F32, [4], [nan, -inf, 1.5, 0.0], 0),
    (F32, [3], [0.0, -0.0, 0.0], 0),
    (F32, [2, 2], [1.0, -2.0, 3.0, 4.0], 0),
    (F32, [3], [1e8, 1.0, 2.0], 0),
    (F32, [2], [123456789.0, 1.5], 0),
    (F32, [2], [1e-4, 1e-1], 0),
    (F32, [2], [9e-5, 1e-2], 0),
    (F32, [4], [1e10, -1e10, 0.0, nan], 0),
    (F32, [3], [1000.5, 1.25, -3.125], 0),
    (F32, [1, 1, 1], [7.0], 0),
    (F32, [2, 3, 2], [0.5, -1.25, 3.0], 0.1),
    (F32, [2, 1, 2, 2], [0.5], 1),
    (F32, [30], [0.1], 1),
    (F32, [40], [1e-5], 1),
    (F32, [1001], [0.5], 1),
    (F32, [3, 500], [0.0], 1),
    (F32, [40, 2, 30], [0.25], 0.5),
    (F32, [7, 2, 2, 40], [0.0], 1),
    (F64, [2], [1.0, 2.0], 0),
    (F64, [2], [1e300, 1.0], 0),
    (F64, [0], [0.0], 0),
    (F16, [3], [1.0, 0.333, 65504.0], 0),
    (F16, [], [0.1], 0),
    (BF16, [2, 2], [1.0, 3.14, -2.7, 100.0], 0),
    (I64, [2], [1, 2], 0),
    (I64, [], [-5], 0),
    (I64, [2000], [0], 1),
    (I64, [3, 4], [-7, 100, 3], 1),
    (I64, [2], [9223372036854775807, -9223372036854775808], 0),
    (I32, [3], [1, -20, 300], 0),
    (I16, [2], [-32768, 5], 0),
    (I8, [3], [-128, 0, 127], 0),
    (U8, [2, 3], [0, 255, 17], 0),
    (BOOL, [2], [1, 0], 0),
    (BOOL, [2, 2], [1, 0, 0, 1], 0),
    (BOOL, [], [1], 0),
    (F64, [20, 5], [0.001], 0.37),
    (I32, [25], [100000], 1),
    (F64, [3, 3], [123456.789, -0.5, 2.0], 0),
]


def make(dtype, shape, values, scale):
    count = 1
    for size in shape:
        count *= size
    elements = [values[i % len(values)] + scale * i for i in range(count)]
    if not dtype.is_floating_point:
        elements = [int(x) for x in elements]
    return torch.tensor(elements, dtype=dtype).reshape(shape)


def literal(value, dtype):
    if not dtype.is_floating_point:
        return "INT64_MIN" if value == -(2**63) else f"INT64_C({value})"
    if value != value:
        return "NAN"
    return repr(value).replace("-inf", "-INFINITY").replace("inf", "INFINITY")


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "printed.h"), "w", encoding="utf-8") as out:
    out.write("/* SPDX-License-Identifier: Apache-2.0 */\n")
    out.write(f"/* Written by record.py with PyTorch {torch.__version__.split('+')[0]}. */\n/* clang-format off */\n")
    out.write("static const printed_case printed_cases[] = {\n")
    for dtype, shape, values, scale in CASES:
        name = str(dtype)[6:]
        for long, short in (("bfloat", "BF"), ("float", "F"), ("uint", "U"), ("int", "I"), ("bool", "BOOL")):
            name = name.replace(long, short)
        numbers = ", ".join(literal(v, dtype) for v in values)
        field = "reals" if dtype.is_floating_point else "wholes"
        dims = ", ".join(map(str, shape)) or "0"
        text = json.dumps(str(make(dtype, shape, values, scale)))
        head = f"RL_{name}, {len(shape)}, {{{dims}}}, {len(values)}, {scale!r}, .{field} = {{{numbers}}}"
        out.write(f"    {{{head}, .text =\n     {text}}},\n")
    out.write("};\n")
