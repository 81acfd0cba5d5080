package cgfs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Set is a set of CPUs or memory nodes: ranges in ascending order that neither
// touch nor overlap. Its text is the kernel's list format (cpuset(7)).
type Set []Range

// Range is the numbers from First to Last.
type Range struct{ First, Last uint32 }

// maxMember bounds what a document may name; no kernel has as many CPUs.
const maxMember = 1<<16 - 1

// ParseSet reads the list format: "0-2,7".
func ParseSet(text string) (Set, error) {
	var set Set
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || a > b {
			return nil, fmt.Errorf("not a set of numbers such as 0-2,7: %q", text[:min(len(text), 64)])
		}
		set = append(set, Range{uint32(a), uint32(b)})
	}
	return set.normal(), nil
}

// normal sorts the ranges and joins those that touch.
func (s Set) normal() Set {
	slices.SortFunc(s, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// String is the set in the kernel's list format.
func (s Set) String() string {
	var parts []string
	for _, r := range s {
		part := strconv.FormatUint(uint64(r.First), 10)
		if r.Last > r.First {
			part += "-" + strconv.FormatUint(uint64(r.Last), 10)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}

// Union is every member of either set.
func (s Set) Union(other Set) Set { return append(slices.Clone(s), other...).normal() }

// Within says whether every member of s is one of other.
func (s Set) Within(other Set) bool {
	for _, r := range s {
		if !slices.ContainsFunc(other, func(o Range) bool { return o.First <= r.First && r.Last <= o.Last }) {
			return false
		}
	}
	return true
}
