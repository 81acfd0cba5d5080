package cgroup

import (
	"errors"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
)

// explained adds to a refused write what stands in its way and what to do, where the
// kernel has the same bare word for everything. Nothing is added where that cannot be
// seen.
func explained(h *cgfs.Hierarchy, dir string, err error) error {
	var refused *cgfs.Error
	if !errors.As(err, &refused) || refused.Op != "write" || strings.Contains(err.Error(), "\n") { // one of several
		return err
	}
	var why string
	file := path.Base(refused.Path)
	switch {
	case errors.Is(err, syscall.EINVAL):
		why = whyInvalid(h, dir, file, refused.Text)
	case errors.Is(err, syscall.EBUSY):
		why = whyBusy[file]
	case errors.Is(err, syscall.EACCES):
		why = whyDenied[file]
	case errors.Is(err, syscall.ENOSPC):
		why = whyNoSpace[file]
	case errors.Is(err, syscall.ERANGE):
		why = whyOutOfRange[file]
	}
	if why == "" {
		return err
	}
	return faultf(err, "%v: %s", err, why)
}

// What the kernel means by an errno (kernel/cgroup/cpuset-v1.c, mm/memcontrol.c).
var (
	whyBusy = map[string]string{
		"cpuset.cpus":           "a cgroup below it has others of them; change that first",
		"cpuset.mems":           "a cgroup below it has others of them; change that first",
		"memory.limit_in_bytes": "it has more memory than that, which cannot be freed now",
	}
	whyDenied = map[string]string{
		"cpuset.cpus":          "the cgroup above it does not have all of them",
		"cpuset.mems":          "the cgroup above it does not have all of them",
		"cpuset.cpu_exclusive": "the cgroup above it is not exclusive",
		"cpuset.mem_exclusive": "the cgroup above it is not exclusive",
	}
	whyNoSpace    = map[string]string{"cpuset.cpus": "it has processes, which need one", "cpuset.mems": "it has processes, which need one"}
	whyOutOfRange = map[string]string{"cpuset.cpus": "this host does not have all of them", "cpuset.mems": "this host does not have all of them"}
)

// explainedMove adds to a process that was not taken why it was not.
func explainedMove(h *cgfs.Hierarchy, dir string, err error) error {
	var why string
	switch {
	case errors.Is(err, syscall.ENOSPC):
		why = "it has no cpus, or no mems; set both first"
	case errors.Is(err, syscall.EBUSY) && h.Version() == 2:
		why = "it enables controllers for the cgroups below it, so that it takes no processes; name one of those"
	case errors.Is(err, syscall.EOPNOTSUPP) && h.Version() == 2:
		kind, _ := h.Read(dir, "cgroup.type")
		why = "its type is " + kind + ", see \"Threads\" in cgroup-v2.rst"
	case errors.Is(err, syscall.EINVAL):
		why = "the kernel keeps its own processes where they are, and real-time ones where rt_runtime_us is 0"
	default:
		return err
	}
	return faultf(err, "%v: %s", err, why)
}

// whyInvalid says why the kernel takes text to be invalid for a file of a cgroup.
func whyInvalid(h *cgfs.Hierarchy, dir, file, text string) string {
	number := func(file string) (int64, bool) {
		now, err := h.Read(dir, file)
		n, bad := strconv.ParseInt(now, 10, 64)
		return n, err == nil && bad == nil
	}
	want, _ := strconv.ParseInt(text, 10, 64)
	if want < 0 {
		want = 1<<63 - 1 // no limit
	}
	const limit, memsw = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	const quota, burst = "cpu.cfs_quota_us", "cpu.cfs_burst_us"
	switch file {
	case "cpu.shares", "cpu.weight":
		if dir == "" {
			return "the root of a hierarchy has none"
		}
		if idle, ok := number("cpu.idle"); ok && idle == 1 {
			return "it is idle, which leaves it no weight; set idle to 0 first"
		}
	case limit:
		if both, ok := number(memsw); ok && want > both {
			return "its memsw_limit_in_bytes, of memory and swap together, is " + strconv.FormatInt(both, 10) + "; raise that first"
		}
	case quota:
		if saved, ok := number(burst); ok && want < saved {
			return "its cfs_burst_us, which is at most the quota, is " + strconv.FormatInt(saved, 10) + "; lower that first"
		}
		return "on v1 no cgroup may have more of a CPU than the one above it, nor less than one below it"
	case burst:
		if most, ok := number(quota); ok && most > 0 && want > most {
			return "its cfs_quota_us is " + strconv.FormatInt(most, 10) + "; raise that first"
		}
	case "cpuset.cpus", "cpuset.mems":
		return "this host does not have all of them, or an exclusive sibling has some"
	case "cpu.rt_runtime_us":
		return "the one above it does not have that much to give"
	}
	return ""
}

// belowMemory refuses a limit of memory and swap together that is below that of memory
// alone, before which there has to be one.
func (k knob) belowMemory(row *cgfs.Setting, h *cgfs.Hierarchy, text string) error {
	want, err := strconv.ParseInt(text, 10, 64)
	if k.controller != "memory" || row.Key != "memsw_limit_in_bytes" || err != nil {
		return nil
	}
	alone, err := k.node.Memory().LimitInBytes.Get()
	switch {
	case err != nil:
		return err
	case alone == NoLimit:
		return faultf(syscall.EINVAL, "write %s %s: it has no limit_in_bytes, of memory alone; set that first", h.Display(k.node.dir(), row.Key), text)
	case int64(alone) > want:
		return faultf(syscall.EINVAL, "write %s %s: its limit_in_bytes, of memory alone, is %s; lower that first", h.Display(k.node.dir(), row.Key), text, alone)
	}
	return nil
}
