package cgfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // gives cgroups.DevicesSetV2 its value
	"github.com/opencontainers/cgroups/devices/config"
	"golang.org/x/sys/unix"
)

// Device rules on v2: a program of type BPF_PROG_TYPE_CGROUP_DEVICE is attached to
// the cgroup and asked at every open and mknod. It is attached with
// BPF_PROG_ATTACH and not as a link, so it outlives the daemon and ends with its
// cgroup. The kernel shows programs but not their rules; those are kept in an
// extended attribute, with the id of the program that they belong to.

// devicesName is that attribute: "ID RULES".
const devicesName = MarkName + ".devices"

// maxRules bounds what is read back: the kernel's limit of an attribute's value.
const maxRules = 64 << 10

// readDeviceProgram tells the rules of our program while it is attached, else
// that there are none.
func (h *Hierarchy) readDeviceProgram(dir string) (string, error) {
	fd, err := h.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		defer unix.Close(fd)
		var text string
		if text, err = attachedRules(fd); err == nil {
			return text, nil
		}
	}
	return "", &Error{Op: "read", Path: h.Display(dir, DevicesFile), Err: err}
}

func attachedRules(fd int) (string, error) {
	id, text, err := recordedRules(fd)
	if err != nil || id == 0 {
		return AllDevices, err // the usual case costs no bpf(2)
	}
	ids, err := devicePrograms(fd)
	for _, attached := range ids {
		if attached == id {
			return text, nil
		}
	}
	return AllDevices, err
}

// recordedRules reads the attribute; id 0: there is none that makes sense.
func recordedRules(fd int) (id ebpf.ProgramID, text string, err error) {
	buf := make([]byte, maxRules)
	n, err := unix.Fgetxattr(fd, devicesName, buf)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	number, text, _ := strings.Cut(string(buf[:n]), " ")
	parsed, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return 0, "", nil // not of our making
	}
	return ebpf.ProgramID(parsed), text, nil
}

func devicePrograms(fd int) ([]ebpf.ProgramID, error) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: fd, Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return nil, fmt.Errorf("list device programs: %w", err)
	}
	ids := make([]ebpf.ProgramID, 0, len(found.Programs))
	for _, p := range found.Programs {
		ids = append(ids, p.ID)
	}
	return ids, nil
}

func (h *Hierarchy) writeDeviceProgram(dir string, want policy) error {
	fd, err := h.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if want.String() == AllDevices {
		return detachRules(fd)
	}
	return attachRules(fd, want)
}

// attachRules attaches a program in place of whatever device programs the cgroup
// has: the kernel asks all of them, so that another's could only take away.
func attachRules(fd int, want policy) error {
	before, err := devicePrograms(fd)
	if err != nil {
		return err
	}
	// The library takes a path; this one is the directory that is open already.
	if err := cgroups.DevicesSetV2("/proc/self/fd/"+strconv.Itoa(fd), &cgroups.Resources{Devices: programRules(want)}); err != nil {
		return fmt.Errorf("attach the device program: %w", err)
	}
	// In a user namespace the library takes the kernel's refusal for success.
	after, err := devicePrograms(fd)
	if err != nil {
		return err
	}
	if len(after) != 1 || len(before) > 0 && before[len(before)-1] == after[0] {
		return fmt.Errorf("attach the device program: %w: there are programs %v", ErrNotSupported, after)
	}
	record := fmt.Sprintf("%d %s", after[0], want)
	if err := unix.Fsetxattr(fd, devicesName, []byte(record), 0); err != nil {
		return fmt.Errorf("record the device rules: %w", err)
	}
	return nil
}

// programRules spells a policy for the library: all or nothing, then the rules.
func programRules(want policy) []*config.Rule {
	out := []*config.Rule{{Type: config.WildcardDevice, Major: config.Wildcard, Minor: config.Wildcard, Permissions: accessLetters, Allow: want.open}}
	for _, n := range want.rules.sorted() {
		out = append(out, &config.Rule{Type: config.Type(n.kind), Major: n.major, Minor: n.minor, Permissions: config.Permissions(want.rules[n].String()), Allow: !want.open})
	}
	return out
}

// detachRules takes our own program away, and no other.
func detachRules(fd int) error {
	id, _, err := recordedRules(fd)
	if err != nil || id == 0 {
		return err
	}
	ids, err := devicePrograms(fd)
	if err != nil {
		return err
	}
	for _, attached := range ids {
		if attached != id {
			continue
		}
		program, err := ebpf.NewProgramFromID(id)
		if err != nil {
			return fmt.Errorf("detach the device program: %w", err)
		}
		defer func() { _ = program.Close() }()
		if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: fd, Program: program, Attach: ebpf.AttachCGroupDevice}); err != nil {
			return fmt.Errorf("detach the device program: %w", err)
		}
	}
	if err := unix.Fremovexattr(fd, devicesName); err != nil && !errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("forget the device rules: %w", err)
	}
	return nil
}
