package cgfs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// blkio: Documentation/admin-guide/cgroup-v1/blkio-controller.rst and
// Documentation/block/bfq-iosched.rst; cgroup-v2.rst, "IO Interface Files".
//
// The plain throttle files count their own cgroup alone. The _recursive ones
// drop what a removed child had done and walk every descendant at each read, so
// the sum over the tree is made by the reader.

var blkioUsage = Usage{
	Kind: UsageDevices, SumBelow: true,
	Files:        []string{"blkio.throttle.io_service_bytes", "blkio.bfq.io_service_bytes"},
	ParseDevices: ParseServiceBytes,
}

// io.stat of v2 counts the cgroups below, removed ones included.
var ioUsage = Usage{Kind: UsageDevices, Files: []string{"io.stat"}, ParseDevices: ParseIOStat}

// Bounds of what the throttle files take. They keep operations in 32 bits, of
// which the largest means no limit.
const (
	maxBytesPerSecond = math.MaxInt64
	maxOpsPerSecond   = math.MaxUint32 - 1
)

const noLeaf = "v2 has no weight for the processes of an inner cgroup"

var blkioSettings = []Setting{
	{
		Key: "weight", Thing: "weight", Doc: "weight of the cgroup's disk time against its siblings",
		Value: integer(1, 1000), Default: TextDefault,
		V1: []File{
			// Neither asks for anything but the range: cfq_set_weight in block/cfq-iosched.c,
			// bfq_io_set_weight_legacy in block/bfq-cgroup.c.
			{Name: "blkio.weight", Default: "500", Probe: "blkio.leaf_weight", alone: true}, // CFQ, until Linux 4.20
			{Name: "blkio.bfq.weight", Default: "100", Probe: "blkio.bfq.io_service_bytes", alone: true},
		},
		V2: []File{
			{Name: "io.bfq.weight", Default: "100", form: Form{Line: "default"}},
			{Name: "io.weight", Default: "100", form: Form{Line: "default"}, weigh: ioWeight, Note: "as it is, or scaled to keep the ratios of siblings"},
		},
	},
	{
		Key: "weight_device", Thing: "weight_device", Doc: "the same for one disk", Value: perDevice(integer(1, 1000)), Default: TextDefault,
		V1: []File{
			{Name: "blkio.weight_device", Probe: "blkio.leaf_weight", form: Form{Absent: TextDefault}},
			{Name: "blkio.bfq.weight_device", Probe: "blkio.bfq.io_service_bytes", form: Form{Absent: TextDefault}},
		},
		V2: []File{{Name: "io.bfq.weight", form: Form{Absent: TextDefault}}}, on1: byLine, on2: weightOfDevice, read1: withoutDefault, read2: withoutDefault,
	},
	{
		Key: "leaf_weight", Thing: "leaf_weight", Doc: "weight of its own processes against its child cgroups; until Linux 4.20",
		Value: integer(10, 1000), Default: "500",
		V1: []File{file("blkio.leaf_weight")}, NoV2: noLeaf,
	},
	{
		Key: "leaf_weight_device", Thing: "leaf_weight_device", Doc: "the same for one disk", Value: perDevice(integer(10, 1000)), Default: TextDefault,
		V1:  []File{{Name: "blkio.leaf_weight_device", Probe: "blkio.leaf_weight", form: Form{Absent: TextDefault}}},
		on1: byLine, NoV2: noLeaf, read1: withoutDefault,
	},
	throttle("throttle_read_bps_device", "rbps", "bytes that it may read in a second, by disk", maxBytesPerSecond),
	throttle("throttle_write_bps_device", "wbps", "bytes that it may write in a second, by disk", maxBytesPerSecond),
	throttle("throttle_read_iops_device", "riops", "reads that it may do in a second, by disk", maxOpsPerSecond),
	throttle("throttle_write_iops_device", "wiops", "writes that it may do in a second, by disk", maxOpsPerSecond),
	{
		Key: "max", Thing: "throttle", Doc: "all four limits of a disk, as v2 names them: `{\"8:0\": {\"rbps\": 1048576, \"wiops\": \"max\"}}`",
		Value: perDevice(rates()), Default: "rbps=max wbps=max riops=max wiops=max",
		V1: []File{
			throttle1("throttle_read_bps_device", "`rbps`"), throttle1("throttle_write_bps_device", "`wbps`"),
			throttle1("throttle_read_iops_device", "`riops`"), throttle1("throttle_write_iops_device", "`wiops`"),
		},
		V2: []File{{Name: "io.max", Note: "one field a write"}}, on1: ratesApart, on2: ratesTogether, read1: readRates,
	},
}

// rateFields are the fields of io.max in the kernel's order, which is also that
// of the v1 files of the setting `max`.
var rateFields = []struct {
	name string
	most int64
}{{"rbps", maxBytesPerSecond}, {"wbps", maxBytesPerSecond}, {"riops", maxOpsPerSecond}, {"wiops", maxOpsPerSecond}}

// throttle is the row of one limit of a disk.
func throttle(key, field, doc string, most int64) Setting {
	return Setting{
		Key: key, Thing: "throttle/" + field, Doc: doc, Value: perDevice(rate(most)), Default: Unlimited,
		V1: []File{throttle1(key, "0: no limit")}, on1: byLine,
		V2: []File{{Name: "io.max", Note: "`" + field + "=`"}},
		on2: func(t *translation, s *Setting, text string) {
			if _, ok := t.pick(s); ok {
				for _, l := range cutLines(text) {
					t.ioMax(s, l.name, field, l.text)
				}
			}
		},
		read2: func(r reading, _ *Setting) (string, error) { return fieldByDevice(r, field) },
	}
}

// throttle1 is the v1 file of a limit. A rule of 0 takes the rule away.
func throttle1(key, note string) File {
	name := "blkio." + strings.Replace(key, "_", ".", 1)
	return File{
		Name: name, Probe: name, Note: note, limit: Ceiling, form: Form{Absent: Unlimited},
		spell: func(text string, _ Caps) (string, string) {
			if text == Unlimited {
				return "0", text
			}
			return text, text
		},
	}
}

// rate takes a limit by the second; v1 users write 0 for none.
func rate(most int64) Value {
	v := size()
	if most == maxOpsPerSecond {
		v = limit(0, math.MaxUint32)
	}
	return plainly(KindAmount, v.Words+"; so is 0", func(value any) (string, error) {
		text, _, err := v.parse(value)
		if n, notNumber := strconv.ParseInt(text, 10, 64); notNumber == nil && (n == 0 || n > most) {
			text = Unlimited
		}
		return text, err
	})
}

// rates takes an object of the fields of io.max.
func rates() Value {
	return plainly(KindRates, "an object with `rbps`, `wbps`, `riops` and `wiops`", func(value any) (string, error) {
		m, ok := value.(map[string]any)
		if !ok {
			return "", fmt.Errorf("not an object: %s", describe(value))
		}
		var out []string
		for _, f := range rateFields {
			v, given := m[f.name]
			if !given {
				continue
			}
			text, _, err := rate(f.most).parse(v)
			if err != nil {
				return "", fmt.Errorf("%s: %w", f.name, err)
			}
			out = append(out, f.name+"="+text)
		}
		if len(out) != len(m) || len(m) == 0 {
			return "", fmt.Errorf("has other members than rbps, wbps, riops and wiops, or none")
		}
		return strings.Join(out, " "), nil
	})
}

// ioMax writes one field of one disk.
func (t *translation) ioMax(s *Setting, disk, field, text string) {
	t.writes = append(t.writes, Write{
		ID: s.Key + " " + disk, Keys: []string{s.Key}, File: "io.max", Text: disk + " " + field + "=" + text, Want: text,
		Form: Form{Line: disk, Field: field, Absent: Unlimited}, Limit: Ceiling,
	})
}

func ratesTogether(t *translation, s *Setting, text string) {
	if _, ok := t.pick(s); !ok {
		return
	}
	for _, l := range cutLines(text) {
		for pair := range strings.FieldsSeq(l.text) {
			field, value, _ := strings.Cut(pair, "=")
			t.ioMax(s, l.name, field, value)
		}
	}
}

func ratesApart(t *translation, s *Setting, text string) {
	for _, l := range cutLines(text) {
		for i, f := range rateFields {
			value := Form{Line: l.name, Field: f.name}.Read(l.name + " " + l.text)
			if value == "" {
				continue
			}
			one := *s
			one.V1 = s.V1[i : i+1]
			byLine(t, &one, l.name+" "+value)
		}
	}
}

func ioWeight(text string) *Weight {
	n, _ := strconv.ParseUint(text, 10, 64) // canonical
	return &Weight{Share: n, DefaultShare: 100, Min: 1, Max: 10000, Default: 100}
}

// weightOfDevice needs the file whose weights are written as they are: those of
// io.weight are scaled with their siblings', which a single disk's could not
// follow.
func weightOfDevice(t *translation, s *Setting, text string) {
	if !t.caps.Has("io.bfq.weight") && t.caps.Has("io.weight") {
		t.fault(s.Key, "weights of single disks need the BFQ scheduler (io.bfq.weight): those of io.weight are scaled among siblings")
		return
	}
	byLine(t, s, text)
}

// withoutDefault reads weights by disk, which may follow a line for all others.
func withoutDefault(r reading, s *Setting) (string, error) {
	text, err := r.text(r.files(s)[0].Name)
	lines := map[string]string{}
	for _, l := range cutLines(text) {
		if l.name != "default" {
			lines[l.name] = l.text
		}
	}
	return joinLines(lines), err
}

// fieldByDevice reads one field of io.max.
func fieldByDevice(r reading, field string) (string, error) {
	text, err := r.text("io.max")
	lines := map[string]string{}
	for _, l := range cutLines(text) {
		if value := (Form{Line: l.name, Field: field, Absent: Unlimited}).Read(text); value != Unlimited {
			lines[l.name] = value
		}
	}
	return joinLines(lines), err
}

// readRates reads the four throttle files of v1 as io.max has them.
func readRates(r reading, s *Setting) (string, error) {
	rates := map[string]map[string]string{}
	for i, f := range s.V1 {
		text, err := r.text(f.Name)
		if err != nil {
			return "", err
		}
		for _, l := range cutLines(text) {
			if rates[l.name] == nil {
				rates[l.name] = map[string]string{}
			}
			rates[l.name][rateFields[i].name] = l.text
		}
	}
	lines := map[string]string{}
	for disk, given := range rates {
		var fields []string
		for _, f := range rateFields {
			fields = append(fields, f.name+"="+either(given[f.name], Unlimited))
		}
		lines[disk] = strings.Join(fields, " ")
	}
	return joinLines(lines), nil
}

// Names of the blkio files that arm a disk's counters: on recent kernels the
// throttle files stay at "Total 0" until a throttle rule exists for the disk.
const (
	// ArmFile takes the no-op rule "MAJ:MIN 0".
	ArmFile = "blkio.throttle.read_bps_device"
	// ArmedFile lists the disk in the cgroup that took the rule.
	ArmedFile = "blkio.throttle.io_service_bytes"
)

var errServiceBytes = errors.New("not a line of io_service_bytes")

// ParseServiceBytes reads blkio.*.io_service_bytes: lines such as
// "254:0 Read 106496", and at last "Total 2203648". Devices are appended to dst
// in the file's order.
func ParseServiceBytes(data []byte, dst []DeviceBytes) ([]DeviceBytes, error) {
	first := len(dst)
	for len(data) > 0 {
		var line []byte
		line, data = cutLine(data)
		if len(line) == 0 || bytes.HasPrefix(line, []byte("Total ")) {
			continue
		}
		major, rest, ok1 := cutNumber(line, ':')
		minor, rest, ok2 := cutNumber(rest, ' ')
		i := bytes.IndexByte(rest, ' ')
		if !ok1 || !ok2 || i < 0 || major > math.MaxUint32 || minor > math.MaxUint32 {
			return dst, fmt.Errorf("%w: %q", errServiceBytes, line[:min(len(line), 64)])
		}
		n, err := ParseNumber(rest[i+1:])
		if err != nil {
			return dst, fmt.Errorf("%w: %q", errServiceBytes, line[:min(len(line), 64)])
		}
		d := deviceEntry(&dst, first, uint32(major), uint32(minor))
		switch string(rest[:i]) {
		case "Read":
			d.Read = n
		case "Write":
			d.Write = n
		}
	}
	return dst, nil
}

// deviceEntry finds the entry of a device at or after first, or appends one. The
// kernel lists a device's lines together, so the last entry is nearly always it.
func deviceEntry(dst *[]DeviceBytes, first int, major, minor uint32) *DeviceBytes {
	s := *dst
	for i := len(s) - 1; i >= first; i-- {
		if s[i].Major == major && s[i].Minor == minor {
			return &s[i]
		}
	}
	*dst = append(s, DeviceBytes{Major: major, Minor: minor})
	return &(*dst)[len(*dst)-1]
}

func cutLine(data []byte) (line, rest []byte) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return data[:i], data[i+1:]
	}
	return data, nil
}

// cutNumber takes the number that data begins with and the separator behind it.
func cutNumber(data []byte, sep byte) (n uint64, rest []byte, ok bool) {
	i := bytes.IndexByte(data, sep)
	if i < 0 {
		return 0, data, false
	}
	n, err := ParseNumber(data[:i])
	return n, data[i+1:], err == nil
}
