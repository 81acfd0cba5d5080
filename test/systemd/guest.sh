#!/bin/bash
# The unit of deploy/systemd under a real systemd: runs as root inside a throw-away machine that has booted it as PID 1,
# never on a host of yours. It installs the daemon there, and then restarts, kills, stalls and upgrades it, while placed
# processes must stay where they are, alive.
#
#   usage: guest.sh BINARY UNITS     the daemon, and the directory of cgrouparchd.service and cgrouparchd-generator
#          guest.sh after-reboot     the second part, once the same machine was started again
#
# It works on every layout that systemd mounts (v2, hybrid, v1). Exit status: 0, or 1 when a check failed. Each check
# is one line.
set -u

unit=cgrouparchd.service
drop=/etc/systemd/system/$unit.d
conf=/etc/cgrouparchd
failed=0

ok() { printf 'ok      %s\n' "$*"; }
bad() { printf 'FAILED  %s\n' "$*"; failed=1; }
note() { printf '        %s\n' "$*"; }
check() { # TEXT COMMAND...
	local text=$1
	shift
	if "$@"; then ok "$text"; else bad "$text"; fi
}
within() { # SECONDS COMMAND...: polls until the command succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
prop() { systemctl show "$unit" -p "$1" --value; }
is() { [ "$(prop "$1")" = "$2" ]; }
same() { [ "$1" = "$2" ] || { note "got '$1', want '$2'"; return 1; }; }
status_says() { [[ $(prop StatusText) == *"$1"* ]]; }
differs() { [ "$1" != "$2" ]; }
alive() { kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }

# where a process sits, in the hierarchy that has the cpu controller
where() {
	awk -F: '$2 ~ /(^|,)cpu(,|$)/ { v1 = $3 } $1 == "0" { v2 = $3 } END { print v1 != "" ? v1 : v2 }' "/proc/$1/cgroup"
}
v1() { [ -d /sys/fs/cgroup/cpu ]; }
mount_of() { v1 && echo /sys/fs/cgroup/cpu || echo /sys/fs/cgroup; }
root() { sed -n 's/.*"cgroup_root":"\([^"]*\)".*/\1/p' /run/cgrouparchd/root.json; }
at() { echo "$(root | sed 's,/*$,,')/$1"; } # a cgroup of the document, from the mount
dirof() { echo "$(mount_of)$(at "$1")"; }
share() { cat "$(dirof "$1")/$(v1 && echo cpu.shares || echo cpu.weight)"; }
twice() { # A B: the share of A is twice that of B
	local a b
	a=$(share "$1" 2>/dev/null) b=$(share "$2" 2>/dev/null)
	[ -n "$a" ] && [ -n "$b" ] && [ $((a * 100)) -ge $((b * 198)) ] && [ $((a * 100)) -le $((b * 202)) ]
}
healthy() { # the API answers
	local line
	exec 3<>/dev/tcp/127.0.0.1/43409 || return 1
	printf 'GET /%s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$1" >&3
	read -r line <&3
	exec 3>&-
	[[ $line == *" 200 "* ]]
} 2>/dev/null

document() { # SHARES [REST]: "name=share ..."; more subsystems, as JSON. "idle" is always there, without processes
	local s text='"idle": {"conf": {"share": 300}}'
	for s in $1; do
		text="$text, \"${s%=*}\": {\"conf\": {\"share\": ${s#*=}}}"
	done
	printf '{"cpu": {"sub_cgroup": {%s}}%s}\n' "$text" "${2-}" >$conf/conf.tmp
	mv $conf/conf.tmp $conf/arch_conf.json
}

workload() { # NAME: a process that outlives this script's commands, and its pid file
	setsid sleep 100000 </dev/null >/dev/null 2>&1 &
	echo $! >/run/cgatest/"$1".pid
}
pid() { cat /run/cgatest/"$1".pid; }
placed() { [ "$(where "$(pid "$1")")" = "$(at "$1")" ]; }
inode() { stat -c %i "$(dirof "$1")"; }

# Everything that must outlive whatever happens to the daemon.
unharmed() { # AFTER WHAT
	check "$1: placed processes live" alive "$web"
	check "$1: they are where they were" within 20 placed web
	check "$1: their cgroup is the same one" same "$(inode web)" "$web_inode"
	check "$1: settings hold" within 20 twice web db
	check "$1: an empty cgroup is there" within 20 test -d "$(dirof idle)"
	if [ "$(inode idle)" != "$idle_inode" ]; then
		# docs/cgroup-v2.md: systemd 254 removes it with the unit.
		case $1 in
		restart* | upgrade | "start again" | kill* | watchdog | good*) check "$1: an empty cgroup may be a new one" inside_unit ;;
		*) bad "$1: an empty cgroup is a new one" ;;
		esac
		note "$1: the empty cgroup is a new one"
		idle_inode=$(inode idle)
	fi
	check "$1: the unit is active" within 30 is ActiveState active
	check "$1: the API answers" within 30 healthy healthz
}

install_it() {
	install -m 0755 "$binary" /usr/local/bin/cgrouparchd
	install -m 0644 "$units/cgrouparchd.service" /etc/systemd/system/cgrouparchd.service
	install -D -m 0755 "$units/cgrouparchd-generator" /usr/local/lib/systemd/system-generators/cgrouparchd-generator
	mkdir -p $conf /run/cgatest "$drop"
	cat >$conf/cgrouparchd.toml <<-END
		conf_file = "$conf/arch_conf.json"
		communicate_ip = "127.0.0.1"
		tasks_update_interval = 2
		[cgroup_pid_files]
		web = ["/run/cgatest/web.pid"]
		db = ["/run/cgatest/db.pid"]
		app = ["/run/cgatest/app.pid"]
	END
	# A watchdog that bites within the patience of a test, but not a slow machine; the rest of the unit as it is shipped.
	printf '[Service]\nWatchdogSec=8\nRestartSec=1\nTimeoutAbortSec=3\n' >"$drop/test.conf"
	systemctl daemon-reload
}

first_part() {
	note "systemd $(systemctl --version | sed -n '1s/systemd //p')"
	note "$(mount_of): $(stat -fc %T "$(mount_of)")"
	install_it
	note "verify: $(systemd-analyze verify "$unit" 2>&1 | tr '\n' ' ')"
	document "web=400 db=200"
	workload web
	workload db

	check "start: ready" systemctl start "$unit"
	check "start: active" is ActiveState active
	check "start: the API answers" healthy healthz
	web=$(pid web)
	check "start: processes are placed" within 20 placed web
	check "start: settings are there" within 20 twice web db
	check "start: full pass" within 20 healthy readyz
	check "start: a line of status" within 20 status_says "version 0 in force"
	note "status: $(prop StatusText)"
	note "root: $(root); daemon: $(where "$(prop MainPID)")"
	web_inode=$(inode web)
	idle_inode=$(inode idle)
	unharmed "start"

	sandbox
	delegation

	document "web=400 db=200 extra=100"
	check "edit: a new cgroup" within 20 test -d "$(dirof extra)"
	document "web=400 db=200"
	check "edit: it goes" within 20 test ! -d "$(dirof extra)"
	document "web=100 db=200"
	check "edit: settings" within 20 twice db web
	document "web=400 db=200"
	check "edit: settings back" within 20 twice web db
	devices

	main=$(prop MainPID)
	check "reload" systemctl reload "$unit"
	unharmed "reload"
	check "reload: the same process" same "$(prop MainPID)" "$main"
	systemctl daemon-reload
	unharmed "daemon-reload"
	systemctl daemon-reexec
	within 20 systemctl is-active --quiet init.scope || true # it answers again
	unharmed "daemon-reexec"
	other_units
	unharmed "other units"
	check "so far: the same process, by the watchdog's leave too" same "$(prop MainPID)" "$main"

	for i in 1 2 3; do
		main=$(prop MainPID)
		check "restart $i" systemctl restart "$unit"
		check "restart $i: another process" differs "$(prop MainPID)" "$main"
		check "restart $i: nobody was moved" placed web
		unharmed "restart $i"
	done

	# An upgrade: another binary, then a restart.
	cp /usr/local/bin/cgrouparchd /usr/local/bin/cgrouparchd.new
	mv /usr/local/bin/cgrouparchd.new /usr/local/bin/cgrouparchd
	check "upgrade" systemctl restart "$unit"
	unharmed "upgrade"

	check "stop" systemctl stop "$unit"
	check "stop: inactive" is ActiveState inactive
	check "stop: placed processes live" alive "$web"
	check "stop: they are where they were" placed web
	check "stop: the root stays published" test -s /run/cgrouparchd/root.json
	check "start again" systemctl start "$unit"
	unharmed "start again"

	n=$(prop NRestarts)
	for i in 1 2; do
		kill -9 "$(prop MainPID)"
		check "kill -9 ($i): started again" within 30 is NRestarts $((n + i))
		unharmed "kill -9 ($i)"
	done

	# Stopped, it cannot ping; the signal that systemd sends cannot be handled either, so this is the hard case.
	n=$(prop NRestarts)
	main=$(prop MainPID)
	kill -STOP "$main"
	check "watchdog: started again" within 60 is NRestarts $((n + 1))
	check "watchdog: the old process is gone" gone "$main"
	unharmed "watchdog"
	placed_unit
	check "watchdog: no other restart" is NRestarts $((n + 1))

	mv $conf/cgrouparchd.toml $conf/good
	echo 'nonsense = 1' >$conf/cgrouparchd.toml
	systemctl restart "$unit" 2>/dev/null
	check "bad configuration: not active" differs "$(prop ActiveState)" active
	check "bad configuration: placed processes live" alive "$web"
	mv $conf/good $conf/cgrouparchd.toml
	check "good configuration: it comes by itself" within 30 is ActiveState active
	unharmed "good configuration"

	check "enable" systemctl enable --quiet "$unit"
}

# What the sandbox must leave possible, and what it must not do to placed processes.
sandbox() {
	mkdir -p /root/cgatest && chmod 700 /root/cgatest
	note "exposure: $(systemd-analyze security --no-pager "$unit" 2>/dev/null | tail -n 1)"
	local pids
	pids=$(cat "/sys/fs/cgroup$(prop ControlGroup)/pids.max" "/sys/fs/cgroup/pids$(prop ControlGroup)/pids.max" 2>/dev/null)
	check "sandbox: no limit of processes" same "$pids" max
	# A device rule of the unit would be one of every process placed below it.
	check "sandbox: placed processes have all devices" bash -c \
		'echo $$ >"$1/cgroup.procs" && dd if=/dev/nvme0n1 of=/dev/null bs=4k count=1 status=none' - "$(dirof web)"
	check "sandbox: marks are written" bash -c '[ "$(getfattr --only-values -n trusted.cgrouparchd "$1" 2>/dev/null)" = 1 ] ||
		! command -v getfattr >/dev/null' - "$(dirof web)"
	check "sandbox: state is kept" test -s /var/lib/cgrouparchd/applied.json
	check "sandbox: the last good document too" test -s /var/lib/cgrouparchd/last_good.json
	note "in the journal, at warn or worse:"
	journalctl -u "$unit" -o cat --no-pager | grep -E '"level":"(warn|error)"' | sed 's/^/          /' | head -n 20
}

# Where the tree is, by the version of systemd.
delegation() {
	if v1; then
		check "root: the whole hierarchy on v1" same "$(root)" /
		check "v1: not delegated" is Delegate no
		return
	fi
	if [ "$(systemctl --version | awk 'NR == 1 { print int($2) }')" -ge 254 ]; then
		check "root: inside the delegated unit" same "$(root)" "$(prop ControlGroup)/cgrouparch"
		check "root: the daemon beside it" same "$(where "$(prop MainPID)")" "$(prop ControlGroup)/daemon"
	else
		check "root: outside of the unit" same "$(root)" /cgrouparch
	fi
	check "run by hand: uses the same root" bash -c '
		cgrouparchd run --once --config /etc/cgrouparchd/cgrouparchd.toml >/dev/null 2>&1; [ "$1" = "$(sed -n "s/.*\"cgroup_root\":\"\([^\"]*\)\".*/\1/p" /run/cgrouparchd/root.json)" ]' - "$(root)"
}

inside_unit() { [[ $(root) == *.service/* ]]; }

# Device rules from within the sandbox: on v2 a program of eBPF.
devices() {
	document "web=400 db=200" ', "devices": {"sub_cgroup": {"web": {"conf": {"deny": ["a"], "allow": ["c 1:3 rwm"]}}}}'
	check "devices: one that is not allowed" within 20 refused /dev/zero
	check "devices: one that is allowed" opens /dev/null
	systemctl restart "$unit"
	check "devices: rules outlive the daemon" refused /dev/zero
	unharmed "restart with device rules"
	check "devices: rules hold" refused /dev/zero
	document "web=400 db=200"
	check "devices: rules go with the setting" within 20 opens /dev/zero
}
opens() { # DEVICE, by a process in web
	local dir
	dir=$(v1 && echo "/sys/fs/cgroup/devices$(at web)" || dirof web)
	bash -c 'if [ -d "$1" ]; then echo $$ >"$1/cgroup.procs" || exit; fi; : <"$2"' - "$dir" "$1" 2>/dev/null
}
refused() { opens /dev/null && ! opens "$1"; }

controllers() { [[ " $(cat "/sys/fs/cgroup$(dirname "$(at web)")/cgroup.subtree_control") " == *" cpu "* ]]; }

# systemd takes controllers back when units come and go.
other_units() {
	local u
	for u in plain weighted; do
		printf '[Service]\nExecStart=/bin/sleep 1000\n' >/run/systemd/system/cgatest-$u.service
	done
	printf 'CPUWeight=200\nIOWeight=200\nDelegate=yes\n' >>/run/systemd/system/cgatest-weighted.service
	systemctl daemon-reload
	for u in plain weighted; do
		systemctl start cgatest-$u && systemctl stop cgatest-$u
	done
	v1 || check "other units: our tree has its controllers" within 20 controllers
	v1 || note "root subtree_control: $(cat /sys/fs/cgroup/cgroup.subtree_control)"
}

# A service whose processes are placed: the daemon takes them out of the service's cgroup on v2, so that systemd only
# knows the main process.
placed_unit() {
	cat >/run/systemd/system/cgatest-app.service <<-'END'
		[Service]
		ExecStart=/bin/bash -c 'sleep 100001 & echo $$! >/run/cgatest/child; echo $$$$ >/run/cgatest/app.pid; wait'
	END
	systemctl daemon-reload
	document "web=400 db=200 app=100"
	systemctl start cgatest-app
	app_main=$(systemctl show cgatest-app -p MainPID --value)
	check "a service, placed" within 20 placed app
	sleep 1
	check "a service, placed: still active" systemctl is-active --quiet cgatest-app
	note "a service, placed: its own cgroup holds: $(cat /sys/fs/cgroup/system.slice/cgatest-app.service/cgroup.procs /sys/fs/cgroup/unified/system.slice/cgatest-app.service/cgroup.procs 2>/dev/null | tr '\n' ' ')"
	check "a service, placed: stop" systemctl stop cgatest-app
	check "a service, placed: its main process ends" within 20 gone "$app_main"
	if alive "$(cat /run/cgatest/child)"; then note "a service, placed: its child outlives the stop"; else note "a service, placed: its child ends too"; fi
	kill "$(cat /run/cgatest/child)" 2>/dev/null
	document "web=400 db=200"
	unharmed "a service, placed"
}

second_part() {
	note "second part: the machine was started again"
	mkdir -p /run/cgatest
	check "boot: active" within 60 is ActiveState active
	check "boot: full pass" within 60 healthy readyz
	workload web
	workload db
	web=$(pid web)
	check "boot: processes are placed" within 20 placed web
	web_inode=$(inode web)
	idle_inode=$(inode idle)
	unharmed "boot"
}

case $# in
1) [ "$1" = after-reboot ] && second_part || { echo "usage: guest.sh BINARY UNITS | after-reboot" >&2; exit 2; } ;;
2)
	binary=$1 units=$2
	first_part
	;;
*)
	echo "usage: guest.sh BINARY UNITS | after-reboot" >&2
	exit 2
	;;
esac
if [ $failed = 1 ]; then
	journalctl -u "$unit" -o short-monotonic --no-pager | grep -E '"level":"(warn|error)"' | tail -n 20
	journalctl -u "$unit" -o short-monotonic --no-pager | grep '"level"' | tail -n 40
fi
exit $failed
