# SPDX-License-Identifier: Apache-2.0
"""oneDNN's own sgemm, by the protocol of torch_worker.py: matmul_256 and matmul_1024 without any runtime around them.

usage: sgemm_worker.py LIBRARY
"""

import array
import ctypes
import sys
import time

SIZES = {"matmul_256": 256, "matmul_1024": 1024}


def main():
    sgemm = ctypes.CDLL(sys.argv[1]).dnnl_sgemm
    size, real = ctypes.c_int64, ctypes.c_float
    pointer = ctypes.c_void_p
    sgemm.argtypes = [ctypes.c_char] * 2 + [size] * 3 + [real, pointer, size, pointer, size, real, pointer, size]
    made = {}

    def aligned(n):
        memory = array.array("f", ((i * 2654435761 % 1000) / 500 - 1 for i in range(n + 16)))
        address = memory.buffer_info()[0]
        return memory, address + -address % 64

    def run(name):
        n = SIZES[name]
        if name not in made:
            made[name] = [aligned(n * n) for _ in range(3)]
        a, b, c = (address for _, address in made[name])
        if sgemm(b"N", b"N", n, n, n, 1.0, a, n, b, n, 0.0, c, n) != 0:
            sys.exit("dnnl_sgemm failed")

    for line in sys.stdin:
        name, seconds = line.split()
        cost = 0.0
        if name in SIZES:
            run(name)
            calls, start = 0, time.perf_counter()
            while True:
                run(name)
                calls += 1
                passed = time.perf_counter() - start
                if passed >= float(seconds):
                    break
            cost = 1e9 * passed / calls
        print(name, f"{cost:.1f}", flush=True)


if __name__ == "__main__":
    main()
