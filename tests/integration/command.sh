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
