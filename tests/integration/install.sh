#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the build, then builds the examples and the simulated device against the installed package alone.
. "$(dirname "$0")/lib.sh"
flags=${2:-}
rm -rf "$root"
mkdir -p "$root"

cmake --install "$build" --prefix "$prefix" >"$root/install.log" 2>&1 || { cat "$root/install.log"; exit 1; }
outside() { # folder of the source, folder of the build
    cmake -G Ninja -S "$source/$1" -B "$root/$2" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="${CC:-cc}" \
        -DCMAKE_C_FLAGS="$flags" -DCMAKE_PREFIX_PATH="$prefix;$source/.deps/root/usr" >"$root/$2.log" 2>&1 &&
        cmake --build "$root/$2" >>"$root/$2.log" 2>&1 || { cat "$root/$2.log"; exit 1; }
}
outside frontends/c examples
outside plugins/sim sim
outside tests/integration/devices devices

# As pkg-config tells it, for those without CMake.
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name rushlight.pc)")
    "${CC:-cc}" -std=c17 $flags "$source/frontends/c/linear.c" $(pkg-config --cflags --libs rushlight) -o "$root/linear" \
        || fail "linear.c does not build with pkg-config"
fi
python3 "$source/tests/integration/small_mnist.py" "$data" || fail "small_mnist.py"
python3 "$source/tests/integration/small_mnist.py" "$root/tiny" 64 20 || fail "small_mnist.py"
finish
