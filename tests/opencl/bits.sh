#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same bits, whoever computes them and wherever the kernels come from: bits.sh PROGRAM FOLDER. The program (bits.c)
# is run interpreted, built, by any number of threads, from the cache, from a cache that is damaged, swapped, unwritable, and by two at once.
set -eu
program=$1
folder=$2
rm -rf "$folder"
mkdir -p "$folder"
export RUSHLIGHT_QUIET=1 RUSHLIGHT_VERBOSE=backend RUSHLIGHT_OPENCL_KERNELS=build

fail() {
    echo "FAILED: $*"
    exit 1
}

run() { # name of the run: its bits, its log, and in `built` the kernels that it built
    "$program" >"$folder/$1.bits" 2>"$folder/$1.log" || { cat "$folder/$1.log"; fail "$1: the program did not end well"; }
    built=$(sed -n 's/.* \([0-9]*\) kernels built in .*/\1/p' "$folder/$1.log")
    [ -n "$built" ] || fail "$1: the log does not say how many kernels were built"
    echo "$1: $built kernels built"
}
same() { # as the first run
    cmp "$folder/first.bits" "$folder/$1.bits" || { diff "$folder/first.bits" "$folder/$1.bits" || :; fail "$1: other bits"; }
}
entries() { # files of the cache
    find "$RUSHLIGHT_CACHE" -type f
}

export RUSHLIGHT_CACHE="$folder/cache"
export POCL_CACHE_DIR="$folder/pocl" # of one driver: else a second start would be its cache's merit
mkdir -p "$POCL_CACHE_DIR"
run first
[ "$built" -gt 20 ] || fail "first: only $built kernels were built"
run second
same second
[ "$built" = 0 ] || fail "second: it compiled again"

RUSHLIGHT_OPENCL_KERNELS=interpret RUSHLIGHT_CACHE="$folder/other" run interpreted
same interpreted
grep -q rl_interpreter_ "$folder/interpreted.log" || fail "interpreted: it was not"

for threads in 1 16; do
    POCL_MAX_PTHREAD_COUNT=$threads RUSHLIGHT_CACHE="$folder/cache_$threads" run "threads_$threads"
    same "threads_$threads"
done

for file in $(entries); do # a byte in the middle
    half=$(($(wc -c <"$file") / 2))
    printf '\252' | dd of="$file" bs=1 seek=$half conv=notrunc status=none
done
run damaged
same damaged
[ "$built" -gt 20 ] || fail "damaged: only $built kernels were built"

last=
for file in $(entries | sort); do # each file has the content of another
    [ -n "$last" ] && cp "$file" "$last"
    last=$file
done
run swapped
same swapped

for file in $(entries); do
    : >"$file"
done
run emptied
same emptied
run again
same again
[ "$built" = 0 ] || fail "again: what was emptied was not stored again"

touch "$folder/no_folder"
RUSHLIGHT_CACHE="$folder/no_folder" run unwritable
same unwritable

export RUSHLIGHT_CACHE="$folder/shared"
"$program" >"$folder/other.bits" 2>"$folder/other.log" &
run beside
wait $! || fail "other: the program did not end well"
same beside
same other
run after_both
same after_both
[ "$built" = 0 ] || fail "after_both: it compiled again"

RUSHLIGHT_CACHE="$folder/optimized" # as users have it
unset RUSHLIGHT_OPENCL_OPTIONS
"$program" f32 >"$folder/optimized.bits" 2>"$folder/optimized.log"
RUSHLIGHT_OPENCL_KERNELS=interpret "$program" f32 >"$folder/optimized_too.bits" 2>"$folder/optimized_too.log"
cmp "$folder/optimized.bits" "$folder/optimized_too.bits" || fail "interpreted by an optimized kernel: other bits"
