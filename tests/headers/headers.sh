#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each public header compiles alone, in each language and with each compiler that is at hand, and the layout of
# backend.h is what layout.txt says. $1: the source folder; $2: the build folder, where the generated headers are.
set -u
source=$1 build=$2 failures=0
include=$build/headers
rm -rf "$include" && mkdir -p "$include/rushlight" || exit 1
cp "$source"/runtime/include/rushlight/* "$include/rushlight" || exit 1
cp -r "$build"/runtime/include/rushlight/* "$include/rushlight" || exit 1

# compile COMPILER FLAGS ... HEADER
compile() {
    local compiler=$1 header=${*: -1} language=c
    [ "$compiler" = g++ ] || [ "$compiler" = clang++ ] && language=c++
    printf '#include "rushlight/%s"\n' "$header" |
        "${@:1:$#-1}" -x $language -I"$include" -Wall -Wextra -Wpedantic -Werror -fsyntax-only - ||
        { echo "FAIL: $*" >&2; failures=$((failures + 1)); }
}

compilers=0
for c in gcc clang; do
    cxx=${c/gcc/g}++
    command -v $c >/dev/null && command -v ${cxx/clang++/clang++} >/dev/null || { echo "note: without $c and $cxx"; continue; }
    compilers=$((compilers + 1))
    compile $c -std=c99 -pedantic-errors backend.h
    compile $cxx -std=c++17 -pedantic-errors backend.h
    for header in "$include"/rushlight/*.h "$include"/rushlight/*.hpp; do
        name=$(basename "$header")
        [ "${name##*.}" = hpp ] || compile $c -std=c17 "$name"
        compile $cxx -std=c++17 "$name"
    done
done
[ $compilers -gt 0 ] || { echo "FAIL: neither gcc nor clang is there" >&2; exit 1; }

# A longer layout, by lines that are new, is a new version; any other change breaks plugins that exist.
"${CC:-cc}" -std=c99 -I"$include" "$source/tests/headers/layout.c" -o "$build/headers/layout" &&
    "$build/headers/layout" >"$build/headers/layout.txt" || exit 1
diff "$source/tests/headers/layout.txt" "$build/headers/layout.txt" ||
    { echo "FAIL: the layout of backend.h has changed" >&2; failures=$((failures + 1)); }
exit $((failures > 0))
