#!/bin/sh
# Makes bin/cgrouparchd_VERSION_ARCH.deb of what `make install` installs. Usage: build.sh VERSION
set -eu
cd "$(dirname "$0")/../.."

# A version of Debian begins with a digit and has no dash where there is no revision: v1.2-3-gabc is 1.2+3+gabc,
# and a tree without a tag counts its commits and sorts before every release.
version=$(printf %s "${1#v}" | tr -- '-_' '++')
case "$version" in
[0-9]*.*) ;;
*) version="0~$(git rev-list --count HEAD 2>/dev/null || echo 0)+$version" ;;
esac
arch=$(dpkg --print-architecture)

# The licences of all modules in the binary ask to go with it.
licences() {
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/cgrouparchd | sort -u |
		while read -r path version dir; do
			printf '\n==== %s %s ====\n\n' "$path" "$version"
			cat "$dir"/LICENSE* "$dir"/NOTICE* 2>/dev/null || true
		done >"$1"
}

umask 022
stage=$(mktemp -d)
chmod 0755 "$stage"
trap 'rm -rf "$stage"' EXIT
make -s install DESTDIR="$stage" PREFIX=/usr
gzip -9n "$stage"/usr/share/man/man?/*
licences "$stage/usr/share/doc/cgrouparchd/copyright"
install -m 0644 CHANGELOG.md "$stage/usr/share/doc/cgrouparchd/changelog.md"
gzip -9n "$stage/usr/share/doc/cgrouparchd/changelog.md"

mkdir "$stage/DEBIAN"
size=$(du -sk --exclude=DEBIAN "$stage" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" deploy/deb/control >"$stage/DEBIAN/control"
# dpkg keeps an operator's changes to these at an upgrade, and asks when both sides changed them.
(cd "$stage" && find etc -type f -printf '/%p\n' | sort) >"$stage/DEBIAN/conffiles"
install -m 0755 deploy/deb/postinst deploy/deb/prerm deploy/deb/postrm "$stage/DEBIAN/"
(cd "$stage" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"

# The same commit gives the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
mkdir -p bin
deb="bin/cgrouparchd_${version}_$arch.deb"
dpkg-deb --root-owner-group -Zxz --build "$stage" "$deb" >/dev/null
echo "$deb"
