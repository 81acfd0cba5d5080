package cgfs

import (
	"strconv"
)

// memory: Documentation/admin-guide/cgroup-v1/memory.rst; usage_in_bytes is the
// memory of the cgroup and all below it, in bytes. cgroup-v2.rst, "Memory
// Interface Files".

var (
	memoryUsage        = Usage{Kind: UsageNumber, Key: "usage", Gauge: true, Files: []string{"memory.usage_in_bytes"}, ParseNumber: ParseNumber}
	memoryCurrentUsage = Usage{Kind: UsageNumber, Key: "usage", Gauge: true, Files: []string{"memory.current"}, ParseNumber: ParseNumber}
)

const (
	noHigh = "v1 has no limit that throttles a cgroup instead of killing in it"
	noMin  = "v1 cannot protect memory from reclaim"
)

// bytes1 is a v1 file that counts bytes in pages.
func bytes1(name string, level int) File {
	return File{
		Name: name, Probe: name, Note: "-1: no limit", form: Form{Unit: 1 << 16}, limit: Ceiling, level: level,
		spell: func(text string, caps Caps) (string, string) {
			if text == Unlimited {
				return "-1", Unlimited
			}
			text = roundDown(text, caps.page())
			return text, text
		},
	}
}

// bytes2 is a v2 file that counts bytes in pages.
func bytes2(name string, l Limit) File {
	return File{Name: name, limit: l, spell: func(text string, caps Caps) (string, string) {
		text = roundDown(text, caps.page())
		return text, text
	}}
}

// roundDown takes a number of bytes down to what the kernel keeps of it.
func roundDown(text string, unit int64) string {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return text // "max"
	}
	return strconv.FormatInt(n-n%unit, 10)
}

func kept(f File) File {
	f.kept, f.limit = true, NoLimit
	return f
}

var (
	memoryLimit1 = []File{bytes1("memory.limit_in_bytes", 1)}
	memoryLimit2 = []File{bytes2("memory.max", Ceiling)}
	memorySwap1  = []File{bytes1("memory.memsw.limit_in_bytes", 0)}
	memorySwap2  = []File{bytes2("memory.swap.max", Ceiling)}
)

var memorySettings = []Setting{
	{
		Key: "limit_in_bytes", Thing: "limit", Doc: "most memory that it may have, page cache included", Value: size(), Default: Unlimited,
		V1: memoryLimit1, V2: memoryLimit2,
	},
	{
		Key: "max", Thing: "limit", Doc: "the same as `limit_in_bytes`", Value: size(), Default: Unlimited,
		V1: memoryLimit1, V2: memoryLimit2,
	},
	{
		Key: "memory_limit", Thing: "limit", Doc: "the same, with a unit as a word", Value: sizeInWords(), Default: Unlimited,
		V1: memoryLimit1, V2: memoryLimit2,
	},
	{
		Key: "memsw_limit_in_bytes", Thing: "swap", Doc: "most memory and swap together; needs a `limit_in_bytes` (or `max`) that is not more",
		Value: size(), Default: Unlimited,
		V1: memorySwap1, V2: noted(memorySwap2, "less the limit of memory"), on1: swapTogether, on2: swapApart, read2: readTogether,
	},
	{
		Key: "swap_max", Thing: "swap", Doc: "most swap alone; v1 needs a `limit_in_bytes` (or `max`) as well", Value: size(), Default: Unlimited,
		V1: noted(memorySwap1, "plus the limit of memory"), V2: memorySwap2, on1: swapAdded, read1: readApart,
	},
	{
		Key: "soft_limit_in_bytes", Thing: "low", Doc: "memory that it should keep when memory is short", Value: size(), Default: Unlimited,
		V1: []File{soft("")}, V2: []File{low("no limit, the default of v1, is 0, the default of v2")},
	},
	{
		Key: "low", Thing: "low", Doc: "memory that it should keep when memory is short", Value: size(), Default: "0",
		V1: []File{soft("-1: no limit; so is 0, the default of v2")}, V2: []File{bytes2("memory.low", NoLimit)},
	},
	{
		Key: "min", Thing: "min", Doc: "memory that is never taken from it", Value: size(), Default: "0",
		V2: []File{bytes2("memory.min", NoLimit)}, Always: "0", NoV1: noMin,
	},
	{
		Key: "high", Thing: "high", Doc: "memory above which it is slowed down and reclaimed from", Value: size(), Default: Unlimited,
		V2: []File{bytes2("memory.high", Ceiling)}, Always: Unlimited, NoV1: noHigh,
	},
	{
		Key: "swap_high", Thing: "swap_high", Doc: "swap above which it is slowed down", Value: size(), Default: Unlimited,
		V2: []File{bytes2("memory.swap.high", Ceiling)}, Always: Unlimited, NoV1: noHigh,
	},
	{
		Key: "zswap_max", Thing: "zswap", Doc: "most compressed swap in memory", Value: size(), Default: Unlimited,
		V2: []File{bytes2("memory.zswap.max", Ceiling)}, Always: Unlimited, NoV1: "v1 has no limit of compressed swap",
	},
	{
		Key: "oom_group", Thing: "oom_group", Doc: "1: out of memory, all its processes are killed together", Value: boolean(), Default: "0",
		V2: []File{file("memory.oom.group")}, Always: "0", NoV1: "v1 kills one process at a time when memory is short",
	},
	{
		Key: "oom_control", Thing: "oom_control", Doc: "1: out of memory, its processes wait instead of one being killed", Value: boolean(), Default: "0",
		V1:     []File{{Name: "memory.oom_control", Probe: "memory.oom_control", form: Form{Line: "oom_kill_disable"}, Note: "`oom_kill_disable`"}},
		Always: "0", NoV2: "v2 cannot stop processes from being killed when memory is short: see high and oom_group",
	},
	{
		Key: "swappiness", Thing: "swappiness", Doc: "how readily it is swapped out", Value: integer(0, 200), Default: "60",
		V1: []File{file("memory.swappiness")}, NoV2: "v2 has one swappiness for the whole host",
	},
	{
		Key: "use_hierarchy", Thing: "use_hierarchy", Doc: "1: limits hold for the cgroups below as well; newer kernels know nothing else", Value: boolean(), Default: "1",
		V1: []File{file("memory.use_hierarchy")}, Always: "1", NoV2: "on v2 limits always hold for the cgroups below as well",
	},
	{
		Key: "move_charge_at_immigrate", Thing: "move_charge", Doc: "1: anonymous memory moves with a process, 2: mapped files, 3: both; not since Linux 6.13",
		Value: integer(0, 3), Default: "0",
		V1: []File{file("memory.move_charge_at_immigrate")}, Always: "0", NoV2: "on v2 memory stays where it was charged when a process moves",
	},
	{
		Key: "kmem_limit_in_bytes", Thing: "kmem", Doc: "most memory of the kernel's; newer kernels take it and do not keep to it", Value: size(), Default: Unlimited,
		V1: []File{kept(bytes1("memory.kmem.limit_in_bytes", 0))}, Always: Unlimited, NoV2: "v2 counts the kernel's memory as memory of the cgroup",
	},
	{
		Key: "kmem_tcp_limit_in_bytes", Thing: "kmem_tcp", Doc: "most memory of its TCP buffers", Value: size(), Default: Unlimited,
		V1: []File{bytes1("memory.kmem.tcp.limit_in_bytes", 0)}, Always: Unlimited, NoV2: "v2 counts TCP buffers as memory of the cgroup",
	},
}

func noted(files []File, note string) []File {
	f := files[0]
	f.Note = note
	return []File{f}
}

// soft is memory.soft_limit_in_bytes. Its default is no limit, which protects
// nothing, as the default of memory.low, 0, does.
func soft(note string) File {
	f := bytes1("memory.soft_limit_in_bytes", 0)
	f.limit = NoLimit
	if note != "" {
		f.Note = note
		f.shown = func(text string) string {
			if text == Unlimited {
				return "0"
			}
			return text
		}
		inner := f.spell
		f.spell = func(text string, caps Caps) (string, string) {
			if text == "0" {
				text = Unlimited
			}
			return inner(text, caps)
		}
	}
	return f
}

// low is memory.low for a soft limit.
func low(note string) File {
	f := bytes2("memory.low", NoLimit)
	f.Note = note
	f.shown = func(text string) string {
		if text == "0" {
			return Unlimited
		}
		return text
	}
	inner := f.spell
	f.spell = func(text string, caps Caps) (string, string) {
		if text == Unlimited {
			text = "0"
		}
		return inner(text, caps)
	}
	return f
}

// memoryLimit is the conf's limit of memory alone, rounded as the kernel does.
func (t *translation) memoryLimit() string {
	return roundDown(either(t.conf["limit_in_bytes"], either(t.conf["max"], either(t.conf["memory_limit"], Unlimited))), t.caps.page())
}

const needsLimit = "needs limit_in_bytes (or max) in the same conf, and not more than this"

// swapTogether writes v1's limit of memory and swap, which the kernel refuses
// when it is less than that of memory.
func swapTogether(t *translation, s *Setting, text string) {
	limit, _ := ceiling(t.memoryLimit())
	if both, _ := ceiling(roundDown(text, t.caps.page())); both < limit {
		t.fault(s.Key, needsLimit)
		return
	}
	plain(t, s, text)
}

// swapApart writes v2's limit of swap alone: the total less the limit of memory.
func swapApart(t *translation, s *Setting, text string) {
	if text == Unlimited {
		plain(t, s, text)
		return
	}
	both, _ := strconv.ParseInt(roundDown(text, t.caps.page()), 10, 64) // canonical
	limit, err := strconv.ParseInt(t.memoryLimit(), 10, 64)
	if err != nil || both < limit {
		t.fault(s.Key, needsLimit)
		return
	}
	n := len(t.writes)
	plain(t, s, strconv.FormatInt(both-limit, 10))
	t.alsoFor(n, "limit_in_bytes", "max", "memory_limit")
}

// swapAdded writes v1's limit of memory and swap for a limit of swap alone.
func swapAdded(t *translation, s *Setting, text string) {
	if text == Unlimited {
		plain(t, s, text)
		return
	}
	swap, _ := strconv.ParseInt(roundDown(text, t.caps.page()), 10, 64) // canonical
	limit, err := strconv.ParseInt(t.memoryLimit(), 10, 64)
	if err != nil {
		t.fault(s.Key, "v1 limits memory and swap together, so it needs limit_in_bytes (or max) in the same conf")
		return
	}
	n := len(t.writes)
	if sum := limit + swap; sum >= limit && sum < hugeBytes {
		plain(t, s, strconv.FormatInt(sum, 10))
	} else {
		plain(t, s, Unlimited)
	}
	t.alsoFor(n, "limit_in_bytes", "max", "memory_limit")
}

// alsoFor notes the other settings that the writes from n on serve.
func (t *translation) alsoFor(n int, keys ...string) {
	for i := range t.writes[n:] {
		for _, key := range keys {
			if t.conf[key] != "" {
				w := &t.writes[n+i]
				w.Keys = append(w.Keys, key)
			}
		}
	}
}

// readTogether is the limit of memory and swap together, from two limits of v2.
func readTogether(r reading, _ *Setting) (string, error) {
	return addedLimits(r, "memory.max", Form{}, "memory.swap.max", Form{}, 1)
}

// readApart is the limit of swap alone, from two limits of v1.
func readApart(r reading, _ *Setting) (string, error) {
	pages := Form{Unit: 1 << 16}
	return addedLimits(r, "memory.memsw.limit_in_bytes", pages, "memory.limit_in_bytes", pages, -1)
}

// addedLimits is one limit plus, or less, another; no limit where either is none.
func addedLimits(r reading, file1 string, form1 Form, file2 string, form2 Form, sign int64) (string, error) {
	a, err := r.canonical(File{Name: file1, form: form1})
	if err != nil || a == Unlimited {
		return a, err
	}
	b, err := r.canonical(File{Name: file2, form: form2})
	if err != nil || b == Unlimited {
		return b, err
	}
	x, err := parseInt(a)
	if err != nil {
		return "", err
	}
	y, err := parseInt(b)
	return strconv.FormatInt(max(x+sign*y, 0), 10), err
}

var memoryFigures = []Setting{
	figure(KindInteger, "usage_in_bytes", "memory that it has, page cache included", files("memory.usage_in_bytes"), files("memory.current")),
	counter("max_usage_in_bytes", "the most that it had", files("memory.max_usage_in_bytes"), files("memory.peak")),
	counter("failcnt", "how often it came to its limit", files("memory.failcnt"), scaled("memory.events", "max", nil)),
	figure(KindInteger, "memsw_usage_in_bytes", "memory and swap that it has", files("memory.memsw.usage_in_bytes"), nil),
	counter("memsw_max_usage_in_bytes", "the most memory and swap that it had", files("memory.memsw.max_usage_in_bytes"), nil),
	counter("memsw_failcnt", "how often it came to its limit of memory and swap", files("memory.memsw.failcnt"), nil),
	figure(KindInteger, "swap_usage", "swap that it has", nil, files("memory.swap.current")),
	figure(KindInteger, "swap_peak", "the most swap that it had", nil, files("memory.swap.peak")),
	figure(KindTable, "swap_events", "how often it came to its limits of swap", nil, files("memory.swap.events")),
	figure(KindInteger, "zswap_usage", "compressed swap in memory that it has", nil, files("memory.zswap.current")),
	figure(KindInteger, "kmem_usage_in_bytes", "memory of the kernel's that is charged to it", files("memory.kmem.usage_in_bytes"), scaled("memory.stat", "kernel", nil)),
	counter("kmem_max_usage_in_bytes", "the most of the kernel's memory that it had", files("memory.kmem.max_usage_in_bytes"), nil),
	counter("kmem_failcnt", "how often it came to its limit of the kernel's memory", files("memory.kmem.failcnt"), nil),
	figure(KindInteger, "kmem_tcp_usage_in_bytes", "memory of its TCP buffers", files("memory.kmem.tcp.usage_in_bytes"), scaled("memory.stat", "sock", nil)),
	counter("kmem_tcp_max_usage_in_bytes", "the most memory that its TCP buffers had", files("memory.kmem.tcp.max_usage_in_bytes"), nil),
	counter("kmem_tcp_failcnt", "how often they came to their limit", files("memory.kmem.tcp.failcnt"), nil),
	figure(KindTable, "stat", "what its memory is used for", files("memory.stat"), files("memory.stat")),
	figure(KindTables, "numa_stat", "the same by memory node", files("memory.numa_stat"), files("memory.numa_stat")),
	figure(KindFlag, "under_oom", "1: it is out of memory, and its processes wait", []File{oomLine("under_oom")}, nil),
	figure(KindInteger, "oom_kill", "how many of its processes were killed because memory was short", []File{oomLine("oom_kill")}, scaled("memory.events", "oom_kill", nil)),
	figure(KindTable, "events", "how often it came to its limits", nil, files("memory.events")),
	figure(KindTable, "events_local", "the same without the cgroups below", nil, files("memory.events.local")),
	figure(KindPressure, "pressure", "how long its processes waited for memory", nil, files("memory.pressure")),
	action("force_empty", "0 frees all of its memory that can be freed", exactly(0), files("memory.force_empty"), nil),
	action("reclaim", "frees so many bytes, if it can", size(), nil, files("memory.reclaim")),
	eventSource("pressure_level", "tells programs of memory pressure, through `cgroup.event_control`", files("memory.pressure_level"), "v2 tells of pressure in memory.pressure"),
}

func oomLine(line string) File {
	return File{Name: "memory.oom_control", form: Form{Line: line}, Note: "`" + line + "`"}
}

// eventSource is a row that is neither read nor written, on v1 only.
func eventSource(key, doc string, v1 []File, no2 string) Setting {
	s := figure(KindText, key, doc, v1, nil)
	s.Access, s.NoV2 = EventSource, no2
	return s
}
