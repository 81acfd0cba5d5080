package cgfs

import "fmt"

// NewSet is the set of the given numbers.
func NewSet(members ...int) (Set, error) {
	var out Set
	for _, m := range members {
		if m < 0 || m > maxMember {
			return nil, fmt.Errorf("out of range 0 to %d: %d", maxMember, m)
		}
		out = append(out, Range{uint32(m), uint32(m)})
	}
	return out.normal(), nil
}

// Members are the numbers in the set, in ascending order.
func (s Set) Members() []int {
	var out []int
	for _, r := range s {
		for m := r.First; m <= r.Last; m++ {
			out = append(out, int(m))
		}
	}
	return out
}
