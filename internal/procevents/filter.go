package procevents

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// filter lets births and ends of whole processes through, and answers
// (Documentation/networking/filter.rst). A filter loads words in network byte order,
// whatever the host's is. Jumps count from the instruction after.
func filter() []unix.SockFilter {
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		keep    = unix.BPF_MISC | unix.BPF_TAX
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		equalsX = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X
		result  = unix.BPF_RET | unix.BPF_K
	)
	return []unix.SockFilter{
		{Code: load, K: atWhat},
		{Code: equal, K: loaded(whatAnswer), Jt: 10},
		{Code: equal, K: loaded(whatFork), Jt: 1},
		{Code: equal, K: loaded(whatExit), Jt: 4, Jf: 9},
		{Code: load, K: atChildThread}, // 4: fork
		{Code: keep},
		{Code: load, K: atChild},
		{Code: equalsX, Jt: 4, Jf: 5},
		{Code: load, K: atThread}, // 8: exit
		{Code: keep},
		{Code: load, K: atProcess},
		{Code: equalsX, Jf: 1},
		{Code: result, K: 1 << 16}, // 12: through
		{Code: result},             // 13: dropped
	}
}

// loaded is how the filter sees a word that the kernel has written.
func loaded(word uint32) uint32 {
	var b [4]byte
	host.PutUint32(b[:], 1)
	if b[0] == 1 {
		return bits.ReverseBytes32(word)
	}
	return word
}
