#!/usr/bin/env bash
# `make dist`: what a release consists of, in target/dist/: a tarball with a static binary, a Debian package, the folder from
# which an image is built, and the checksums of the first two. BINARY=FILE takes a binary that is there instead of building one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/common.sh

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly triple=x86_64-unknown-linux-musl dist=$target/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=lan-gateway-$version-x86_64-linux
# Times in the archives are those of the last commit, so that the same commit gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

main() {
    rm -rf "$dist"
    mkdir -p "$dist"
    binary=${BINARY:-$(build_static)}
    tarball
    package
    image_folder
    (cd "$dist" && sha256sum ./*.tar.gz ./*.deb | sed 's|\./||' >SHA256SUMS && cat SHA256SUMS) >&2
    say "made $dist"
}

# Builds with musl, so that the binary needs nothing of the machine it runs on. No path of this machine is in it.
build_static() {
    command -v x86_64-linux-musl-gcc >/dev/null || install_debian musl-tools >&2
    rustup target add "$triple" >&2 || fail "the static build needs the compiler's target $triple"
    say "building a static release for $triple, some minutes"
    local flags="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=crates --remap-path-prefix=$PWD=."
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS=$flags \
        cargo build --release --locked --bin lan-gateway --target "$triple" >&2
    echo "$target/$triple/release/lan-gateway"
}

tarball() {
    local folder=$dist/$name
    mkdir -p "$folder/docs"
    install -m 755 "$binary" "$folder/lan-gateway"
    install -m 755 deploy/install.sh deploy/rollback.sh "$folder/"
    install -m 644 deploy/lan-gateway.service deploy/lan-gateway.toml LICENSE README.md CHANGELOG.md \
        SECURITY.md "$folder/"
    install -m 644 docs/*.md "$folder/docs/"
    mkdir -p "$folder/deploy"
    install -m 644 deploy/nginx.conf deploy/Caddyfile deploy/prometheus-rules.yml deploy/grafana-dashboard.json "$folder/deploy/"
    cp -r examples "$folder/examples"
    # shellcheck disable=SC2094  # what is written is left out of what is read
    (cd "$folder" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
    tar --create --directory "$dist" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$name" |
        gzip --best --no-name >"$folder.tar.gz"
    rm -rf "$folder"
}

package() {
    # Its binary stands where install.sh puts it; on the PATH is a link.
    mkdir -p "$dist/package"
    install -m 755 "$binary" "$dist/package/binary"
    ln -s /opt/lan-gateway/bin/lan-gateway "$dist/package/lan-gateway"
    cargo_deb --no-build --no-strip --target "$triple" --output "$dist/lan-gateway_${version}_amd64.deb"
    rm -rf "$dist/package"
}

# cargo-deb, built once into .tools/cargo; a newer one on the PATH does as well.
cargo_deb() {
    local tools=$PWD/.tools/cargo
    command -v cargo-deb >/dev/null || PATH=$tools/bin:$PATH
    command -v cargo-deb >/dev/null ||
        CARGO_TARGET_DIR=$tools/target cargo install --locked --quiet --root "$tools" cargo-deb@3.8.0 || fail "cargo-deb can't be installed"
    cargo deb "$@" >&2
}

# All that the image holds: no shell, no library, a folder for the data that its user may write.
image_folder() {
    install -D -m 755 "$binary" "$dist/image/lan-gateway"
    install -m 644 deploy/Dockerfile "$dist/image/"
    mkdir -p "$dist/image/data"
    chmod 700 "$dist/image/data"
}

main
