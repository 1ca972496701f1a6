# SPDX-License-Identifier: Apache-2.0
"""Runs `rushlight bench`, then, where a Python with torch is at hand, measures the same works beside PyTorch.

The workers take turns, so that whatever else the machine does falls on all of them; each figure is the median over the
turns, each ratio the median of the ratios of two neighbours in one turn. Times of one machine are not times of another:
look at the ratios. Memory is a pass of its own: each work in a fresh process, how far its resident size rises above
that after a step of Linear(1, 1), inputs included. What a process kept back at its start may serve the work unseen.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# What is to be reached: times as fast as PyTorch, times as fast as dnnl_sgemm, nanoseconds of one round at most.
TIMES_TORCH = {
    "add_4m": 2.0,
    "gelu_chain_4m": 5.0,
    "mlp_step": 1.3,
    "adam_10m": 1.5,
    "layernorm_fb": 1.5,
    "cnn_step": 1.0,
    "conv_fb": 1.0,
    "softmax_4m": 1.0,
    "layernorm_4m": 1.0,
    "cross_entropy_fb": 1.0,
    "lstm_step": 1.0,
}
TIMES_SGEMM = {"matmul_256": 0.95, "matmul_1024": 0.95}
AT_MOST_NS = {"op_add_16": 300, "seed_step": 15e3, "tiny_conv": 2e3}

WARM_UP = "seed_step"  # before memory is counted


class Worker:
    """A process that answers "NAME SECONDS" with "NAME NANOSECONDS"."""

    def __init__(self, command, **environment):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**environment, **os.environ}
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
        self.process.stdout.close()
        self.process.wait()

    def forget_peak(self):
        """The largest resident size is counted anew from here; the size now, in bytes."""
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as refs:
            refs.write("5")
        return self.resident("VmRSS")

    def resident(self, field="VmHWM"):
        """Resident bytes: VmRSS now, VmHWM at most."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))

    def library(self, name):
        """The path of a shared library that it has loaded; None where there is none."""
        try:
            with open(f"/proc/{self.process.pid}/maps") as maps:
                paths = {line.split(maxsplit=5)[5].strip() for line in maps if len(line.split(maxsplit=5)) == 6}
        except OSError:
            return None
        return next((path for path in sorted(paths) if os.path.basename(path).startswith(name)), None)


def torch_version(python):
    try:
        probe = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    except OSError:
        return None
    return probe.stdout.strip() if probe.returncode == 0 else None


def rushlight_bench(arguments):
    """The command's own table on stdout; its JSON."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [arguments.rushlight, "bench", *arguments.patterns, "--devices", arguments.devices]
        command += ["--seconds", str(arguments.seconds), "--rounds", str(arguments.rounds), "--json", file.name]
        status = subprocess.run(command).returncode
        if status not in (0, 1):
            sys.exit(status)
        text = file.read().decode()
    return json.loads(text) if text else sys.exit(status)


def take_turns(workers, names, rounds, seconds):
    """{worker: {name: [nanoseconds of each turn]}}; 0 where a worker does not know the work."""
    costs = {worker: {name: [] for name in names} for worker in workers}
    for number in range(rounds):
        for name in names:
            show(f"beside PyTorch: round {number + 1} of {rounds}, {name}")
            for worker in workers:
                costs[worker][name].append(workers[worker].measure(name, seconds / rounds))
    show("")
    return costs


def show(text):
    if sys.stderr.isatty():
        print(f"\r{text[:78]}\033[K", end="", file=sys.stderr, flush=True)


def memory_of(command, names):
    """{name: bytes}: how far the resident size of a fresh process rises while it prepares and does this work."""
    sizes = {}
    for name in names:
        show(f"memory: {os.path.basename(command[0])}, {name}")
        worker = Worker(command)
        worker.measure(WARM_UP, 0.05)
        before = worker.forget_peak()
        known = worker.measure(name, 0.05) > 0
        sizes[name] = max(worker.resident() - before, 0) if known else None
        worker.close()
    show("")
    return sizes


def median_ratio(above, below):
    ratios = [a / b for a, b in zip(above, below) if a > 0 and b > 0]
    return statistics.median(ratios) if ratios else None


def goal_of(name, ns, to_torch, to_sgemm):
    """(the goal in words, whether it is reached); of several, all."""
    goals = []
    if name in TIMES_TORCH and to_torch:
        goals.append((f"{TIMES_TORCH[name]:.2g} x torch", to_torch >= TIMES_TORCH[name]))
    if name in TIMES_SGEMM and to_sgemm:
        goals.append((f"{TIMES_SGEMM[name]:.2g} x sgemm", to_sgemm >= TIMES_SGEMM[name]))
    if name in AT_MOST_NS:
        goals.append((f"<= {readable(AT_MOST_NS[name], TIME)}", ns <= AT_MOST_NS[name]))
    return ", ".join(text for text, _ in goals), all(reached for _, reached in goals) if goals else None


def row_of(entry, costs, memory):
    name = entry["name"]
    ours = costs["rushlight"][name]
    torch, sgemm = costs.get("torch", {}).get(name, []), costs.get("sgemm", {}).get(name, [])
    row = {"name": name, "what": entry["what"], "ns": statistics.median(ours)}
    row["torch_ns"] = statistics.median(torch) if torch and min(torch) > 0 else None
    row["sgemm_ns"] = statistics.median(sgemm) if sgemm and min(sgemm) > 0 else None
    row["times_torch"], row["times_sgemm"] = median_ratio(torch, ours), median_ratio(sgemm, ours)
    row["goal"], row["reached"] = goal_of(name, row["ns"], row["times_torch"], row["times_sgemm"])
    row["allocator_peak"] = entry["results"][0]["peak_memory"]
    row["memory"], row["torch_memory"] = (memory.get(side, {}).get(name) for side in ("rushlight", "torch"))
    return row


TIME, BYTES = ("ns", "us", "ms", "s"), ("B", "kB", "MB", "GB")


def readable(number, units):
    if number is None:
        return "-"
    unit = 0
    while number >= 999.5 and unit < 3:
        number /= 1000
        unit += 1
    return f"{number:.3g} {units[unit]}"


def print_rows(rows):
    print(f"{'work':20} {'rushlight':>9} {'torch':>9} {'times':>7} {'sgemm':>7}  {'goal':25}", end="")
    print(f" {'memory':>8} {'torch':>8} {'allocator':>9}")
    for row in rows:
        times, sgemm = (f"{row[key]:.2f}" if row[key] else "-" for key in ("times_torch", "times_sgemm"))
        goal = f"{row['goal']} {'' if row['reached'] else 'MISSED'}" if row["goal"] else ""
        print(f"{row['name']:20} {readable(row['ns'], TIME):>9} {readable(row['torch_ns'], TIME):>9}", end="")
        print(f" {times:>7} {sgemm:>7}  {goal:25} {readable(row['memory'], BYTES):>8}", end="")
        print(f" {readable(row['torch_memory'], BYTES):>8} {readable(row['allocator_peak'], BYTES):>9}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", help="works, as `rushlight bench` takes them")
    parser.add_argument("--rushlight", required=True, help="the command")
    parser.add_argument("--devices", default="all", help="of `rushlight bench`; the first is held against PyTorch")
    parser.add_argument("--python", default=os.environ.get("PYTHON", sys.executable), help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each work and each side, about")
    parser.add_argument("--no-memory", action="store_true", help="leave out the pass that measures memory")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    parser.add_argument("--parse-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.parse_only:
        return

    measured = rushlight_bench(arguments)
    device, names = measured["devices"][0]["device"], [entry["name"] for entry in measured["works"]]
    threads, version = len(os.sched_getaffinity(0)), torch_version(arguments.python)
    ours = [arguments.rushlight, "bench", "--serve", "--devices", device]
    theirs = [arguments.python, os.path.join(HERE, "torch_worker.py"), str(threads)]
    workers = {"rushlight": Worker(ours)}
    if version:
        workers["torch"] = Worker(theirs)
    else:
        print(f"bench: {arguments.python} has no torch; measuring Rushlight alone", file=sys.stderr)
    workers["rushlight"].measure(WARM_UP, 0)  # loads the backend
    library = workers["rushlight"].library("libdnnl.so")
    if library and not set(TIMES_SGEMM).isdisjoint(names):
        script = os.path.join(HERE, "sgemm_worker.py")  # its threads wait for each other as the backend has them wait
        workers["sgemm"] = Worker([sys.executable, script, library], GOMP_SPINCOUNT="3000")
    costs = take_turns(workers, names, arguments.rounds, arguments.seconds)
    for worker in workers.values():
        worker.close()
    memory = {}
    if version and not arguments.no_memory:
        memory = {"rushlight": memory_of(ours, names), "torch": memory_of(theirs, names)}

    rows = [row_of(entry, costs, memory) for entry in measured["works"]]
    print(f"\n{device} beside PyTorch {version or '(not at hand)'}, {threads} threads; medians of {arguments.rounds} turns")
    print("times, sgemm: how many times as fast as PyTorch, as dnnl_sgemm; memory: the rise of the resident size\n")
    print_rows(rows)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"bench": measured, "threads": threads, "torch": version, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
