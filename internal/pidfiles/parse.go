package pidfiles

import (
	"bytes"
	"errors"
)

// maxPID is the kernel's PID_MAX_LIMIT on 64-bit machines, see proc_sys_kernel(5), pid_max.
const maxPID = 1 << 22

var (
	errNoPID    = errors.New("empty")
	errNotPID   = errors.New("not one decimal number")
	errPIDRange = errors.New("not a possible pid")
)

// ParsePID reads the content of a pid file: one decimal number from 1 to 4194304, with white space around it and zeros
// in front at most. The error never repeats what was read: it is shown to people who may not read the file.
func ParsePID(data []byte) (int, error) {
	data = bytes.Trim(data, " \t\r\n\v\f")
	if len(data) == 0 {
		return 0, errNoPID
	}
	pid := 0
	for _, c := range data {
		if c < '0' || c > '9' {
			return 0, errNotPID
		}
		// Once out of range it stays there, and the rest is still looked at.
		pid = min(pid*10+int(c-'0'), maxPID+1)
	}
	if pid < 1 || pid > maxPID {
		return 0, errPIDRange
	}
	return pid, nil
}
