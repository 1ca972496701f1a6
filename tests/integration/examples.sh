#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The C examples, on every device.
. "$(dirname "$0")/lib.sh"
export RUSHLIGHT_BACKEND_PATH=$root/sim
lines=$(wc -l <"$source/frontends/c/linear.c")
[ "$lines" -lt 40 ] || fail "linear.c has $lines lines, must be under 40"
for i in 1 2 3 4 5 6 7 8 9 10; do echo "the candle burns, the rush gives light, "; done >"$root/rhyme"
devices="ref sim"
[ -e "$(find "$prefix" -name rushlight_backend_onednn.so)" ] && devices="$devices onednn"
for device in $devices; do
    export RUSHLIGHT_DEVICE=$device
    output=$("$root/examples/linear" 2>&1) || fail "linear on $device: $output"
    [ "$(printf '%s\n' "$output" | grep -c '^epoch')" = 10 ] || fail "linear on $device prints no ten losses: $output"
    printf '%s' "$output" >"$root/linear.$device"
    diff "$root/linear.ref" "$root/linear.$device" || fail "linear on $device prints other numbers than on ref"
    expect 0 'epoch 2  test accuracy 100.00 %' "$root/examples/fashion" "$data" 2
    expect 0 'step   50  loss [0-2]\.' "$root/examples/lstm" "$root/rhyme" 50
    expect 0 'epoch 2  test accuracy (9[5-9]|100)' "$root/examples/lenet" "$data" 2
    expect 0 'epoch 1  test accuracy' "$root/examples/vit" "$root/tiny" 1
    [ $device != onednn ] || expect 0 'epoch 1  test accuracy' "$root/examples/resnet" "$root/tiny" 1 # minutes on others
done
for example in lenet resnet vit lstm; do
    lines=$(wc -l <"$source/frontends/c/$example.c")
    [ "$lines" -lt 60 ] || fail "$example.c has $lines lines, must be under 60"
done
printf '%s' "$(cat "$root/linear.ref")" | awk '/^epoch/ { if (last != "" && $4 > last) exit 1; last = $4 }' ||
    fail "the losses of linear do not fall"
unset RUSHLIGHT_DEVICE
expect 1 'usage: lstm FILE' "$root/examples/lstm"
expect 1 'no-such-folder' "$root/examples/fashion" "$root/no-such-folder"
RUSHLIGHT_DEVICE=nonsense expect 1 'nonsense' "$root/examples/linear"
finish
