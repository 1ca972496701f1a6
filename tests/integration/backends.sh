#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is found in place of a backend: each gives one clear line, and the other devices still work.
. "$(dirname "$0")/lib.sh"
bad=$root/bad
rm -rf "$bad"
mkdir -p "$bad"
sim=$root/sim/rushlight_backend_sim.so
plugins=$build/lib/test_plugins

# candidate PATH PATTERN DEVICE: what lies at PATH (below $bad, or absolute) is reported with the pattern, in one line
# and in valid JSON; ref works; asking for DEVICE, else sim, fails and gives the reason.
candidate() {
    local pattern=$2 device=${3:-sim} lines
    case $1 in /*) export RUSHLIGHT_BACKEND_PATH=$1 ;; *) export RUSHLIGHT_BACKEND_PATH=$bad/$1 ;; esac
    expect 0 "$pattern" "$rushlight" devices
    lines=$("$rushlight" devices | grep -cE -- "$pattern")
    [ "$lines" = 1 ] || fail "$1: $lines lines say '$pattern'"
    expect 0 'ref:0 +usable' "$rushlight" devices
    "$rushlight" devices --json | json_says "$pattern" || fail "$1: devices --json does not say '$pattern'"
    RUSHLIGHT_DEVICE=$device expect 1 "$pattern" "$root/examples/linear"
    RUSHLIGHT_DEVICE=ref expect 0 'epoch 100' "$root/examples/linear"
}
# The load report in the JSON from stdin has a record whose sentence matches.
json_says() {
    python3 -c 'import json, re, sys
report = json.load(sys.stdin)["report"]
sys.exit(not any(re.search(sys.argv[1], r["path"] + ": " + r["sentence"] + "; " + r["hint"]) for r in report))' "$1"
}
# works NAME: the plugin of that name is usable.
works() {
    export RUSHLIGHT_BACKEND_PATH=$plugins/rushlight_backend_$1.so
    expect 0 "$1:0 +usable" "$rushlight" devices
    RUSHLIGHT_DEVICE=$1 expect 0 'epoch 100' "$root/examples/linear"
}

echo 'this is a text' >"$bad/rushlight_backend_text.so"
candidate rushlight_backend_text.so 'ELF'
head -c 2000 "$sim" >"$bad/rushlight_backend_cut.so"
candidate rushlight_backend_cut.so 'truncated'
: >"$bad/rushlight_backend_empty.so"
candidate rushlight_backend_empty.so 'rushlight_backend_empty.so'
mkfifo "$bad/rushlight_backend_fifo.so"
candidate rushlight_backend_fifo.so 'regular file'
mkdir "$bad/folder" "$bad/folder/rushlight_backend_folder.so"
candidate folder 'regular file'
candidate not-there 'not-there'
cp "$sim" "$bad/rushlight_backend_open.so"
chmod 666 "$bad/rushlight_backend_open.so"
candidate rushlight_backend_open.so 'writ(able|e)'
mkdir "$bad/open"
cp "$sim" "$bad/open"
chmod 777 "$bad/open"
candidate open 'writ(able|e)'
# What SECURITY.md lets pass: what a group may write, and folders where nobody replaces another's file.
mkdir "$bad/group" "$bad/sticky"
cp "$sim" "$bad/group"
cp "$sim" "$bad/sticky"
chmod 664 "$bad/group/rushlight_backend_sim.so"
chmod 775 "$bad/group"
chmod 1777 "$bad/sticky"
for folder in group sticky; do
    RUSHLIGHT_BACKEND_PATH=$bad/$folder expect 0 'sim:0 +usable' "$rushlight" devices
done
mkdir "$bad/twins"
cp "$sim" "$bad/twins/rushlight_backend_a.so"
cp "$sim" "$bad/twins/rushlight_backend_b.so"
RUSHLIGHT_BACKEND_PATH=$bad/twins expect 0 'sim.*(already|name)' "$rushlight" devices
RUSHLIGHT_BACKEND_PATH=$bad/twins RUSHLIGHT_DEVICE=sim expect 0 'epoch 100' "$root/examples/linear"

# The reference backend with one thing changed: of another version, broken, or lying.
plugin() { candidate "$plugins/rushlight_backend_$1.so" "$2" "$1"; }
plugin no_symbol 'it has no symbol rl_backend_query'
plugin query_fails 'only on Tuesdays'
plugin query_is_silent 'its query fails with status 99 and gives no reason'
plugin no_table 'its query gives no table'
plugin other_abi 'built for version 7 of the ABI'
plugin wrong_abi 'its table is of ABI 2'
plugin tiny 'its table is of ABI 0'
plugin no_name "must be lower case letters, digits and '_', is ''"
plugin null_name "must be lower case letters, digits and '_', is ''"
plugin odd_name "is 'Odd\?name \?\[31m'"
plugin lacks_map 'lacks map'
plugin lacks_sort 'lacks sort'
plugin fused_null 'lacks supports or run of fused row 0 of 3'
plugin init_fails 'there is\?a driver \?\[31mof 1998 here'
plugin no_devices 'it found no device'
plugin devices_lie '4294967295 devices'
plugin no_buffer 'the backend gave no buffer'
plugin computes_wrongly 'computes_wrongly:0 computes wrongly'
plugin dependency 'librushlight_test_missing.so'
plugin undefined 'undefined symbol: rushlight_test_undefined'
for name in shorter longer shorter_info longer_info longer_args no_texts; do works $name; done
expect 0 '^longer_args conforms' "$rushlight" check --abi-only "$plugins/rushlight_backend_longer_args.so"
for name in shorter shorter_info longer_info; do
    expect 0 "^$name conforms" "$rushlight" check --abi-only "$plugins/rushlight_backend_$name.so"
done

# Variables that make no sense: a warning at most.
unset RUSHLIGHT_BACKEND_PATH
long=$(head -c 100000 /dev/zero | tr '\0' x)
for variable in THREADS MEMORY_LIMIT VERBOSE QUIET CACHE BACKEND_PATH; do
    for value in '' x "$long" -1 0 99999999999999999999 $'\n\e[31m' /dev/null; do
        output=$(env "RUSHLIGHT_$variable=$value" RUSHLIGHT_DEVICE=ref timeout 60 "$root/examples/linear" 2>&1 </dev/null)
        status=$?
        [ $status = 0 ] || [ "$variable" = MEMORY_LIMIT ] || fail "RUSHLIGHT_$variable='${value:0:40}': status $status: $output"
        [ ${#output} -lt 20000 ] || fail "RUSHLIGHT_$variable: ${#output} bytes are printed"
    done
done

# The threads of onednn do not spin for long, unless the user says so.
if [ -e "$(find "$prefix" -name rushlight_backend_onednn.so)" ]; then
    OMP_DISPLAY_ENV=verbose RUSHLIGHT_DEVICE=onednn expect 0 "GOMP_SPINCOUNT = '3000'" "$root/examples/linear"
    GOMP_SPINCOUNT=77 OMP_DISPLAY_ENV=verbose RUSHLIGHT_DEVICE=onednn expect 0 "GOMP_SPINCOUNT = '77'" \
        "$root/examples/linear"
fi

# Devices that cannot be had.
export RUSHLIGHT_BACKEND_PATH=$sim
RUSHLIGHT_DEVICE=sim expect 0 'epoch 100' "$root/examples/linear"
RUSHLIGHT_DEVICE=sim:0 expect 0 'epoch 100' "$root/examples/linear"
RUSHLIGHT_DEVICE=sim:1 expect 1 'sim' "$root/examples/linear"
RUSHLIGHT_SIM_DEVICES=2 RUSHLIGHT_DEVICE=sim:1 expect 0 'epoch 100' "$root/examples/linear"
RUSHLIGHT_DEVICE=sim: expect 1 'sim:' "$root/examples/linear"
RUSHLIGHT_DEVICE=sim:99999999999999999999 expect 1 'sim' "$root/examples/linear"
RUSHLIGHT_DEVICE=cuda expect 1 'ref.*' "$root/examples/linear"
RUSHLIGHT_DEVICE= expect 0 'epoch 100' "$root/examples/linear"
RUSHLIGHT_DEVICE=$(head -c 100000 /dev/zero | tr '\0' x) expect 1 'xxx\.\.\.' "$root/examples/linear"
cd "$root/sim" && unset RUSHLIGHT_BACKEND_PATH # never from the current directory
RUSHLIGHT_DEVICE=sim expect 1 'sim' "$root/examples/linear"
finish
