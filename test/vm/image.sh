#!/bin/sh
# Makes the disk of a minimal Debian with systemd in the cache of fetch.sh, unless it is there already, of the same packages and by this
# very script. servers.ext4 has ZooKeeper and Redis too.
#
#   usage: image.sh [systemd-252.ext4 | systemd-257.ext4 | servers.ext4]...      (default: systemd-252.ext4)
#
# Needs root, and mmdebstrap and mke2fs (fetch.sh installs them).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${CGROUPARCHD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cgrouparchd-vm}
minimal=systemd,systemd-sysv,dbus,cgroup-tools
PATH=$PATH:/sbin:/usr/sbin
exec 9>"$cache/lock" # as fetch.sh
flock 9
work=$cache/image.work
trap 'rm -rf "$work" "$cache/apt"' EXIT

# make_image SUITE PACKAGES SIZE IMAGE
make_image() {
	suite=$1 packages=$2 size=$3 image=$4
	key="$suite $packages $(cksum <"$here/image.sh")"
	if [ "$(cat "$image.packages" 2>/dev/null)" = "$key" ] && [ -e "$image" ]; then
		return
	fi
	echo "image.sh: making $image"
	# Once more if the mirror or the network stumbles.
	make_root || { sleep 15 && make_root; }
	rm -f "$image" "$image.packages"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -L root -d "$work/root" "$image" "$size"
	echo "$key" >"$image.packages"
}

make_root() {
	rm -rf "$work"
	mkdir -p "$work/root"
	"$here/apt.sh" "$suite" sources >"$work/sources.list"
	# The directories of the manual stay, for alternatives want them; its pages do not.
	mmdebstrap --quiet --variant=essential --include="$packages" \
		--aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook='
			set -e
			rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log
			echo vmtest >"$1"/etc/hostname
			echo "127.0.0.1 localhost vmtest" >"$1"/etc/hosts
			echo uninitialized >"$1"/etc/machine-id
			: >"$1"/etc/fstab
			mkdir -p "$1"/etc/systemd/journald.conf.d
			printf "[Journal]\nStorage=volatile\n" >"$1"/etc/systemd/journald.conf.d/vmtest.conf
		' "$suite" "$work/root.tar" - <"$work/sources.list" &&
		tar -C "$work/root" --numeric-owner -xf "$work/root.tar"
}

[ $# != 0 ] || set -- systemd-252.ext4
for name in "$@"; do
	case $name in
	systemd-252.ext4) make_image bookworm $minimal 1G "$cache/$name" ;;
	systemd-257.ext4) make_image trixie $minimal 1G "$cache/$name" ;;
	servers.ext4) make_image bookworm $minimal,redis-server,zookeeper,default-jre-headless 2G "$cache/$name" ;;
	*)
		echo "image.sh: what is $name?" >&2
		exit 2
		;;
	esac
done
