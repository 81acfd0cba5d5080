#!/bin/sh
# Runs all the tests. On Debian, as root, it first installs what they need; elsewhere, or as another user, tests that lack something
# skip and say so. Arguments are passed on to go test, such as -run TestDrift.
set -eu
cd "$(dirname "$0")/.."

command -v go >/dev/null || {
	echo "run.sh: Go is not installed; see go.mod for the version" >&2
	exit 1
}

# Program or file that proves a package, and the package.
missing=
while read -r proof package; do
	case "$proof" in
	/*) [ -e "$proof" ] || missing="$missing $package" ;;
	*) command -v "$proof" >/dev/null || missing="$missing $package" ;;
	esac
done <<LIST
make make
gcc gcc
/usr/include/stdlib.h libc6-dev
/usr/bin/java default-jre-headless
/usr/share/java/zookeeper.jar zookeeper
redis-server redis-server
cgexec cgroup-tools
strace strace
cpio cpio
tmux tmux
curl curl
ip iproute2
chrt util-linux
/usr/lib/python3/dist-packages/websocket python3-websocket
LIST
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "run.sh: installing$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	# Word splitting is meant: one word a package.
	apt-get install -y -q --no-install-recommends $missing
	missing=
fi
if [ -z "$missing" ] && [ "$(id -u)" = 0 ]; then
	export CGROUPARCHD_TEST_ALL=1 # nothing is lacking: a test that skips would be a fault
else
	echo "run.sh: some tests will skip: not root, or not installed:$missing" >&2
fi

export CGO_ENABLED=1 # the race detector needs it
go vet ./...
status=0
# -count=1: the cache knows nothing of servers, of the kernel, or that the end-to-end tests build and run the daemon.
# The end-to-end tests hold the daemon to times that its contract names: they come when the machine does not compile any more.
go list ./... | grep -v '/test/e2e$' | xargs go test -race -count=1 -timeout 10m "$@" || status=1
go test -race -timeout 15m -count=1 "$@" ./test/e2e || status=1
exit $status
