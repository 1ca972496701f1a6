# SPDX-License-Identifier: Apache-2.0
# What the integration tests share. $1 is the build folder.
set -u
build=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
root=$build/integration
prefix=$root/prefix
rushlight=$prefix/bin/rushlight
data=$root/mnist
failures=0
export RUSHLIGHT_QUIET=1
unset RUSHLIGHT_DEVICE RUSHLIGHT_BACKEND_PATH

fail() {
    printf 'FAIL: %s\n' "$*" >&2
    failures=$((failures + 1))
}

# expect STATUS PATTERN COMMAND ...: its exit status, and that its output, both streams, matches the pattern.
expect() {
    local status=$1 pattern=$2 output got
    shift 2
    output=$(timeout 300 "$@" 2>&1 </dev/null)
    got=$?
    [ "$got" = "$status" ] || fail "$*: status $got, must be $status: $output"
    printf '%s' "$output" | grep -qE -- "$pattern" || fail "$*: does not say '$pattern': $output"
}

finish() {
    [ "$failures" = 0 ] && echo "all passed"
    exit $((failures > 0))
}
