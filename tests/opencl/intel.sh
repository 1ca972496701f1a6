#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A second compiler and runtime: Intel's, for processors. A sample of each: what speaks to the table, ops, derivatives,
# a training. $1: the command, $2: the folder of the test programs, $3: the virtual environment that `./dev test --all`
# installs it into, $4: a folder of ours.
set -u
rushlight=$1 programs=$2 library=$3/lib/libintelocl.so folder=$4
failures=0
if [ ! -e "$library" ]; then
    printf 'SKIPPED: Intel'\''s OpenCL runtime (the wheel intel-opencl-rt) is not below .deps/: ./dev test --all gets it\n' >&2
    exit 77
fi
rm -rf "$folder" && mkdir -p "$folder/vendors" "$folder/cache"
printf '%s\n' "$library" >"$folder/vendors/intel.icd"
export OCL_ICD_VENDORS=$folder/vendors RUSHLIGHT_CACHE=$folder/cache RUSHLIGHT_QUIET=1 RUSHLIGHT_TEST_DEVICES=opencl
export RUSHLIGHT_OPENCL_OPTIONS=-cl-opt-disable # builds in a third of the time

run() { # what RUSHLIGHT_OPENCL_KERNELS holds, command ...
    local kernels=$1 output
    shift
    SECONDS=0
    if output=$(RUSHLIGHT_OPENCL_KERNELS=$kernels timeout 300 "$@" 2>&1); then
        printf '%3d s  %s\n' "$SECONDS" "${*##*/}"
    else
        printf '%s\nFAIL: %s\n' "$output" "$*" >&2
        failures=$((failures + 1))
    fi
}

output=$("$rushlight" devices 2>&1)
if [[ $output != *"opencl:0     usable"*"Intel(R) OpenCL"* ]]; then
    printf '%s\nFAIL: it is not the device\n' "$output" >&2
    exit 1
fi
for part in memory streams errors random map matmul gather scan lockstep; do
    run "" "$rushlight" check --only "$part" opencl
done
rows=softmax,cumsum,sort,embedding,conv2d,max_pool2d,batch_norm,layer_norm,cross_entropy,dropout,scaled_dot_product_attention
RUSHLIGHT_TEST_DTYPES=float32,float16 run interpret "$programs/test_ops" "$rows"
RUSHLIGHT_TEST_DTYPES=float32 run build "$programs/test_ops" exp,pow,gelu,sum,var,amax
# By the compiler's optimizer, which makes vectors across work-items; and as on a GPU.
RUSHLIGHT_OPENCL_OPTIONS= RUSHLIGHT_TEST_DTYPES=float32 run "" "$programs/test_ops" softmax
RUSHLIGHT_TEST_DTYPES=float32 run gpu,interpret "$programs/test_ops" softmax,cumsum,sort,layer_norm,linear
run interpret "$programs/test_gradcheck" softmax,cumsum,max_pool2d,layer_norm,linear
[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
