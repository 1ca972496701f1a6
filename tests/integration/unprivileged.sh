#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A machine where the libraries' packages are missing and cannot be installed: `./dev setup` as an ordinary user, then a
# build, an install tree that runs where it is moved to, and a configuration without cmocka. The packages are hidden in a
# mount namespace; what apt-get would download is packed from the files that are here, so nothing is fetched.
set -u
source=$(cd "$(dirname "$0")/../.." && pwd)
skip() {
    printf 'SKIPPED: %s\n' "$*" >&2
    exit 77
}
packages="libcmocka-dev libcmocka0 libcjson-dev libcjson1 zlib1g-dev zlib1g"
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || skip "only root can hide packages"
    command -v dpkg-deb setpriv unshare >/dev/null && dpkg -L $packages >/dev/null 2>&1 || skip "no dpkg, or not with $packages"
    [ -L /lib ] || skip "/lib is not a part of /usr here"
    unshare -m true 2>/dev/null || skip "no mount namespaces here"
    [ -z "${2:-}" ] || skip "not under sanitizers: it builds by itself"
    folder=$(mktemp -d /tmp/rushlight-unprivileged.XXXXXX)
    unshare -m "$0" inside "$folder"
    status=$?
    rm -rf "$folder"
    exit $status
fi

folder=$2
fail() {
    printf 'FAIL: %s\n' "$*" >&2
    exit 1
}
chmod 755 "$folder"
mkdir -p "$folder"/{source,fake,real/include,real/lib,seen/include,seen/lib}
(cd "$source" && tar -c --exclude=./build --exclude=./.deps --exclude=./.git .) | tar -x --no-same-owner -C "$folder/source"

# apt-get that knows one word.
cat >"$folder/fake/apt-get" <<SCRIPT
#!/bin/sh
for last; do :; done
case " \$* " in *" download "*) cp "$folder/fake/\${last}_1_all.deb" . ;; *) exit 1 ;; esac
SCRIPT
chmod 755 "$folder/fake/apt-get"
for package in $packages; do
    tree=$folder/fake/$package
    mkdir -p "$tree/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n' "$package" \
        >"$tree/DEBIAN/control"
    dpkg -L "$package" | while read -r file; do [ -d "$file" ] || printf '%s\n' "$file"; done |
        tar -c -P -T - | tar -x -C "$tree" 2>/dev/null
    dpkg-deb -b "$tree" "$folder/fake/${package}_1_all.deb" >/dev/null || fail "packing $package"
done

# The system's folders, but for what belongs to these packages.
library=/usr/lib/$(cc -print-multiarch)
mount --bind /usr/include "$folder/real/include" && mount --bind "$library" "$folder/real/lib" || fail "mount"
cp -as "$folder/real/include/." "$folder/seen/include/" && cp -as "$folder/real/lib/." "$folder/seen/lib/" || fail "cp"
rm -rf "$folder"/seen/include/{cmocka*,zlib.h,zconf.h,cjson} "$folder"/seen/lib/{libcmocka*,libcjson*,libz.so,libz.a} \
    "$folder"/seen/lib/cmake/{cJSON,cmocka}
mount --bind "$folder/seen/include" /usr/include && mount --bind "$folder/seen/lib" "$library" || fail "mount"
if command -v pkg-config >/dev/null; then mount --bind /dev/null "$(readlink -f "$(command -v pkg-config)")"; fi
mkdir -p "$folder/source/.deps/onednn/lib/cmake/dnnl" # so that it is not fetched
touch "$folder/source/.deps/onednn/lib/cmake/dnnl/dnnl-config.cmake"
chown -R 65534:65534 "$folder/source" "$folder/fake"

as_user() {
    (cd "$folder/source" && HOME=$folder/source PATH=$folder/fake:$PATH setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$@" </dev/null)
}
output=$(as_user ./dev setup 2>&1) || fail "./dev setup: $output"
[[ $output == *"no root here"* ]] || fail "./dev setup does not say that it unpacks: $output"
cat >"$folder/fake/cmake" <<SCRIPT
#!/bin/sh
[ "\$1" = --version ] && exec "$(command -v cmake)" --version
exit 1
SCRIPT
chmod 755 "$folder/fake/cmake"
output=$(as_user ./dev build 2>&1) # stops at that cmake
[[ $output == *"== building"* && $output != *"left out"* && $output != *"no root"* ]] ||
    fail "./dev build after ./dev setup repeats what is left out: $output"
rm "$folder/fake/cmake"

as_user cmake --preset release -DRUSHLIGHT_ONEDNN=OFF -DRUSHLIGHT_OPENCL=OFF -DCMAKE_C_FLAGS_RELEASE=-O0 >"$folder/log" 2>&1 &&
    as_user cmake --build build/release -j "$(nproc)" --target rushlight rushlight_command test_safetensors >>"$folder/log" 2>&1 && as_user cmake --install build/release >>"$folder/log" 2>&1 ||
    fail "building: $(tail -n 30 "$folder/log")"
output=$(as_user build/release/bin/test_safetensors 2>&1) || fail "a test of the build tree: $output"
output=$(as_user build/prefix/bin/rushlight ops add 2>&1) || fail "the command: $output"
mv "$folder/source/build/prefix" "$folder/elsewhere" && mv "$folder/source/.deps" "$folder/source/.gone"
output=$(as_user "$folder/elsewhere/bin/rushlight" ops add 2>&1) || fail "the command, moved: $output"
mv "$folder/source/.gone" "$folder/source/.deps"

rm "$folder"/source/.deps/root/usr/include/cmocka*.h
output=$(as_user cmake --preset debug -DRUSHLIGHT_ONEDNN=OFF -DRUSHLIGHT_OPENCL=OFF 2>&1) || fail "configuring without cmocka: $output"
[[ $output == *"tests are left out"* ]] || fail "configuring without cmocka does not say so: $output"
echo "all passed"
