#!/bin/sh
# Runs apt-get (or, with "cache" as the first word, apt-cache) for a Debian suite that need not be this machine's, with lists and state
# in the cache of fetch.sh: nothing of the machine's own configuration is read or changed, and no root is needed.
#
#   usage: apt.sh SUITE download PACKAGE      apt.sh SUITE cache depends PACKAGE      apt.sh SUITE sources      apt.sh SUITE lists
set -eu
cache=${CGROUPARCHD_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cgrouparchd-vm}
suite=$1
shift
dir=$cache/apt/$suite
mkdir -p "$dir/lists/partial" "$dir/archives/partial"
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
# The updates of a stable release are newer kernels: the oldest point release would do as well.
signed=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
cat >"$dir/sources.list" <<LIST
deb [$signed] $mirror $suite main
deb [$signed] $mirror $suite-updates main
LIST
if [ "$1" = sources ]; then
	cat "$dir/sources.list"
	exit
fi
options="-o Dir::Etc::SourceList=$dir/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$dir/lists
	-o Dir::State::status=/dev/null -o Dir::Cache=$dir -o APT::Sandbox::User=root -o APT::Architecture=amd64
	-o APT::Architectures=amd64 -o Acquire::Languages=none -o Acquire::Retries=3"
# Word splitting is meant in what follows.
if [ ! -e "$dir/updated" ]; then
	# Without this option, lists that could not be fetched are only a warning.
	apt-get $options -o APT::Update::Error-Mode=any update -q >&2
	: >"$dir/updated"
fi
[ "$1" != lists ] || exit 0
if [ "$1" = cache ]; then
	shift
	exec apt-cache $options "$@"
fi
exec apt-get $options "$@"
