#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `rushlight bench`: what it measures, its JSON, its worker, bad input, failures of the device, Ctrl-C.
. "$(dirname "$0")/lib.sh"
export RUSHLIGHT_BACKEND_PATH=$root/sim
quick="op_add_16 op_view_slice tiny_conv matmul_256 seed_step mlp_step"
bench() { "$rushlight" bench --seconds 0.05 "$@"; }
# look FILE EXPRESSION: what python finds in the JSON, `d`; `at` has the results of a work by device
look() {
    python3 - "$1" "$2" <<'TEXT' || fail "$1: not so: $2"
import json, sys
def none(text): raise ValueError(text)
d = json.load(open(sys.argv[1]), parse_constant=none)
at = {w["name"]: {r["device"]: r for r in w["results"]} for w in d["works"]}
assert eval(sys.argv[2])
TEXT
}

devices=ref
[ -e "$(find "$prefix" -name rushlight_backend_onednn.so)" ] && devices=ref,onednn
bench $quick --devices $devices --baseline ref --json "$root/bench.json" >"$root/bench.log" 2>&1 ||
    fail "bench: $(cat "$root/bench.log")"
for work in $quick; do grep -q "^$work  *ref:0 " "$root/bench.log" || fail "no row of $work: $(cat "$root/bench.log")"; done
LC_ALL=C grep -q $'[\r\x1b]' "$root/bench.log" && fail "piped output holds control characters"
look "$root/bench.json" 'sorted(at) == sorted("'"$quick"'".split())'
look "$root/bench.json" 'all(len(at[w]) == len("'$devices'".split(",")) for w in at)'
look "$root/bench.json" 'all(r["failure"] == "" and r["turns"] >= 1 for w in at.values() for r in w.values())'
look "$root/bench.json" 'all(r["least_ns"] <= r["first_quarter_ns"] <= r["median_ns"] <= r["third_quarter_ns"] for w in at.values() for r in w.values())'
look "$root/bench.json" 'all(r["error"] is None if r["device"] == "ref:0" else r["error"] < 1e-4 for w in at.values() for r in w.values())'
look "$root/bench.json" 'd["baseline"] == "ref:0" and all(w["ref:0"]["speedup"] == 1 for w in at.values())'
look "$root/bench.json" 'at["matmul_256"]["ref:0"]["peak_memory"] >= 3 * 4 * 256 * 256'
look "$root/bench.json" 'all(x["peak_flops_per_second"] > 0 and x["peak_bytes_per_second"] > 0 for x in d["devices"])'

bench op_add_16 --devices ref,sim --rounds 2 --json - >"$root/both.json" 2>"$root/both.err" || fail "sim: $(cat "$root/both.err")"
look "$root/both.json" 'at["op_add_16"]["sim:0"]["error"] == 0 and at["op_add_16"]["ref:0"]["turns"] <= 2'
bench op_add_16 --devices ref --no-check --seconds 0 --json - >"$root/one.json" || fail "--no-check"
look "$root/one.json" 'len(d["works"]) == 1 and d["interrupted"] is False and at["op_add_16"]["ref:0"]["turns"] > 0'

# Patterns.
expect 0 '^softmax_4m' "$rushlight" bench --list
[ "$("$rushlight" bench matmul_256 --list | wc -l)" = 1 ] || fail "a whole name is one work"
[ "$("$rushlight" bench 'matmul_*' --list | wc -l)" = 2 ] || fail "a pattern"
[ "$("$rushlight" bench softmax --list | wc -l)" -gt 1 ] || fail "a part of a name"
"$rushlight" bench models --list | grep -q ' op ' && fail "models are no ops"
"$rushlight" bench ops --list | grep -q ' model ' && fail "ops are no models"

# Bad input.
expect 2 "no work matches 'nonsense'" "$rushlight" bench nonsense
expect 2 "no work matches 'nonsense'" "$rushlight" bench matmul_256 nonsense
expect 1 'nonsense' "$rushlight" bench matmul_256 --devices nonsense
expect 2 'no device' "$rushlight" bench matmul_256 --devices ''
expect 1 'nonsense' "$rushlight" bench matmul_256 --devices ref --baseline nonsense
expect 2 'the baseline sim:0 is not among' "$rushlight" bench matmul_256 --devices ref --baseline sim
expect 2 '--seconds' "$rushlight" bench --seconds x
expect 2 '--seconds' "$rushlight" bench --seconds -1
expect 2 '--rounds' "$rushlight" bench --rounds 0
expect 1 'no/such/folder/x cannot be written' "$rushlight" bench op_add_16 --json "$root/no/such/folder/x"
expect 1 'could not be written' "$rushlight" bench op_add_16 --devices ref --seconds 0.01 --json /dev/full

# The worker: unknown works and lines that are none are no end of it.
answers=$(printf 'op_add_16 0.01\nnonsense 0.01\n\nseed_step x\nseed_step 0\n' | "$rushlight" bench --serve --devices ref)
printf '%s\n' "$answers" | grep -qE '^op_add_16 [1-9][0-9.]*$' || fail "--serve: $answers"
printf '%s\n' "$answers" | grep -qx 'nonsense 0.0' || fail "--serve: $answers"
printf '%s\n' "$answers" | grep -qE '^seed_step [1-9][0-9.]*$' || fail "--serve: $answers"

# A device that fails is a row that says so; the others are measured all the same.
for what in alloc:3+ launch:60+ copy:5+ sync:9+; do
    RUSHLIGHT_SIM_FAIL=$what timeout 120 "$rushlight" bench op_add_16 seed_step --devices ref,sim --seconds 0.02 --json "$root/fail.json" >"$root/fail.log" 2>&1
    status=$?
    [ $status = 1 ] && grep -q 'failed: ' "$root/fail.log" || fail "RUSHLIGHT_SIM_FAIL=$what: status $status: $(cat "$root/fail.log")"
    look "$root/fail.json" 'all(w["ref:0"]["failure"] == "" and w["ref:0"]["turns"] > 0 for w in at.values())'
    look "$root/fail.json" 'any(w["sim:0"]["failure"] for w in at.values())'
done

# Ctrl-C: what was measured is printed, the JSON is whole, status 130.
"$rushlight" bench op_add_16 seed_step --devices ref --seconds 600 --json "$root/stopped.json" >"$root/stopped.log" 2>&1 &
pid=$!
sleep 3
kill -INT $pid
wait $pid
status=$?
[ $status = 130 ] || fail "Ctrl-C gives status $status: $(cat "$root/stopped.log")"
grep -q '^seed_step' "$root/stopped.log" || fail "Ctrl-C: no table: $(cat "$root/stopped.log")"
look "$root/stopped.json" 'd["interrupted"] is True'
finish
