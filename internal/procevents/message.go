package procevents

import (
	"encoding/binary"
)

// Kind is what has happened.
type Kind uint8

// The kinds.
const (
	// Born: Parent has forked PID.
	Born Kind = iota + 1
	// Ended: the first thread of PID has ended. Others of its threads may live on.
	Ended
	answered // to what we sent
)

// An Event is the birth or the end of one process. Threads have none.
type Event struct {
	Kind   Kind
	PID    int
	Parent int // of Born: the process that is its parent, which is not the one that forked with CLONE_PARENT

	err, ack uint32 // of answered
}

// The layout of a message: struct nlmsghdr, struct cn_msg, struct proc_event
// (include/uapi/linux/netlink.h, connector.h, cn_proc.h), in the byte order of the
// host. Offsets count from its beginning.
const (
	sizeNetlink   = 16
	sizeConnector = 20

	atGroup  = sizeNetlink      // cn_msg.id.idx
	atValue  = sizeNetlink + 4  // cn_msg.id.val
	atSeq    = sizeNetlink + 8  // cn_msg.seq
	atAck    = sizeNetlink + 12 // cn_msg.ack
	atLength = sizeNetlink + 16 // cn_msg.len

	atWhat = sizeNetlink + sizeConnector // proc_event.what
	atData = atWhat + 16                 // proc_event.event_data

	// struct fork_proc_event: parent_pid, parent_tgid, child_pid, child_tgid;
	// struct exit_proc_event: process_pid, process_tgid, ...
	atParent, atChildThread, atChild = atData + 4, atData + 8, atData + 12
	atThread, atProcess              = atData, atData + 4

	smallest = atData + 16 // of a message that is looked at
)

// Values of proc_event.what, from enum proc_cn_event.
const (
	whatAnswer = 0
	whatFork   = 1
	whatExit   = 0x80000000
)

// Of the group: CN_IDX_PROC and CN_VAL_PROC, and what to tell it, from enum proc_cn_mcast_op.
const (
	groupProc = 1
	valueProc = 1
	listen    = 1
	ignore    = 2
)

var host = binary.NativeEndian

// parse reads one message. ok is false when it tells nothing of a process.
func parse(message []byte) (e Event, ok bool) {
	if len(message) < smallest || uint64(host.Uint32(message)) > uint64(len(message)) ||
		host.Uint32(message[atGroup:]) != groupProc || host.Uint32(message[atValue:]) != valueProc {
		return Event{}, false
	}
	at := func(offset int) int { return int(int32(host.Uint32(message[offset:]))) }
	switch host.Uint32(message[atWhat:]) {
	case whatAnswer:
		return Event{Kind: answered, err: host.Uint32(message[atData:]), ack: host.Uint32(message[atAck:])}, true
	case whatFork:
		e = Event{Kind: Born, PID: at(atChild), Parent: at(atParent)}
		return e, e.PID > 0 && e.Parent > 0 && at(atChildThread) == e.PID
	case whatExit:
		e = Event{Kind: Ended, PID: at(atProcess)}
		return e, e.PID > 0 && at(atThread) == e.PID
	}
	return Event{}, false
}

// request is the message that begins or ends listening; it is answered by ack+1.
func request(operation, ack uint32) []byte {
	const done = 3 // NLMSG_DONE
	m := make([]byte, atWhat+4)
	host.PutUint32(m, uint32(len(m)))
	host.PutUint16(m[4:], done)
	host.PutUint32(m[atGroup:], groupProc)
	host.PutUint32(m[atValue:], valueProc)
	host.PutUint32(m[atAck:], ack)
	host.PutUint16(m[atLength:], 4)
	host.PutUint32(m[atWhat:], operation)
	return m
}
