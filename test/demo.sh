#!/bin/sh
# Shows the daemon at work within seconds, and leaves nothing behind.
#
#   test/demo.sh [--seconds N]     (as root; without --seconds until Ctrl-C)
#
# A configuration file stands for ZooKeeper and memory for Redis. Everything lives in a cgroup_root of its own and in a temporary
# directory: two processes that would each like to have a whole CPU, of which they get what their shares say, and one that writes to the
# disk past the cache.
set -eu

fail() {
	echo "demo: $*" >&2
	exit 1
}

seconds=
case "$#:${1-}" in
0:) ;;
2:--seconds) seconds=$2 ;;
*) fail "usage: test/demo.sh [--seconds N]" ;;
esac
case "$seconds" in *[!0-9]*) fail "--seconds: not a number: $seconds" ;; esac

cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || fail "must be root, for it makes cgroups; try: sudo $0"
command -v go >/dev/null || fail "Go is not installed"

# mount_of prints where a cgroup v1 controller is mounted (proc_pid_mountinfo(5): the options of the super block come last).
mount_of() {
	awk -v name="$1" '$0 ~ / - cgroup / && ("," $NF ",") ~ ("," name ",") { print $5; exit }' /proc/self/mountinfo
}
cpu=$(mount_of cpu)
blkio=$(mount_of blkio)
[ -n "$cpu" ] && [ -n "$blkio" ] || fail "this machine has no cgroup v1 hierarchies for cpu and blkio (it uses cgroup v2?)"

root=cgrouparch-demo-$$
mkdir "$cpu/$root" 2>/dev/null || fail "the cgroup hierarchy at $cpu is not writable (a container?)"
tmp=
daemon=
workloads=

# clean_up ends what we started and removes what was made. It runs however the script ends, save by SIGKILL.
clean_up() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	for pid in $workloads; do
		kill -s KILL -- "-$pid" 2>/dev/null || :
	done
	if [ -n "$daemon" ]; then
		kill -TERM "$daemon" 2>/dev/null || :
		# It stops within 5 s; if it does not, that is a bug which may not leave cgroups behind.
		for try in $(seq 100); do
			kill -0 "$daemon" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$daemon" 2>/dev/null || :
		wait "$daemon" 2>/dev/null || :
		if [ "$status" != 0 ] && [ "$status" -lt 128 ]; then tail -n 20 "$tmp/log" >&2; fi
	fi
	left=
	awk '$0 ~ / - cgroup / { print $5 }' /proc/self/mountinfo | sort -u >"${tmp:-/tmp}/$root.mounts"
	while read -r mount; do
		[ -d "$mount/$root" ] || continue
		for try in 1 2 3 4 5 6 7 8 9 10; do # a killed process takes a moment to leave its cgroup
			find "$mount/$root" -depth -type d -exec rmdir {} + 2>/dev/null && break
			sleep 0.2
		done
		[ ! -d "$mount/$root" ] || left="$left $mount/$root"
	done <"${tmp:-/tmp}/$root.mounts"
	rm -rf "${tmp:-/tmp/$root.mounts}"
	if [ -n "$left" ]; then
		echo "demo: could not remove$left" >&2
		exit 1
	fi
	echo "demo: stopped; every cgroup and process of it is gone"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 0' INT # Ctrl-C is how the demonstration ends
trap 'exit 143' TERM
trap 'exit 129' HUP

tmp=$(mktemp -d "/var/tmp/$root.XXXXXX") # /tmp may be memory, which no disk counts
echo "demo: building"
go build -buildvcs=false -o "$tmp/" ./cmd/cgrouparchd ./test/demo

# start_workload NAME SCRIPT: a process with a pid file, in a session of its own so that it ends with all its children. The script's $1
# is our pid: if we are killed, it ends by itself.
start_workload() {
	nice -n 10 setsid sh -c "$2" "$1" $$ "$tmp" >"$tmp/$1.log" 2>&1 &
	workloads="$workloads $!"
	echo $! >"$tmp/$1.pid"
}
cpus=$(taskset -c -p $$ | sed 's/.*[ ,-]//') # the last CPU that we may use: both processes must want the same one
busy="taskset -c -p $cpus \$\$ && while kill -0 \"\$1\"; do :; done"
start_workload front "$busy"
start_workload batch "$busy"
start_workload writer 'while kill -0 "$1"; do dd if=/dev/zero of="$2/data" bs=256k count=4 oflag=direct conv=notrunc; sleep 0.5; done'

: >"$tmp/log"
setsid "$tmp/cgrouparchd" run --cgroup-root "/$root" --conf-file "$PWD/test/demo/arch_conf.json" --state-dir "$tmp/state" \
	--communicate-ip 127.0.0.1 --communicate-port 0 --log-format json --redis-expire-time 60 \
	--cgroup-pid-files "front=$tmp/front.pid" --cgroup-pid-files "batch=$tmp/batch.pid" --cgroup-pid-files "writer=$tmp/writer.pid" \
	>"$tmp/log" 2>&1 &
daemon=$!

port=
for try in $(seq 150); do
	port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\).*/\1/p' "$tmp/log" | head -n 1)
	[ -z "$port" ] || break
	kill -0 "$daemon" 2>/dev/null || fail "the daemon ended at its start"
	sleep 0.1
done
[ -n "$port" ] || fail "the daemon does not say where it listens"

cat <<TEXT
demo: front and batch both want all of CPU $cpus. Their shares are 1024 and 200, so about 84 % and 16 % of what the machine leaves for
      $cpu/$root; writer writes 1 MiB at a time. Document: test/demo/arch_conf.json
      status: http://127.0.0.1:$port/status   Ctrl-C ends it and removes everything.
TEXT

lines=0
while [ -z "$seconds" ] || [ "$lines" -lt "$seconds" ]; do
	sleep 1
	kill -0 "$daemon" 2>/dev/null || fail "the daemon ended"
	"$tmp/cgrouparchd" show-account --communicate-ip 127.0.0.1 --communicate-port "$port" >"$tmp/slots" || fail "the daemon does not answer"
	"$tmp/demo" <"$tmp/slots" || [ $? = 3 ] || fail "cannot read the daemon's answer"
	lines=$((lines + 1))
done
