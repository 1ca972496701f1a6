#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The conformance suite: our backends conform, and one that does not is found out.
. "$(dirname "$0")/lib.sh"
plugins="$root/sim/rushlight_backend_sim.so"
for name in onednn ref; do
    found=$(find "$prefix" "$build/lib" -name "rushlight_backend_$name.so" | head -1)
    [ -n "$found" ] && plugins="$plugins $found"
done
for plugin in $plugins; do
    expect 0 'conforms: ([0-9]+) of \1 checks' "$rushlight" check "$plugin"
done
RUSHLIGHT_SIM_FAIL=launch:2000 expect 1 'does not conform' "$rushlight" check --abi-only "$root/sim/rushlight_backend_sim.so"
for what in launch:20000+ copy:20000+ sync:20000+; do # deep within the runtime's part
    RUSHLIGHT_SIM_FAIL=$what expect 1 'does not conform' "$rushlight" check "$root/sim/rushlight_backend_sim.so"
done
for name in ends_without_devices ends_unopened; do # what init started is ended
    expect 1 'closed after its end' "$rushlight" check "$build/lib/test_plugins/rushlight_backend_$name.so"
done
# Careless arithmetic, each kind by the check that is there for it and by nothing else.
careless() { # NAME PATTERN
    local output
    output=$("$rushlight" check --abi-only "$build/lib/test_plugins/rushlight_backend_$1.so" 2>&1)
    [ $? = 1 ] || fail "check passes $1"
    printf '%s\n' "$output" | grep -q "^FAIL $2" || fail "check of $1 does not say '$2': $output"
    printf '%s\n' "$output" | grep '^FAIL' | grep -qv "^FAIL $2" && fail "check of $1 says more: $output"
}
careless scatter_drops_nan 'scatter: scatter mode [34], float32 .* NaN and infinities on both sides'
careless bf16_nan_to_infinity 'map: cast NaN of float32 to bfloat16'
careless max_takes_a 'map: MAX '
careless matmul_reads_c 'matmul: matmul float32.* beta 0,'

for plugin in 'no_table gave RL_OK and no table' 'query_is_silent gave status 99: and no reason' \
    'query_fails only on Tuesdays'; do
    expect 1 "rl_backend_query gave.*${plugin#* gave}|${plugin#* }" "$rushlight" check \
        "$build/lib/test_plugins/rushlight_backend_${plugin%% *}.so"
done
expect 1 'ELF' "$rushlight" check "$source/README.md"
head -c 2000 "$root/sim/rushlight_backend_sim.so" >"$root/cut.so"
expect 1 'truncated' "$rushlight" check "$root/cut.so"
[ -p "$root/fifo.so" ] || mkfifo "$root/fifo.so"
expect 1 'regular file' "$rushlight" check "$root/fifo.so"
finish
