package cgfs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// cpu: Documentation/scheduler/sched-design-CFS.rst, sched-bwc.rst and
// sched-rt-group.rst; cgroup-v2.rst, "CPU Interface Files".
// cpuacct: Documentation/admin-guide/cgroup-v1/cpuacct.rst; cpuacct.usage is
// cumulative nanoseconds of the cgroup and all below it. It is a file of the
// cpuacct controller, so it is not in the cpu hierarchy when the two are mounted
// apart.

var (
	// kernel/sched/cpuacct.c, cpuacct_charge. cpu.stat is not exact: it counts whole
	// microseconds, which a parent's may complete earlier or later than a child's.
	cpuUsage     = Usage{Kind: UsageNumber, Key: "usage", Exact: true, CPUTime: true, Files: []string{"cpuacct.usage"}, ParseNumber: ParseNumber}
	cpuStatUsage = Usage{Kind: UsageNumber, Key: "usage", CPUTime: true, Files: []string{"cpu.stat"}, ParseNumber: ParseCPUStat}
)

const (
	noRealTime = "v2 has no CPU budgets for real-time processes"

	// The kernel's bounds (kernel/sched/core.c): a quota of 1 ms at least and
	// below 2^44 us, a period of 1 ms to 1 s.
	minQuota, maxQuota   = 1000, 1<<44 - 1
	minPeriod, maxPeriod = 1000, 1000000
	defaultPeriod        = "100000"
	maxRealTimePeriod    = math.MaxInt32
)

var (
	// sched_group_set_shares in kernel/sched/fair.c asks for nothing but that the group
	// is not idle, which no new one is.
	cpuShares = []File{{Name: "cpu.shares", Probe: "cpu.shares", alone: true}}
	// Before a weight, which the kernel refuses for an idle cgroup.
	cpuIdle   = []File{{Name: "cpu.idle", Probe: "cpu.idle", level: -1}}
	cpuWeight = File{Name: "cpu.weight", Note: "share × 100 / 1024, or scaled to keep the ratios of siblings"}
	cpuQuota1 = []File{
		{Name: "cpu.cfs_quota_us", Probe: "cpu.cfs_quota_us", limit: Ceiling, Note: "first number; -1: no limit", spell: minusOne},
		{Name: "cpu.cfs_period_us", Probe: "cpu.cfs_period_us", limit: Interval, Note: "second number"},
	}
	cpuMax = []File{{Name: "cpu.max", limit: Bandwidth, Note: "`QUOTA PERIOD` in one write"}}
)

var cpuSettings = []Setting{
	{
		Key: "share", Thing: "weight", Doc: "weight of the cgroup's CPU time against its siblings",
		Value: clamped(2, 262144), Given: "1024", Default: "1024",
		V1: cpuShares, V2: []File{weighed(cpuWeight, perShare)}, on1: unlessIdle, on2: unlessIdle,
	},
	{
		Key: "shares", Thing: "weight", Doc: "the same as `share`",
		Value: clamped(2, 262144), Default: "1024",
		V1: cpuShares, V2: []File{weighed(cpuWeight, perShare)}, on1: unlessIdle, on2: unlessIdle,
	},
	{
		Key: "cpu_limit", Thing: "weight", Doc: "the same in percent of a share of 1024, as the Python library cgroups has it: a weight, not a limit",
		Value: percent(0, 100), Default: "100",
		V1:  []File{{Name: "cpu.shares", Probe: "cpu.shares", Note: "1024 × percent / 100", alone: true, spell: percentToShares, shown: sharesToPercent}},
		V2:  []File{weighedBy(cpuWeight, func(text string) uint64 { return sharesOf(text) * perShare }, func(text string) string { return sharesToPercent(weightToShare(text)) })},
		on1: unlessIdle, on2: unlessIdle,
	},
	{
		Key: "weight", Thing: "weight", Doc: "the same weight in the units of v2: 100 is a share of 1024",
		Value: integer(1, 10000), Default: "100",
		V1:  []File{{Name: "cpu.shares", Probe: "cpu.shares", Note: "× 1024 / 100", alone: true, spell: weightToShares, shown: sharesToWeight}},
		V2:  []File{weighed(cpuWeight, perWeight)},
		on1: unlessIdle, on2: unlessIdle,
	},
	{
		Key: "idle", Thing: "idle", Doc: "1: runs only while nothing else wants the CPU; its weight counts for nothing then",
		Value: boolean(), Default: "0",
		V1: cpuIdle, V2: cpuIdle,
	},
	{
		Key: "cfs_quota_us", Thing: "bandwidth/quota", Doc: "CPU time that it may use in each period, in µs; 200000 of 100000 are two CPUs",
		Value: limit(minQuota, maxQuota), Default: Unlimited,
		V1: []File{{Name: "cpu.cfs_quota_us", Probe: "cpu.cfs_quota_us", limit: Ceiling, Note: "-1: no limit", spell: minusOne, shown: orUnlimited}},
		V2: cpuMax, on2: quotaAndPeriod, read2: partOfMax(0),
	},
	{
		Key: "cfs_period_us", Thing: "bandwidth/period", Doc: "the period of `cfs_quota_us`, in µs",
		Value: integer(minPeriod, maxPeriod), Default: defaultPeriod,
		V1: []File{{Name: "cpu.cfs_period_us", Probe: "cpu.cfs_period_us", limit: Interval}},
		V2: cpuMax, on2: quotaAndPeriod, read2: partOfMax(1),
	},
	{
		Key: "max", Thing: "bandwidth", Doc: "quota and period in the form of v2: `\"50000 100000\"`; the period may be left out",
		Value: bandwidthValue(), Default: Unlimited + " " + defaultPeriod,
		V1: cpuQuota1, V2: cpuMax, on1: bandwidthInTwo, read1: bothOfMax,
	},
	{
		Key: "cpu_quota_percent", Thing: "bandwidth", Doc: "most CPU time, in percent of one CPU: 150 are one and a half",
		Value: percentOrMax(), Default: Unlimited,
		V1: cpuQuota1, V2: cpuMax, on1: quotaOfPercent, on2: quotaOfPercent, read1: percentOfMax, read2: percentOfMax,
	},
	{
		Key: "cfs_burst_us", Thing: "burst", Doc: "unused quota that may be saved up, in µs; at most the quota",
		Value: integer(0, maxQuota), Default: "0", V1: burst1, V2: burst2, on1: burstOfQuota, on2: burstOfQuota,
	},
	{
		Key: "max_burst", Thing: "burst", Doc: "the same as `cfs_burst_us`",
		Value: integer(0, maxQuota), Default: "0", V1: burst1, V2: burst2, on1: burstOfQuota, on2: burstOfQuota,
	},
	{
		Key: "rt_runtime_us", Thing: "rt/runtime", Doc: "CPU time that its real-time processes may use in each period, in µs; -1: no limit",
		Value: limit(0, math.MaxInt64), Default: "0",
		V1: []File{{Name: "cpu.rt_runtime_us", Probe: "cpu.rt_runtime_us", limit: Ceiling, level: 1, spell: minusOne, shown: orUnlimited}}, NoV2: noRealTime,
	},
	{
		Key: "rt_period_us", Thing: "rt/period", Doc: "the period of `rt_runtime_us`, in µs",
		Value: integer(1, maxRealTimePeriod), Default: "1000000",
		V1: []File{{Name: "cpu.rt_period_us", Probe: "cpu.rt_period_us", limit: Interval}}, NoV2: noRealTime,
	},
}

var (
	burst1 = []File{{Name: "cpu.cfs_burst_us", Probe: "cpu.cfs_burst_us", limit: Ceiling, level: 1}}
	burst2 = []File{{Name: "cpu.max.burst", limit: Ceiling, level: 1}}
)

// A share of 1024 and a weight of 100 mean the same. Both are counted in units
// that hold them exactly.
const (
	perShare     = 25
	perWeight    = 256
	defaultShare = 1024 * perShare
)

// weighed is the file cpu.weight for values of so many units each.
func weighed(f File, units uint64) File {
	shown := weightToShare
	if units == perWeight {
		shown = nil
	}
	return weighedBy(f, func(text string) uint64 {
		n, _ := strconv.ParseUint(text, 10, 64) // canonical
		return n * units
	}, shown)
}

func weighedBy(f File, units func(text string) uint64, shown func(text string) string) File {
	f.shown = shown
	f.weigh = func(text string) *Weight {
		return &Weight{Share: units(text), DefaultShare: defaultShare, Min: 1, Max: 10000, Default: 100}
	}
	return f
}

// weightToShare is the way back: the share that a weight stands for where siblings
// have the default.
func weightToShare(text string) string { return rescale(text, perWeight, perShare, 2, 262144) }

func sharesToWeight(text string) string { return rescale(text, perShare, perWeight, 1, 10000) }

// rescale rounds a number times a over b into a range.
func rescale(text string, a, b, low, high uint64) string {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return text
	}
	return strconv.FormatUint(min(max((n*a+b/2)/b, low), high), 10)
}

// weightToShares rounds to the nearest share.
func weightToShares(text string, _ Caps) (string, string) {
	n, _ := strconv.ParseUint(text, 10, 64) // canonical
	shares := strconv.FormatUint(max((n*perWeight+perShare/2)/perShare, 2), 10)
	return shares, shares
}

// unlessIdle writes a weight, which the kernel refuses for an idle cgroup.
func unlessIdle(t *translation, s *Setting, text string) {
	if t.conf["idle"] != "1" {
		plain(t, s, text)
	}
}

// bandwidthValue takes what cpu.max takes.
func bandwidthValue() Value {
	quota, period := limit(minQuota, maxQuota), integer(minPeriod, maxPeriod)
	return plainly(KindQuota, "`\"QUOTA PERIOD\"`, or QUOTA alone, which may be `\"max\"`", func(value any) (string, error) {
		var second any = defaultPeriod
		if s, ok := value.(string); ok {
			first, rest, two := strings.Cut(s, " ")
			value = first
			if two {
				second = rest
			}
		}
		q, _, err := quota.parse(value)
		if err != nil {
			return "", err
		}
		p, _, err := period.parse(second)
		return q + " " + p, err
	})
}

// quotaAndPeriod writes cpu.max once for both settings.
func quotaAndPeriod(t *translation, s *Setting, _ string) {
	if !t.once("cpu.max") {
		return
	}
	f, ok := t.pick(s)
	if !ok {
		return
	}
	w := Write{File: f.Name, Limit: f.limit, Text: either(t.conf["cfs_quota_us"], Unlimited) + " " + either(t.conf["cfs_period_us"], defaultPeriod)}
	for _, key := range []string{"cfs_quota_us", "cfs_period_us"} {
		if t.conf[key] != "" {
			w.Keys = append(w.Keys, key)
		}
	}
	w.ID, w.Want = w.Keys[0], w.Text
	t.writes = append(t.writes, w)
}

// bandwidthInTwo writes quota and period apart.
func bandwidthInTwo(t *translation, s *Setting, text string) {
	quota, period, _ := strings.Cut(text, " ")
	if _, ok := t.pick(s); ok {
		t.write(s, s.V1[0], quota)
		t.write(s, s.V1[1], period)
	}
}

// quotaOfPercent writes a part of one CPU, for the period that is the default.
func quotaOfPercent(t *translation, s *Setting, text string) {
	text = percentToQuota(text) + " " + defaultPeriod
	if t.caps.Version == 1 {
		bandwidthInTwo(t, s, text)
		return
	}
	plain(t, s, text)
}

func orUnlimited(text string) string {
	if text == "-1" {
		return Unlimited
	}
	return text
}

// partOfMax reads the quota or the period of cpu.max.
func partOfMax(part int) gauge {
	return func(r reading, _ *Setting) (string, error) {
		text, err := r.text("cpu.max")
		if err != nil {
			return "", err
		}
		quota, period, _ := strings.Cut(text, " ")
		return []string{quota, period}[part], nil
	}
}

// bothOfMax reads quota and period of v1 as cpu.max has them.
func bothOfMax(r reading, _ *Setting) (string, error) {
	quota, err := r.text("cpu.cfs_quota_us")
	if err != nil {
		return "", err
	}
	period, err := r.text("cpu.cfs_period_us")
	return orUnlimited(quota) + " " + period, err
}

// percentOfMax reads how much of one CPU the quota is.
func percentOfMax(r reading, s *Setting) (string, error) {
	var text string
	var err error
	if r.version == 1 {
		text, err = bothOfMax(r, s)
	} else {
		text, err = r.text("cpu.max")
	}
	if err != nil {
		return "", err
	}
	part, ok := bandwidth(text)
	if !ok {
		return "", fmt.Errorf("not a quota and a period: %q", clip(text))
	}
	if math.IsInf(part, 1) {
		return Unlimited, nil
	}
	return formatPercent(100 * part), nil
}

// burstOfQuota writes the burst, which the kernel refuses when it is more than
// the quota.
func burstOfQuota(t *translation, s *Setting, text string) {
	quota, _, _ := strings.Cut(t.conf["max"], " ")
	if p := t.conf["cpu_quota_percent"]; p != "" {
		quota = percentToQuota(p)
	}
	quota = either(t.conf["cfs_quota_us"], either(quota, Unlimited))
	q, _ := ceiling(quota)
	if b, _ := ceiling(text); b > q {
		t.fault(s.Key, "a burst of "+text+" is more than the quota of "+quota)
		return
	}
	plain(t, s, text)
}

var cpuFigures = []Setting{
	figure(KindTable, "stat", "periods, how many of them were throttled and for how long; v2: CPU time as well, in µs", files("cpu.stat"), files("cpu.stat")),
	figure(KindTable, "stat_local", "how long it was throttled by its own limit", files("cpu.stat.local"), files("cpu.stat.local")),
	figure(KindPressure, "pressure", "how long its processes waited for a CPU", nil, files("cpu.pressure")),
}

// cpuacct: v1 counts ticks of 1/100 s (USER_HZ) in cpuacct.stat, nanoseconds
// elsewhere; v2 µs, in the cpu.stat that every cgroup has.
var cpuacctFigures = []Setting{
	counter("usage", "CPU time, in ns", files("cpuacct.usage"), scaled("cpu.stat", "usage_usec", microToNano)),
	figure(KindInteger, "usage_user", "CPU time in programs, in ns", files("cpuacct.usage_user"), scaled("cpu.stat", "user_usec", microToNano)),
	figure(KindInteger, "usage_sys", "CPU time in the kernel, in ns", files("cpuacct.usage_sys"), scaled("cpu.stat", "system_usec", microToNano)),
	figure(KindList, "usage_percpu", "CPU time by CPU, in ns", files("cpuacct.usage_percpu"), nil),
	figure(KindList, "usage_percpu_user", "CPU time in programs by CPU, in ns", files("cpuacct.usage_percpu_user"), nil),
	figure(KindList, "usage_percpu_sys", "CPU time in the kernel by CPU, in ns", files("cpuacct.usage_percpu_sys"), nil),
	cpuTicks("stat"),
	cpuTicks("acct_stat"),
}

func cpuTicks(key string) Setting {
	s := figure(KindTable, key, "CPU time in programs (`user`) and in the kernel (`system`), in 1/100 s", files("cpuacct.stat"), files("cpu.stat"))
	s.read2 = func(r reading, _ *Setting) (string, error) {
		text, err := r.text("cpu.stat")
		if err != nil {
			return "", err
		}
		out := map[string]string{}
		for name, line := range map[string]string{"user": "user_usec", "system": "system_usec"} {
			out[name] = rescale64(Form{Line: line, Absent: "0"}.Read(text), 1, microPerTick)
		}
		return joinLines(out), nil
	}
	return s
}

// microPerTick: USER_HZ is 100 on all that Linux runs on today.
const microPerTick = 10000

func microToNano(text string) string { return rescale64(text, 1000, 1) }

// rescale64 multiplies and divides a counter, rounding down.
func rescale64(text string, a, b uint64) string {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return text
	}
	return strconv.FormatUint(n*a/b, 10)
}
