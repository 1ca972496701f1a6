#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes rl_normal_table.h: the inverse of the normal distribution as polynomials. Needs Python alone.

The upper half of the distribution is cut at probabilities 2^-1, 2^-2, ... 2^-33 into 32 octaves, each octave into 8
equal segments, as in Lee, Cheung, Villasenor and Luk, "Inversion-based hardware Gaussian random number generator"
(2007). In each, a polynomial of degree 4 in t = 0 .. 1 passes through x = -Phi^-1(p) at five Chebyshev nodes, with
p = 2^-(octave + 2) (1 + (segment + t) / 8). Its error is below 2e-8 before the coefficients are rounded to f32.
"""
import math
import struct
from statistics import NormalDist

DEGREE, SEGMENTS, OCTAVES = 4, 8, 32
NODES = [0.5 - 0.5 * math.cos(math.pi * (2 * i + 1) / (2 * (DEGREE + 1))) for i in range(DEGREE + 1)]


def tail(octave, segment, t):
    return -NormalDist().inv_cdf(2.0 ** -(octave + 2) * (1 + (segment + t) / SEGMENTS))


def interpolate(values):
    """Coefficients of the polynomial through (NODES, values): Newton's divided differences, multiplied out."""
    divided = list(values)
    for step in range(1, DEGREE + 1):
        for i in range(DEGREE, step - 1, -1):
            divided[i] = (divided[i] - divided[i - 1]) / (NODES[i] - NODES[i - step])
    poly = [0.0] * (DEGREE + 1)
    for i in range(DEGREE, -1, -1):
        poly = [(poly[j - 1] if j else 0.0) - NODES[i] * poly[j] for j in range(DEGREE + 1)]
        poly[0] += divided[i]
    return poly


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def literal(x):
    mantissa, exponent = f32(x).hex().split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent + "f"


def main():
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Made by normal_table.py: coefficients of 1, t, t^2, t^3, t^4 for each octave and segment. */")
    print("/* clang-format off */")
    for octave in range(OCTAVES):
        for segment in range(SEGMENTS):
            # The last octave holds one number, 2^-33: a constant, right also for whoever asks beyond it.
            row = ([tail(octave, 0, 0)] + [0.0] * DEGREE if octave == OCTAVES - 1 else
                   interpolate([tail(octave, segment, t) for t in NODES]))
            print("{" + ", ".join(map(literal, row)) + "},")
    print("/* clang-format on */")


main()
