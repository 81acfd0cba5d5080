package bpfiter

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What bpf(2) is asked for here and the library does not offer: links of the
// iterator to one cgroup, and runs that allocate nothing. The structs are parts of
// union bpf_attr (include/uapi/linux/bpf.h).

const (
	progTestRun = 10
	linkCreate  = 28
	iterCreate  = 33

	attachTraceIter = 28
	iterSelfOnly    = 1 // BPF_CGROUP_ITER_SELF_ONLY
)

type linkAttr struct {
	program, target, attachType, flags uint32
	info                               unsafe.Pointer
	infoLength                         uint32
	_                                  uint32
}

// iterInfo is the member cgroup of union bpf_iter_link_info.
type iterInfo struct {
	order, cgroup uint32
	id            uint64
}

type iterAttr struct{ link, flags uint32 }

type runAttr struct {
	program, result               uint32
	sizeIn, sizeOut               uint32
	in, out                       uint64
	repeat, duration              uint32
	contextSizeIn, contextSizeOut uint32
	context                       unsafe.Pointer
	contextOut                    uint64
	flags, cpu                    uint32
	batch, _                      uint32
}

func bpf(command uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(attr), size)
		switch errno {
		case 0:
			return int(r), nil
		case unix.EINTR:
			continue
		}
		return -1, errno
	}
}

// meet runs the iterator's program once, for the cgroup whose directory is open.
func meet(program, cgroup int) error {
	info := iterInfo{order: iterSelfOnly, cgroup: uint32(cgroup)}
	attr := linkAttr{program: uint32(program), attachType: attachTraceIter, info: unsafe.Pointer(&info), infoLength: uint32(unsafe.Sizeof(info))}
	link, err := bpf(linkCreate, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(&info)
	if err != nil {
		return err
	}
	defer unix.Close(link)
	create := iterAttr{link: uint32(link)}
	file, err := bpf(iterCreate, unsafe.Pointer(&create), unsafe.Sizeof(create))
	if err != nil {
		return err
	}
	defer unix.Close(file)
	var none [8]byte // the program writes nothing
	_, err = unix.Read(file, none[:])
	return err
}

// runner runs a program of BPF_PROG_TYPE_SYSCALL.
type runner struct {
	attr     runAttr
	from, to uint32 // its argument
}

func (r *runner) run(program int, from, to uint32) error {
	r.from, r.to = from, to
	r.attr = runAttr{program: uint32(program), contextSizeIn: 8, context: unsafe.Pointer(&r.from)}
	_, err := bpf(progTestRun, unsafe.Pointer(&r.attr), unsafe.Sizeof(r.attr))
	return err
}
