package bpfiter

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// shared is a map of numbers that are in our memory and in the kernel's.
type shared struct {
	m     *ebpf.Map
	bytes []byte
	words []uint64
}

func newShared(name string, size int) (s shared, err error) {
	s.m, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(size), Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return shared{}, err
	}
	page := os.Getpagesize()
	s.bytes, err = unix.Mmap(s.m.FD(), 0, (8*size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		_ = s.m.Close()
		return shared{}, fmt.Errorf("share the map %s: %w", name, err)
	}
	s.words = unsafe.Slice((*uint64)(unsafe.Pointer(&s.bytes[0])), size)
	return s, nil
}

func (s *shared) fd() int { return s.m.FD() }

func (s *shared) close() {
	if s.bytes != nil {
		_ = unix.Munmap(s.bytes)
	}
	if s.m != nil {
		_ = s.m.Close()
	}
	*s = shared{}
}
