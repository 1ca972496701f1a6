#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The command: help, usage errors, what it prints.
. "$(dirname "$0")/lib.sh"

for command in train compare bench devices ops env check version; do
    expect 0 "usage: rushlight $command" "$rushlight" "$command" --help
    expect 2 "rushlight $command: no option '--nonsense'" "$rushlight" "$command" --nonsense
done
expect 0 'COMMAND' "$rushlight" --help
expect 2 'COMMAND' "$rushlight"
expect 2 "no command 'nonsense'" "$rushlight" nonsense
expect 0 '^rushlight [0-9]+\.[0-9]+\.[0-9]+' "$rushlight" version
expect 0 'RUSHLIGHT_DEVICE' "$rushlight" env
expect 0 'ref:0 +usable' "$rushlight" devices
expect 0 'softmax' "$rushlight" ops

"$rushlight" devices --json | python3 -m json.tool >/dev/null || fail "devices --json is no JSON"
"$rushlight" ops --json | python3 -m json.tool >/dev/null || fail "ops --json is no JSON"

expect 1 "no op's name contains 'zzz'" "$rushlight" ops zzz
expect 1 "no op's name contains 'zzz'" "$rushlight" ops zzz --json
"$rushlight" ops zzz --json 2>/dev/null | python3 -m json.tool >/dev/null || fail "ops zzz --json is no JSON"
# Every variable that anything here reads, but for sim's, which is no part of the package.
for variable in $(grep -rhoE 'getenv\("RUSHLIGHT_[A-Z0-9_]+"' "$source/runtime" "$source/backends" |
    grep -oE 'RUSHLIGHT_[A-Z0-9_]+' | sort -u); do
    expect 0 "^$variable " "$rushlight" env
done
for command in train compare devices ops env check version; do
    "$rushlight" "$command" --help | awk 'length > 120 { exit 1 }' || fail "$command --help is wider than 120 columns"
done

# ./dev says what is wrong with its arguments before it builds anything.
for command in setup build demo test bench format tidy asan tsan; do
    expect 0 "^\./dev $command " "$source/dev" "$command" --help
done
expect 1 "demo: no device 'simulator'" "$source/dev" demo simulator
expect 1 "demo takes names of devices, not '--fast'" "$source/dev" demo --fast
expect 1 "test does not take '--al'" "$source/dev" test --al
expect 2 'unrecognized arguments: --fast' "$source/dev" bench --fast

expect 2 'epochs' "$rushlight" train fashion-mnist --epochs x
expect 2 'epochs' "$rushlight" train fashion-mnist --epochs -1
expect 2 'batch' "$rushlight" train fashion-mnist --batch 0
expect 2 'lr' "$rushlight" train fashion-mnist --lr nan
expect 2 'lr' "$rushlight" train fashion-mnist --lr
expect 2 'nonsense' "$rushlight" train nonsense
expect 2 'nonsense' "$rushlight" train fashion-mnist --model nonsense
expect 1 'nonsense' "$rushlight" train fashion-mnist --device nonsense
expect 1 'no-such-folder' "$rushlight" train fashion-mnist --data "$root/no-such-folder"
expect 2 'path' "$rushlight" check
expect 1 'it cannot be found' "$rushlight" check "$root/no-such-file.so"
"$rushlight" ops >/dev/full 2>"$root/full" && fail "a full standard output is not noticed"
grep -q 'could not be written' "$root/full" || fail "a full standard output: $(cat "$root/full")"
finish
