package procevents

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLost says that events came faster than they were read: some are lost.
var ErrLost = errors.New("process events lost")

const (
	// answerIn is how long the kernel may take to answer, which it does at once.
	answerIn = time.Second
	// queue is how many bytes of events may wait: some thousand events, which are
	// hundreds of bytes each to the kernel.
	queue = 4 << 20
	// batch is how many events are read at most before they are handed over.
	batch = 256
)

// A Socket listens. Close it.
type Socket struct {
	file   *os.File
	raw    syscall.RawConn
	buf    [512]byte
	events []Event
}

// Open begins to listen. An error says why the kernel does not let us.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("open proc connector: %w", err)
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "proc connector"), events: make([]Event, 0, batch)}
	if err := s.begin(fd); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) begin(fd int) (err error) {
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return fmt.Errorf("open proc connector: %w", err)
	}
	program := filter()
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return fmt.Errorf("filter process events: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue); err != nil {
		return fmt.Errorf("make room for process events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (groupProc - 1)}); err != nil {
		return fmt.Errorf("join process events: %w", err)
	}
	ack := rand.Uint32()
	if err := s.send(request(listen, ack)); err != nil {
		return fmt.Errorf("ask for process events: %w", err)
	}
	return s.answer(ack + 1)
}

// answer waits for the answer to our request. The kernel gives none in another pid
// or user namespace than the host's. Others' answers reach the group as well.
func (s *Socket) answer(ack uint32) error {
	if err := s.SetDeadline(time.Now().Add(answerIn)); err != nil {
		return fmt.Errorf("wait for process events: %w", err)
	}
	for {
		var e Event
		err := s.receive(func(next Event) bool {
			e = next
			return e.Kind != answered || e.ack != ack
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errors.New("ask for process events: no answer, as in a namespace of one's own")
		case err != nil && !errors.Is(err, ErrLost):
			return err
		case e.Kind != answered || e.ack != ack:
		case e.err != 0:
			return fmt.Errorf("ask for process events: %w", syscall.Errno(e.err))
		default:
			return s.SetDeadline(time.Time{})
		}
	}
}

func (s *Socket) send(message []byte) error {
	var err error
	control := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return !errors.Is(err, unix.EAGAIN)
	})
	return errors.Join(control, err)
}

// SetDeadline lets Read return os.ErrDeadlineExceeded at a time; zero for never.
func (s *Socket) SetDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// Read waits for events and returns those that are there, some hundreds at most. They are
// valid until the next Read. After [ErrLost], which may come with events, and after a
// deadline reading may go on; any other error is the end.
func (s *Socket) Read() ([]Event, error) {
	s.events = s.events[:0]
	err := s.receive(func(e Event) bool {
		if e.Kind != answered {
			s.events = append(s.events, e)
		}
		return len(s.events) < batch
	})
	return s.events, err
}

// receive hands events over until there are no more, or take says that it is enough.
// It waits for the first one.
func (s *Socket) receive(take func(Event) bool) error {
	var failed error
	some := false
	err := s.raw.Read(func(fd uintptr) bool {
		for {
			n, from, err := unix.Recvfrom(int(fd), s.buf[:], 0)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
				return some
			case errors.Is(err, unix.ENOBUFS): // netlink(7)
				failed = ErrLost
				return true
			case err != nil:
				failed = fmt.Errorf("read process events: %w", err)
				return true
			}
			if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
				continue // not the kernel
			}
			if e, ok := parse(s.buf[:n]); ok {
				some = true
				if !take(e) {
					return true
				}
			}
		}
	})
	if err != nil {
		return fmt.Errorf("read process events: %w", err)
	}
	return failed
}

// Close ends listening; it may be called while Read waits. Older kernels go on making
// events until they are told.
func (s *Socket) Close() error {
	if s.raw != nil {
		_ = s.send(request(ignore, 0)) // the descriptor goes in any case
	}
	return s.file.Close()
}
