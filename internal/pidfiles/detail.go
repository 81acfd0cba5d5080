package pidfiles

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A Detail is what a process does and costs, for people. The command line is not part of it: it may hold secrets, and
// this goes out over the network.
type Detail struct {
	PID     int       `json:"pid"`
	PPID    int       `json:"ppid"`
	Name    string    `json:"name"` // of the program, at most 15 bytes (proc_pid_comm(5))
	State   string    `json:"state"`
	Threads int       `json:"threads"`
	CPU     uint64    `json:"cpu_ns"`    // user and system time so far, all threads, in steps of 10 ms
	RSS     uint64    `json:"rss_bytes"` // memory in use, shared pages included
	Started time.Time `json:"started"`
}

// ReadDetail reads /proc/PID/stat. The error wraps [fs.ErrNotExist] when there is no such process.
func ReadDetail(pid int) (Detail, error) {
	name := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := os.ReadFile(name)
	if err != nil {
		return Detail{}, err
	}
	d, start, err := parseDetail(data, os.Getpagesize())
	if err != nil {
		return Detail{}, fmt.Errorf("%s: %w", name, err)
	}
	d.Started = bootTime().Add(time.Duration(start) * time.Second / ticksPerSecond).UTC().Truncate(10 * time.Millisecond)
	return d, nil
}

// parseDetail reads the text of /proc/PID/stat (proc_pid_stat(5)); start is in clock ticks since boot.
func parseDetail(data []byte, page int) (d Detail, start uint64, err error) {
	p, err := ParseStat(data)
	if err != nil {
		return Detail{}, 0, err
	}
	name := data[bytes.IndexByte(data, '(')+1 : bytes.LastIndexByte(data, ')')]
	f := fields{rest: data[bytes.LastIndexByte(data, ')')+1:]}
	f.skip(11) // 3 state to 13 cmajflt
	user, system := f.number(), f.number()
	f.skip(8) // 16 cutime to 23 vsize
	pages := f.number()
	if f.bad {
		return Detail{}, 0, errStat
	}
	return Detail{
		PID: p.PID, PPID: p.PPID, Name: string(bytes.ToValidUTF8(name, []byte("?"))), State: string(p.State), Threads: p.Threads,
		CPU: (user + system) * uint64(time.Second/ticksPerSecond), RSS: pages * uint64(page),
	}, p.Start, nil
}
