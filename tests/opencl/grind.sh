#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Kernels of every family in oclgrind, which sees each access to memory: reads and writes out of bounds, races of
# work-items, uses of what nobody wrote. As for processors and as for GPUs, whose items share memory. $1: test_ops,
# $2: what goes between it and oclgrind (grind_writes.c), $3: a folder of ours.
set -u
test_ops=$1 writes=$2 folder=$3
failures=0
fail() { # what, details
    printf '%s\nFAIL: %s\n' "$2" "$1" >&2
    failures=$((failures + 1))
}
if ! command -v oclgrind >/dev/null; then
    printf 'SKIPPED: there is no oclgrind (Debian'\''s package of that name; ./dev test --all installs it)\n' >&2
    exit 77
fi
rm -rf "$folder" && mkdir -p "$folder/cache"
export RUSHLIGHT_CACHE=$folder/cache RUSHLIGHT_QUIET=1 RUSHLIGHT_TEST_DEVICES=opencl
export RUSHLIGHT_TEST_ONCE=1 RUSHLIGHT_TEST_DTYPES=float32

# Oclgrind's status says nothing: any line of its log is a failure, and so is a family of kernels that did not run.
grind() { # RUSHLIGHT_OPENCL_KERNELS, "families ...", ops, oclgrind's arguments ...
    local kernels=$1 families=$2 ops=$3 log=$folder/log family output status
    shift 3
    rm -f "$log"
    SECONDS=0
    RUSHLIGHT_OPENCL_KERNELS=$kernels timeout 600 oclgrind --data-races --uninitialized --inst-counts --max-errors 20 \
        --global-mem-size 2000000000 --build-options -cl-opt-disable --log "$log" "$@" \
        sh -c 'LD_PRELOAD=$0:$LD_PRELOAD exec "$@"' "$writes" "$test_ops" "$ops" >"$folder/output" 2>&1
    status=$?
    printf '%3d s  %s: %s\n' "$SECONDS" "$kernels" "$ops"
    output=$(grep -v -E "^ *[0-9]+ - |^$|^Instructions" "$folder/output") # without its counts
    [ $status = 0 ] || fail "$kernels: test_ops ends with status $status" "$output"
    [ -e "$log" ] || fail "$kernels: oclgrind wrote no log" "$output"
    ! grep -q . "$log" || fail "$kernels: oclgrind's log" "$(cat "$log")"
    for family in $families; do
        grep -q "kernel 'rl_${family}_" "$folder/output" || fail "$kernels: no kernel of the family $family ran" "$output"
    done
}

indexed=gather,index_select,scatter,scatter_add,embedding,embedding_backward
lines=cumsum,cummax,sort,softmax,softmax_backward,cross_entropy_rows,cross_entropy_rows_backward,native_norm
lines=$lines,native_norm_backward,group_norm,attention_rows,attention_rows_backward
windows=matmul,linear,conv2d,max_pool2d,max_pool_backward,avg_pool2d,avg_pool_backward
pointwise=where,uniform_,native_dropout,sum,var,amax,argmax
rows="accumulate attention cross_entropy gemm interpreter keys move norm pool radix scan scatter softmax sort spread"
grind interpret "$rows" "$indexed,$lines,$windows,$pointwise"
grind build "map reduce" "$pointwise"
# A group of 16, on two units: many groups, and lines that are longer than a group.
few=(--max-wgsize 16 --compute-units 2)
grind gpu,interpret "$rows" "$indexed,$lines,$windows,$pointwise" "${few[@]}"
grind gpu,build "map reduce" "$pointwise" "${few[@]}"
[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
