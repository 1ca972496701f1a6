#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Training by the command: on every device, saved, loaded, interrupted, and against failures of the device.
. "$(dirname "$0")/lib.sh"
export RUSHLIGHT_BACKEND_PATH=$root/sim
train() { "$rushlight" train fashion-mnist --data "$data" --batch 64 "$@"; }
json() { python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }

devices="ref sim"
[ -e "$(find "$prefix" -name rushlight_backend_onednn.so)" ] && devices="$devices onednn"
for device in $devices; do
    accuracy=$(train --epochs 2 --device "$device" --json 2>/dev/null | json accuracy)
    awk "BEGIN { exit !(${accuracy:-0} > 0.95) }" || fail "accuracy on $device is '$accuracy'"
done

# The other models: where convolutions are fast, and a few images where they are not.
if [[ $devices = *onednn* ]]; then
    accuracy=$(train --epochs 2 --model cnn --device onednn --json 2>/dev/null | json accuracy)
    awk "BEGIN { exit !(${accuracy:-0} > 0.95) }" || fail "accuracy of the cnn on onednn is '$accuracy'"
    expect 0 'epoch 1 ' "$rushlight" train fashion-mnist --data "$root/tiny" --model resnet18 --epochs 1 --device onednn
    expect 0 'ref:0 +[0-9]+ +1\.00 +[0-9.]+ % +is ref' "$rushlight" compare fashion-mnist --data "$root/tiny" --model cnn \
        --epochs 1 --batch 16 --devices onednn,ref --points 2 --every 1
fi
expect 0 'epoch 1 ' "$rushlight" train fashion-mnist --data "$root/tiny" --model cnn --epochs 1 --device ref
expect 2 "no model 'vgg'; there are: mlp, cnn, resnet18" "$rushlight" train fashion-mnist --model vgg

# A device that is slow does what it can in its time, and the table says how much that was; what ref cannot train at all
# is said, too.
expect 0 'ref:0: accuracy on the first 200 of 300 test images' "$rushlight" compare fashion-mnist --data "$data" \
    --model cnn --devices ref --seconds 0.01
expect 0 'sim:0: lockstep at 2 of 4 points' "$rushlight" compare fashion-mnist --data "$data" --model cnn --batch 16 \
    --devices sim --points 4 --seconds 0.01
expect 0 'ref:0: resnet18 takes its plain loops too long to train' "$rushlight" compare fashion-mnist --data "$root/tiny" \
    --model resnet18 --devices ref

# Lockstep in every dtype: a network of its own convolutions and norms stays within what each may differ by.
within='import json, sys
rows = [d for r in json.load(sys.stdin) for d in r["lockstep"]]
assert len(rows) == int(sys.argv[1]), rows
for d in rows:
    assert d["points"] == 3, d
    assert d["loss_difference"] <= d["loss_bound"] and d["gradient_difference"] <= d["gradient_bound"], d
bounds = {d["dtype"]: d["gradient_bound"] for d in rows}
assert bounds["float64"] < bounds["float32"] < bounds["float16"] < bounds["bfloat16"], bounds'
for device in ${devices#ref }; do
    for model in mlp cnn; do
        "$rushlight" compare fashion-mnist --data "$data" --model $model --epochs 1 --batch 32 --devices $device \
            --points 3 --every 2 --seconds 0 --dtypes all --json 2>/dev/null | python3 -c "$within" 4 ||
            fail "lockstep of $model on $device"
    done
done
expect 2 'dtypes takes float32, float64, float16, bfloat16 or all' "$rushlight" compare fashion-mnist --dtypes int8
expect 0 'sim:0 +float16 +1 .*\(3.9e-03\)' "$rushlight" compare fashion-mnist --data "$data" --devices sim --points 1 \
    --epochs 1 --dtypes float16,bfloat16

# A learning rate of 0 is one, in lockstep too: nothing moves, and what is compared differs from that of a training.
if [[ $devices = *onednn* ]]; then
    lockstep() {
        "$rushlight" compare fashion-mnist --data "$data" --epochs 1 --batch 16 --devices onednn --points 5 \
            --every 10 --lr "$1" --json 2>/dev/null | grep -o '"loss_difference.*}'
    }
    still=$(lockstep 0) moving=$(lockstep 0.001)
    [ -n "$still" ] && [ "$still" != "$moving" ] || fail "compare --lr 0 says '$still', --lr 0.001 '$moving'"
fi

# Saved after two epochs; from there, the accuracy is what it was, and one epoch more can be trained.
rm -f "$root"/*.safetensors*
saved=$(train --epochs 2 --device ref --save "$root/half.safetensors" --json 2>/dev/null | json accuracy)
loaded=$(train --epochs 0 --device ref --load "$root/half.safetensors" --json 2>/dev/null | json accuracy)
[ -n "$saved" ] && [ "$saved" = "$loaded" ] || fail "saved with accuracy '$saved', loaded with '$loaded'"
expect 0 'epoch 1' "$rushlight" train fashion-mnist --data "$data" --batch 64 --epochs 1 --device ref \
    --load "$root/half.safetensors" --save "$root/more.safetensors"
[ -s "$root/half.safetensors.optimizer" ] || fail "no state of the optimizer was saved"
head -c 100 "$root/half.safetensors" >"$root/cut.safetensors"
expect 1 'cut.safetensors' "$rushlight" train fashion-mnist --data "$data" --device ref --load "$root/cut.safetensors"
expect 1 'not-there' "$rushlight" train fashion-mnist --data "$data" --device ref --load "$root/not-there"
expect 1 'no/such/folder' "$rushlight" train fashion-mnist --data "$data" --device ref --epochs 0 \
    --save "$root/no/such/folder/x"
for place in "$root/no/such/folder/x" "$root" ''; do # before the work, not after it
    "$rushlight" train fashion-mnist --data "$data" --device ref --epochs 1 --save "$place" >"$root/place.log" 2>&1 &&
        fail "--save '$place' is taken"
    grep -q '^epoch' "$root/place.log" && fail "--save '$place' is refused only after the training"
done

# Ctrl-C: the step in progress ends, the weights are saved, status 130.
"$rushlight" train fashion-mnist --data "$data" --epochs 100000 --device ref --save "$root/stopped.safetensors" \
    >"$root/stopped.log" 2>&1 &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -qs 'epoch 1 ' "$root/stopped.log"; do sleep 0.1; done
kill -INT $pid
wait $pid
status=$?
[ $status = 130 ] || fail "Ctrl-C gives status $status: $(cat "$root/stopped.log")"
expect 0 'epoch 1' "$rushlight" train fashion-mnist --data "$data" --epochs 1 --device ref --load "$root/stopped.safetensors"

# The host runs a step or two ahead of a device that works later, not an epoch: within the first one it waits for each
# step, so that it is there, long before the epoch's end, that the 40th time of waiting fails.
RUSHLIGHT_SIM_FAIL=sync:40 "$rushlight" train fashion-mnist --data "$data" --batch 10 --epochs 20 --device sim \
    >"$root/ahead.log" 2>&1 && fail "the 40th synchronization, which fails, is not noticed"
grep -q '^epoch' "$root/ahead.log" && fail "nothing waits for the device within an epoch: $(cat "$root/ahead.log")"

# The same for programs: what was trained and where it was saved is in the JSON, and said on stderr.
rm -f "$root"/stopped.*
"$rushlight" train fashion-mnist --data "$data" --epochs 100000 --device ref --save "$root/stopped.safetensors" --json \
    >"$root/stopped.json" 2>"$root/stopped.log" &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -qs 'epoch 1 ' "$root/stopped.log"; do sleep 0.1; done
kill -INT $pid
wait $pid
[ "$(json saved <"$root/stopped.json")" = "$root/stopped.safetensors" ] || fail "the JSON: $(cat "$root/stopped.json")"
[ "$(json interrupted <"$root/stopped.json")" = True ] || fail "the JSON: $(cat "$root/stopped.json")"
grep -q 'interrupted after .* epochs; saved to' "$root/stopped.log" || fail "stderr: $(cat "$root/stopped.log")"

# A part of an epoch is told as such, in lines, tables and JSON.
expect 0 '^epoch 0\.' "$rushlight" train fashion-mnist --data "$data" --batch 1 --epochs 1 --device ref --seconds 0.02
part=$("$rushlight" compare fashion-mnist --data "$data" --batch 1 --epochs 1 --devices ref --seconds 0.02 --json \
    2>/dev/null | python3 -c "import json,sys; print(0 < json.load(sys.stdin)[0]['epochs'] < 1)")
[ "$part" = True ] || fail "compare --json tells no part of an epoch: $part"

# Piped output has no bar and no control characters.
train --epochs 1 --device ref 2>&1 | LC_ALL=C grep -q $'[\r\x1b]' && fail "piped output holds control characters"

# Data that lie.
mkdir -p "$root/lies"
cp "$data"/* "$root/lies"
head -c 3000 "$data/train-images-idx3-ubyte.gz" >"$root/lies/train-images-idx3-ubyte.gz"
expect 1 'train-images-idx3-ubyte.gz' "$rushlight" train fashion-mnist --data "$root/lies" --device ref

# A device that fails somewhere says so, whatever was going on; it never hangs.
for what in alloc copy launch sync lost; do
    for n in 1 2 3 5 9 17 40 41 120 500; do
        RUSHLIGHT_SIM_FAIL=$what:$n+ timeout 120 "$rushlight" train fashion-mnist --data "$data" --epochs 1 \
            --device sim >"$root/fail.log" 2>&1
        status=$?
        [ $status = 1 ] || [ $status = 0 ] || fail "RUSHLIGHT_SIM_FAIL=$what:$n+: status $status: $(tail -3 "$root/fail.log")"
        [ $status = 0 ] || grep -q '^rushlight: ' "$root/fail.log" || fail "$what:$n+: no error: $(cat "$root/fail.log")"
        [ $n -gt 3 ] || [ $status = 1 ] || fail "RUSHLIGHT_SIM_FAIL=$what:$n+ was not noticed"
    done
done
RUSHLIGHT_SIM_MEMORY=3000000 expect 1 'out of memory' "$rushlight" train fashion-mnist --data "$data" --epochs 1 --device sim
finish
