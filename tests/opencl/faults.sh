#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A driver that fails: each of its calls, once and from then on, is an error that names the call; nothing is left behind,
# and the other devices go on. $1: the command, $2: the stand-in driver, $3: a folder of ours.
set -u
rushlight=$1 stand_in=$2 folder=$3
failures=0
fail() {
    printf 'FAIL: %s\n' "$*" >&2
    failures=$((failures + 1))
}
rm -rf "$folder" && mkdir -p "$folder/vendors" "$folder/none"
python3 "$(dirname "$0")/../integration/small_mnist.py" "$folder/tiny" 64 20 || fail "small_mnist.py"
printf '%s\n' "$stand_in" >"$folder/vendors/stand_in.icd"
export OCL_ICD_VENDORS=$folder/vendors RUSHLIGHT_QUIET=1
STAND_IN_ICD_LIBRARY=$(sed -n 1p "$(grep -l -i pocl /etc/OpenCL/vendors/*.icd | head -1)")
export STAND_IN_ICD_LIBRARY

work() { # a little of everything: memory, copies both ways, kernels, events, synchronization
    timeout 300 "$rushlight" check --only "$1" opencl 2>&1
}

# As it is, it is the driver behind it, and all is released.
output=$("$rushlight" devices 2>&1)
[[ $output == *"opencl:0     usable"* ]] || fail "the stand-in driver is not usable: $output"
output=$(work matmul) || fail "the driver behind the stand-in does not work: $output"
[[ $output != *"not released"* ]] || fail "$output"

for call in clCreateContext clCreateCommandQueue clCreateBuffer clCreateProgramWithSource clBuildProgram clCreateKernel \
    clSetKernelArg clEnqueueNDRangeKernel clEnqueueReadBuffer clEnqueueWriteBuffer clEnqueueMarkerWithWaitList clFinish; do
    for n in 1 1+ 2 20+; do
        # A cold cache: programs are built. The command shows what failed first, or works where there is no n-th call.
        output=$(RUSHLIGHT_CACHE=$folder/none/$call$n STAND_IN_ICD_FAIL=$call:$n RUSHLIGHT_DEVICE=opencl timeout 300 \
            "$rushlight" train fashion-mnist --model mlp --data "$folder/tiny" --epochs 1 --batch 16 2>&1)
        status=$?
        [ $status -lt 124 ] || fail "$call:$n ends with status $status: $output"
        [[ $output != *"not released"* ]] || fail "$call:$n: $output"
        case $n in
        1+) [ $status != 0 ] || [[ $call == clEnqueueMarkerWithWaitList ]] || fail "$call:$n has no effect: $output" ;;
        esac
        [ $status = 0 ] || [[ $output == *"$call"* ]] || fail "$call:$n: the error does not name the call: $output"
        RUSHLIGHT_CACHE=$folder/none/$call$n STAND_IN_ICD_FAIL=$call:$n "$rushlight" devices 2>&1 |
            grep -q 'ref:0 *usable' || fail "$call:$n takes other devices along"
    done
done

# No driver at all.
output=$(OCL_ICD_VENDORS=$folder/none "$rushlight" devices 2>&1)
[[ $output == *"knows no platform"* ]] || fail "no driver: $output"
printf '/nowhere/libdriver.so\n' >"$folder/none/broken.icd"
output=$(OCL_ICD_VENDORS=$folder/none "$rushlight" devices 2>&1)
[[ $output == *"knows no platform"* ]] || fail "a driver that does not load: $output"
[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
