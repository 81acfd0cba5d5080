#!/bin/sh
# Fetches what the virtual machines need into a cache outside the repository, once: Debian's kernels and a static busybox, unpacked and
# never installed. As root on Debian it also installs QEMU and the tools that make file systems.
#
#   usage: fetch.sh [NAME...]        all of kernel-6.1 kernel-6.12 busybox, or those named
#
# CGROUPARCHD_VM_CACHE names the cache (default: cgrouparchd-vm below $XDG_CACHE_HOME or ~/.cache), DEBIAN_MIRROR another mirror.
# What is there stays as it is; remove the cache to have newer kernels.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${CGROUPARCHD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cgrouparchd-vm}
mkdir -p "$cache"
exec 9>"$cache/lock" # one at a time: the package lists are shared
flock 9
# A mirror in the middle of an update, or a network that stumbles, deserves a second chance.
again() { "$@" || { sleep 15 && "$@"; }; }

missing=
while read -r proof package; do
	PATH=$PATH:/sbin:/usr/sbin command -v "$proof" >/dev/null || missing="$missing $package"
done <<LIST
qemu-system-x86_64 qemu-system-x86
mke2fs e2fsprogs
xz xz-utils
cpio cpio
mmdebstrap mmdebstrap
LIST
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "fetch.sh: installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	again apt-get update -q
	# seabios is only recommended by QEMU and needed by every machine. Word splitting is meant.
	again apt-get install -y -q --no-install-recommends seabios $missing
elif [ -n "$missing" ]; then
	echo "fetch.sh: not installed:$missing" >&2
fi
command -v apt-get >/dev/null || {
	echo "fetch.sh: the kernels are Debian packages and apt-get is not here" >&2
	exit 1
}

# Lists of packages are good for one run only: the mirror drops a package when its successor comes.
trap 'rm -rf "$cache/apt"' EXIT
rm -rf "$cache/apt"

# unpack SUITE PACKAGE DIRECTORY: the package, unpacked, in one step that a killed run does not leave half done.
unpack() {
	rm -rf "$3.new" "$3.deb"
	mkdir -p "$3.new" "$3.deb"
	(cd "$3.deb" && again "$here/apt.sh" "$1" download -q "$2")
	dpkg -x "$3.deb"/*.deb "$3.new"
	rm -rf "$3.deb"
	mv "$3.new" "$3"
}

# The cloud kernels are small and have NVMe and ext4 built in; the meta package names the newest.
kernel() {
	again "$here/apt.sh" "$1" lists
	package=$("$here/apt.sh" "$1" cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$package" ] || {
		echo "fetch.sh: $1 names no kernel in linux-image-cloud-amd64" >&2
		exit 1
	}
	unpack "$1" "$package" "$2"
}

[ $# != 0 ] || set -- kernel-6.1 kernel-6.12 busybox
for name in "$@"; do
	[ ! -e "$cache/$name" ] || continue
	echo "fetch.sh: fetching $name"
	case $name in
	kernel-6.1) kernel bookworm "$cache/$name" ;;
	kernel-6.12) kernel trixie "$cache/$name" ;;
	busybox) unpack bookworm busybox-static "$cache/$name" ;;
	*)
		echo "fetch.sh: what is $name?" >&2
		exit 2
		;;
	esac
done
