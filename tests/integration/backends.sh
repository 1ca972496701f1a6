#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is found in place of a backend: each gives one clear line, and the other devices still work.
. "$(dirname "$0")/lib.sh"
bad=$root/bad
rm -rf "$bad"
mkdir -p "$bad"
sim=$root/sim/rushlight_backend_sim.so

# candidate NAME PATTERN: the file or folder $bad/NAME is reported with the pattern; ref works; asking for it fails.
candidate() {
    local name=$1 pattern=$2
    RUSHLIGHT_BACKEND_PATH=$bad/$name expect 0 "$pattern" "$rushlight" devices
    RUSHLIGHT_BACKEND_PATH=$bad/$name expect 0 'ref:0 +usable' "$rushlight" devices
    RUSHLIGHT_BACKEND_PATH=$bad/$name RUSHLIGHT_DEVICE=sim expect 1 "$pattern" "$root/examples/linear"
    RUSHLIGHT_BACKEND_PATH=$bad/$name RUSHLIGHT_DEVICE=ref expect 0 'epoch 100' "$root/examples/linear"
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
mkdir "$bad/twins"
cp "$sim" "$bad/twins/rushlight_backend_a.so"
cp "$sim" "$bad/twins/rushlight_backend_b.so"
RUSHLIGHT_BACKEND_PATH=$bad/twins expect 0 'sim.*(already|name)' "$rushlight" devices
RUSHLIGHT_BACKEND_PATH=$bad/twins RUSHLIGHT_DEVICE=sim expect 0 'epoch 100' "$root/examples/linear"

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
