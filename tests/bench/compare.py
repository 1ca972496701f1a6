# SPDX-License-Identifier: Apache-2.0
"""Measures Rushlight, beside PyTorch where a Python with torch is at hand.

The workers take turns, so that whatever else the machine does falls on all of them; each figure is the median over the
turns, each ratio the median of the ratios of the two neighbours in one turn. Times of one machine are not times of
another: look at the ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

# name, what, the other side of the ratio ("torch" or another work of ours), the ratio to reach or None
ROWS = [
    ("add16", "add of 2 x 16 floats, from C", "torch", None),
    ("classic_step", "step of Linear(1, 1), MSE, SGD", "torch", None),
    ("matmul_256", "matmul 256, against dnnl_sgemm", "sgemm_256", 0.95),
    ("matmul_1024", "matmul 1024, against dnnl_sgemm", "sgemm_1024", 0.95),
    ("matmul_256", "matmul 256", "torch", None),
    ("matmul_1024", "matmul 1024", "torch", None),
    ("add_4m", "add of 2 x 4,000,000 floats", "torch", 2.0),
    ("add_4m_kept", "the same, the last result kept", "torch", 2.0),
    ("gelu_4m", "tanh-GELU chain as one program", "torch", 5.0),
    ("gelu_4m_eager", "tanh-GELU chain op by op", None, None),
    ("mlp_step", "step of MLP 784-512-256-10, Adam", "torch", 1.3),
]


class Worker:
    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def measure(self, name, seconds):
        self.process.stdin.write(f"{name} {seconds}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 2:
            sys.exit(f"bench: a worker ended at {name}")
        return float(answer[1])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def torch_worker(python, threads):
    try:
        probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    except OSError:
        return None, None
    if probe.returncode != 0:
        return None, None
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_worker.py")
    return Worker([python, script, str(threads)]), probe.stdout.strip()


def take_turns(ours, theirs, rounds, seconds):
    names = sorted({row[0] for row in ROWS} | {row[2] for row in ROWS if row[2] not in (None, "torch")})
    ours_at = {name: [] for name in names}
    theirs_at = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            ours_at[name].append(ours.measure(name, seconds))
            if theirs:
                theirs_at[name].append(theirs.measure(name, seconds))
    return ours_at, theirs_at


def readable(nanoseconds):
    for unit, size in (("ns", 1), ("us", 1e3), ("ms", 1e6)):
        if nanoseconds < 1000 * size:
            break
    return f"{nanoseconds / size:.3g} {unit}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", required=True, help="the program rushlight-bench")
    parser.add_argument("--python", default=os.environ.get("PYTHON", sys.executable), help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each work in each round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.parse_only:
        return

    threads = len(os.sched_getaffinity(0))
    ours = Worker([arguments.worker])
    theirs, version = torch_worker(arguments.python, threads)
    if not theirs:
        print(f"bench: {arguments.python} has no torch; measuring Rushlight alone", file=sys.stderr)
    ours_at, theirs_at = take_turns(ours, theirs, arguments.rounds, arguments.seconds)
    ours.close()
    if theirs:
        theirs.close()

    rows = []
    for name, text, other, goal in ROWS:
        against = theirs_at[name] if other == "torch" else ours_at.get(other, [])
        usable = against and min(against) > 0
        rows.append(
            {
                "name": name,
                "text": text,
                "ns": statistics.median(ours_at[name]),
                "against": other if usable else None,
                "against_ns": statistics.median(against) if usable else None,
                "ratio": statistics.median(a / o for a, o in zip(against, ours_at[name])) if usable else None,
                "goal": goal,
            }
        )
    if arguments.json:
        print(json.dumps({"threads": threads, "torch": version, "rows": rows}, indent=1))
        return
    print(f"{threads} threads; PyTorch {version or 'not measured'}; medians of {arguments.rounds} turns\n")
    print(f"{'':34} {'rushlight':>10} {'other':>10} {'times as fast':>14}  {'goal':>5}")
    for row in rows:
        other = readable(row["against_ns"]) if row["against_ns"] else "-"
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
        goal = f"{row['goal']:.2f}" if row["goal"] else ""
        print(f"{row['text']:34} {readable(row['ns']):>10} {other:>10} {ratio:>14}  {goal:>5}")


if __name__ == "__main__":
    main()
