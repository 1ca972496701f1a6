# SPDX-License-Identifier: Apache-2.0
"""Writes the four IDX files of a small data set in MNIST's form: each class is a bright block plus noise.

small_mnist.py FOLDER [TRAINING IMAGES, TEST IMAGES]
"""

import gzip
import os
import random
import struct
import sys


def write(path, dims, data, zipped):
    head = struct.pack(">BBBB", 0, 0, 8, len(dims)) + b"".join(struct.pack(">I", d) for d in dims)
    with (gzip.open if zipped else open)(path, "wb") as out:
        out.write(head + data)


def make(rng, count):
    labels = bytes(i % 10 for i in range(count))
    images = bytearray()
    for label in labels:
        image = bytearray(rng.randrange(60) for _ in range(784))
        for row in range(6):
            at = (label // 5 * 14 + 4 + row) * 28 + label % 5 * 5 + 1
            image[at : at + 5] = b"\xff" * 5
        images += image
    return labels, bytes(images)


folder = sys.argv[1]
counts = [int(count) for count in sys.argv[2:]] or [1000, 300]
os.makedirs(folder, exist_ok=True)
rng = random.Random(1)
for name, count in zip(("train", "t10k"), counts):
    labels, images = make(rng, count)
    write(f"{folder}/{name}-images-idx3-ubyte.gz", (count, 28, 28), images, True)
    write(f"{folder}/{name}-labels-idx1-ubyte", (count,), labels, False)
