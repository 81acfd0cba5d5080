package bpfiter

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Reader reads the CPU usage of cgroups, each of which has a place in it. It keeps
// five descriptors open however many they are. It is not for several goroutines at
// a time.
type Reader struct {
	version int
	places  int
	used    int   // places that were ever taken
	free    []int // of those, the ones that were given back

	cgroups *ebpf.Map // counted pointers
	values  shared    // the value of each place
	control shared    // which place is to be filled
	adopts  *ebpf.Program
	reads   *ebpf.Program
	runner  *runner
}

// ErrGone says that a cgroup was removed, or is in a hierarchy that does not count
// CPU time. It is an [fs.ErrNotExist].
var ErrGone = fmt.Errorf("no such usage: %w", fs.ErrNotExist)

var errFull = errors.New("no place left")

// part is how many cgroups are read in one go, under RCU: some 0.05 ms on a machine
// of two CPUs.
const part = 512

// license: the kernel lends its functions only to programs under its own.
const license = "Dual BSD/GPL"

// Open makes a reader with so many places, for cgroups of one version, 1 or 2. It
// needs CAP_BPF and CAP_PERFMON or CAP_SYS_ADMIN, and Linux 6.4 with
// CONFIG_DEBUG_INFO_BTF; the error says what is missing. It takes some 40 ms. Close
// the reader when done.
func Open(version, places int) (*Reader, error) {
	r, err := open(version, places)
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("open the reader of cgroups (CAP_BPF and CAP_PERFMON are needed, and no lockdown of the kernel): %w", err)
	case err != nil:
		return nil, fmt.Errorf("open the reader of cgroups: %w", err)
	}
	return r, nil
}

func open(version, places int) (r *Reader, err error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	l, err := newLayout(kernel, version, cpus)
	if err != nil {
		return nil, err
	}
	r = &Reader{version: version, places: places, runner: new(runner)}
	if err := errors.Join(r.makeMaps(l), r.load(l)); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// pointers is the type of an element that holds a counted pointer to a cgroup. The
// kernel finds its own type by the name.
func pointers() btf.Type {
	cgroup := &btf.Struct{Name: "cgroup", Size: 8}
	return &btf.Struct{Name: "place", Size: 8, Members: []btf.Member{{
		Name: "cgroup", Type: &btf.Pointer{Target: &btf.TypeTag{Type: cgroup, Value: "kptr"}},
	}}}
}

func (r *Reader) makeMaps(l *layout) (err error) {
	r.cgroups, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "cgroups", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: uint32(r.places),
		Key: &btf.Int{Name: "unsigned int", Size: 4}, Value: pointers(),
	})
	if err != nil {
		return err
	}
	if r.values, err = newShared("values", max(r.places, l.cpus)); err != nil {
		return err
	}
	r.control, err = newShared("control", 1)
	return err
}

func (r *Reader) load(l *layout) (err error) {
	if r.control.words == nil {
		return nil // makeMaps has failed
	}
	r.adopts, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "adopt", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "cgroup", License: license,
		Instructions: adopt(l, r.control.fd(), r.cgroups.FD()),
	})
	if err != nil {
		return err
	}
	var bases []uint64
	if r.version == 1 {
		if bases, err = r.locate(l); err != nil {
			return err
		}
	}
	r.reads, err = newSyscall("read", read(l, r.version, r.cgroups.FD(), r.values.fd(), bases))
	return err
}

// locate finds where each CPU keeps its numbers.
func (r *Reader) locate(l *layout) ([]uint64, error) {
	percpu, err := ebpf.NewMap(&ebpf.MapSpec{Name: "percpu", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	defer func() { _ = percpu.Close() }()
	p, err := newSyscall("locate", locate(l, percpu.FD(), r.values.fd()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }()
	if err := r.runner.run(p.FD(), 0, 0); err != nil {
		return nil, fmt.Errorf("find where CPUs count: %w", err)
	}
	bases := make([]uint64, l.cpus)
	copy(bases, r.values.words)
	clear(r.values.words)
	for cpu, base := range bases {
		if base == 0 {
			return nil, fmt.Errorf("find where CPU %d counts: no address", cpu)
		}
	}
	return bases, nil
}

// Add gives the cgroup whose directory is open as the descriptor cgroup a place;
// the descriptor is not needed any more then. ErrGone: it has no usage.
func (r *Reader) Add(cgroup int) (place int, err error) {
	if place, err = r.take(); err != nil {
		return -1, fmt.Errorf("add a cgroup: %w", err)
	}
	r.control.words[0] = uint64(place)
	if err = meet(r.adopts.FD(), cgroup); err == nil {
		err = r.runner.run(r.reads.FD(), uint32(place), uint32(place+1))
	}
	if err == nil && r.values.words[place] == gone {
		err = ErrGone
	}
	if err != nil {
		r.Remove(place)
		return -1, fmt.Errorf("add a cgroup: %w", err)
	}
	return place, nil
}

func (r *Reader) take() (int, error) {
	if n := len(r.free); n > 0 {
		place := r.free[n-1]
		r.free = r.free[:n-1]
		return place, nil
	}
	if r.used == r.places {
		return -1, errFull
	}
	r.used++
	return r.used - 1, nil
}

// Remove takes a place back, so that the kernel can forget a cgroup that was
// removed.
func (r *Reader) Remove(place int) {
	var nothing uint64
	_ = r.cgroups.Put(uint32(place), nothing) // within the map, it cannot fail
	r.free = append(r.free, place)
}

// Places is how many cgroups the reader has room for.
func (r *Reader) Places() int { return r.places }

// Read brings the values of all places up to date. On v2 the kernel adds up the
// numbers of the CPUs when a file is read, so that the caller first reads cpu.stat
// of an ancestor of them all which is not the hierarchy's root.
func (r *Reader) Read() error {
	for from := 0; from < r.used; from += part {
		if err := r.runner.run(r.reads.FD(), uint32(from), uint32(min(from+part, r.used))); err != nil {
			return fmt.Errorf("read the usage of cgroups: %w", err)
		}
	}
	return nil
}

// Value is the CPU time that the cgroup in the place and all below it have used, as
// of the last Read, in nanoseconds; on v2 in whole microseconds, as its file shows
// it. Not ok: the cgroup was removed.
func (r *Reader) Value(place int) (usage uint64, ok bool) {
	usage = r.values.words[place]
	if usage == gone {
		return 0, false
	}
	if r.version == 2 {
		usage -= usage % 1000
	}
	return usage, true
}

// Close gives everything back to the kernel.
func (r *Reader) Close() {
	r.values.close()
	r.control.close()
	for _, p := range []*ebpf.Program{r.adopts, r.reads} {
		_ = p.Close() // of nil as well
	}
	_ = r.cgroups.Close()
}

// newSyscall loads a program that runs when it is asked to.
func newSyscall(name string, code asm.Instructions) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.Syscall, Flags: unix.BPF_F_SLEEPABLE, License: license, Instructions: code})
}
