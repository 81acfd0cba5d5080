package cgfs

import "strconv"

// hugetlb: Documentation/admin-guide/cgroup-v1/hugetlb.rst; cgroup-v2.rst,
// "HugeTLB Interface Files". Each size of huge pages of the host has files of its
// own.

var hugetlbSettings = hugetlbRows()

// hugePages are the sizes of huge pages of all architectures, as the kernel
// spells them in file names.
var hugePages = []struct {
	name  string
	bytes int64
}{
	{"64KB", 64 << 10}, {"1MB", 1 << 20}, {"2MB", 2 << 20}, {"4MB", 4 << 20}, {"8MB", 8 << 20}, {"16MB", 16 << 20}, {"32MB", 32 << 20},
	{"256MB", 256 << 20}, {"512MB", 512 << 20}, {"1GB", 1 << 30}, {"2GB", 2 << 30}, {"16GB", 16 << 30},
}

func hugetlbRows() []Setting {
	var rows []Setting
	for _, p := range hugePages {
		for _, reserved := range []bool{false, true} {
			prefix, file, thing, doc := p.name+"_", "hugetlb."+p.name+".", p.name, "most memory in huge pages of "+p.name
			if reserved {
				prefix, file, thing, doc = prefix+"rsvd_", file+"rsvd.", thing+" rsvd", doc+", reservations included"
			}
			row := Setting{
				Thing: thing, Value: size(), Default: Unlimited,
				V1: []File{hugeFile(file+"limit_in_bytes", "-1", p.bytes)}, V2: []File{hugeFile(file+"max", Unlimited, p.bytes)},
			}
			row.Key, row.Doc = prefix+"limit_in_bytes", doc
			rows = append(rows, row)
			row.Key, row.Doc = prefix+"max", "the same as `"+row.Key+"`"
			rows = append(rows, row)
		}
	}
	return rows
}

var hugetlbFigures = hugetlbFigureRows()

func hugetlbFigureRows() []Setting {
	var rows []Setting
	for _, p := range hugePages {
		for _, reserved := range []bool{false, true} {
			key, v1, v2, what := p.name+"_", "hugetlb."+p.name+".", "hugetlb."+p.name+".", "memory in huge pages of "+p.name
			if reserved {
				key, v1, v2, what = key+"rsvd_", v1+"rsvd.", v2+"rsvd.", what+", reservations included"
			}
			rows = append(rows,
				figure(KindInteger, key+"usage_in_bytes", what+", that it has", files(v1+"usage_in_bytes"), files(v2+"current")),
				counter(key+"max_usage_in_bytes", what+", the most that it had", files(v1+"max_usage_in_bytes"), nil),
			)
			failures := counter(key+"failcnt", "how often it came to its limit of "+what, files(v1+"failcnt"), nil)
			if !reserved {
				failures = counter(key+"failcnt", "how often it came to its limit of "+what, files(v1+"failcnt"), scaled(v2+"events", "max", nil))
			}
			rows = append(rows, failures)
		}
	}
	return rows
}

// hugeFile is a limit in bytes that the kernel keeps in huge pages.
func hugeFile(name, unlimited string, page int64) File {
	f := File{
		Name: name, Probe: name, Note: "rounded down to " + strconv.FormatInt(page, 10), limit: Ceiling, form: Form{Unit: page},
		spell: func(text string, _ Caps) (string, string) {
			if text == Unlimited {
				return unlimited, Unlimited
			}
			text = roundDown(text, page)
			return text, text
		},
	}
	return f
}
