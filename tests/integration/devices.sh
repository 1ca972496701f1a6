#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A program that uses several devices at once: copies, foreign memory, streams, errors that come late, lives.
. "$(dirname "$0")/lib.sh"
export RUSHLIGHT_BACKEND_PATH=$root/sim
expect 0 'PASSED' "$root/devices/devices"
finish
