package pidfiles

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePID(t *testing.T) {
	for _, test := range []struct {
		data string
		want int
		err  error
	}{
		{"1", 1, nil},
		{"4711\n", 4711, nil},
		{"  \t\r\n4711\v\f \n\n", 4711, nil},
		{"      4711\n", 4711, nil}, // the form of old lock files
		{"0004711", 4711, nil},
		{"4194304", 4194304, nil},
		{"", 0, errNoPID},
		{" \n", 0, errNoPID},
		{"0", 0, errPIDRange},
		{"4194305", 0, errPIDRange},
		{"18446744073709551617", 0, errPIDRange}, // 1 modulo 2^64
		{strings.Repeat("9", 4000), 0, errPIDRange},
		{strings.Repeat("9", 4000) + "x", 0, errNotPID},
		{"-1", 0, errNotPID},
		{"+1", 0, errNotPID},
		{"12abc", 0, errNotPID},
		{"12 13", 0, errNotPID},
		{"12\n13\n", 0, errNotPID},
		{"0x10", 0, errNotPID},
		{"1e3", 0, errNotPID},
		{"12\x00", 0, errNotPID},
		{"١٢", 0, errNotPID},
		{"\ufeff12", 0, errNotPID},
	} {
		got, err := ParsePID([]byte(test.data))
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("ParsePID(%.40q) = %d, %v; want %d, %v", test.data, got, err, test.want, test.err)
		}
	}
}

func FuzzParsePID(f *testing.F) {
	for _, seed := range []string{"1\n", " 4711 ", "", "0", "4194305", "-1", "12 13", "12abc", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pid, err := ParsePID(data)
		// strconv is the reference, after what may surround the number.
		want, refErr := strconv.Atoi(strings.TrimLeft(strings.Trim(string(data), " \t\r\n\v\f"), "0"))
		text := strings.Trim(string(data), " \t\r\n\v\f")
		ok := refErr == nil && want >= 1 && want <= maxPID && !strings.ContainsAny(text, "+-")
		if ok != (err == nil) || ok && pid != want || !ok && pid != 0 {
			t.Errorf("ParsePID(%q) = %d, %v", data, pid, err)
		}
		if err != nil && len(data) > 20 && strings.Contains(err.Error(), string(data)) {
			t.Errorf("the error shows the content: %v", err)
		}
	})
}

func TestParseStat(t *testing.T) {
	const numbers = " 0 -1 4194560 100 200 0 0 5 6 7 8 20 0 3 0 123456 1 2 18446744073709551615 0\n"
	want := Proc{PID: 42, PPID: 7, PGrp: 42, Session: 40, Threads: 3, Start: 123456, State: 'S'}
	for _, comm := range []string{
		"sleep", "", "a b", ")", "((", ") R 1 1 1 (", "x) Z 9 9 9 9", "new\nline", "kworker/u8:0-ext4-rsv-conversion", "\xff\xfe",
	} {
		got, err := ParseStat([]byte("42 (" + comm + ") S 7 42 40" + numbers))
		if err != nil {
			t.Errorf("name %q: %v", comm, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("name %q (-want +got):\n%s", comm, diff)
		}
	}

	kernel, err := ParseStat([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 33 0 0"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Proc{PID: 2, Threads: 1, Start: 33, State: 'S', Kernel: true}, kernel); diff != "" {
		t.Errorf("kthreadd (-want +got):\n%s", diff)
	}
	ending, err := ParseStat([]byte("9 (x) X 0 -1 -1 0 -1 4 0 0 0 0 0 0 0 0 20 0 0 0 33 0 0"))
	if err != nil || !ending.Ended() {
		t.Errorf("a process that is just ending: %+v, %v", ending, err)
	}

	for _, bad := range []string{
		"", "42", "42 (x", "42 x) S 1", "(x) S 7 42 40" + numbers, "0 (x) S 7 42 40" + numbers, "42 )x( S 7 42 40" + numbers,
		"42 (x) SS 7 42 40" + numbers, "42 (x) S 7 42 x" + numbers, "42 (x) S 7 42 40 0 -1 4194560 100",
		"42 (x) S - 42 40" + numbers, "42 (x) S 99999999999999999999 42 40" + numbers,
		"42 (x) S 7 42 40 0 -1 99999999999999999999 100 200 0 0 5 6 7 8 20 0 3 0 123456 1 2",
	} {
		if p, err := ParseStat([]byte(bad)); err == nil {
			t.Errorf("ParseStat(%q) = %+v, want an error", bad, p)
		}
	}
}

func TestEnded(t *testing.T) {
	for _, test := range []struct {
		p    Proc
		want bool
	}{
		{Proc{State: 'S', Threads: 1}, false},
		{Proc{State: 'D', Threads: 1}, false},
		{Proc{State: 'T', Threads: 1}, false},
		{Proc{State: 'Z', Threads: 1}, true},
		{Proc{State: 'Z', Threads: 0}, true},
		{Proc{State: 'Z', Threads: 2}, false}, // only the first thread has ended
		{Proc{State: 'X', Threads: 0}, true},
	} {
		if got := test.p.Ended(); got != test.want {
			t.Errorf("%c with %d threads: ended %v", test.p.State, test.p.Threads, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	if own, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(string(own), "name")
	}
	for _, comm := range []string{"a b", ")", ") R 1 1 1 (", "x\ny", ""} {
		f.Add("42 (x) S 7 42 40 0 -1 4194560 100 200 0 0 5 6 7 8 20 0 3 0 123456 1 2\n", comm)
	}
	f.Fuzz(func(t *testing.T, data, comm string) {
		p, err := ParseStat([]byte(data))
		if err == nil && (p.PID < 1 || p.PID > maxPID || p.PPID < 0 || p.PGrp < 0 || p.Session < 0 || p.Threads < 0) {
			t.Errorf("ParseStat(%q) = %+v", data, p)
		}
		// A name, whatever is in it, changes nothing.
		const rest = " S 7 42 40 0 -1 4194560 100 200 0 0 5 6 7 8 20 0 3 0 123456 1 2\n"
		want := Proc{PID: 42, PPID: 7, PGrp: 42, Session: 40, Threads: 3, Start: 123456, State: 'S'}
		if got, err := ParseStat([]byte("42 (" + comm + ")" + rest)); err != nil || got != want {
			t.Errorf("name %q: %+v, %v", comm, got, err)
		}
	})
}

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"0", 0, true}, {"18446744073709551615", 1<<64 - 1, true}, {"18446744073709551616", 0, false},
		{"99999999999999999999", 0, false}, {"000000000000000000001", 0, false}, {"", 0, false}, {"-1", 0, false},
	} {
		if got, ok := number([]byte(test.text)); got != test.want || ok != test.ok {
			t.Errorf("number(%q) = %d, %v", test.text, got, ok)
		}
	}
}

func TestParseUIDs(t *testing.T) {
	for _, test := range []struct {
		data string
		want [3]uint32
		ok   bool
	}{
		{"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t9\t9\t9\t9\n", [3]uint32{1, 2, 3}, true},
		{"Uid: 4294967295 0 0 0", [3]uint32{4294967295, 0, 0}, true},
		{"Name:\tUid:\t7\t7\t7\nUid:\t1\t1\t1\t1\n", [3]uint32{1, 1, 1}, true},
		{"Name:\tx\n", [3]uint32{}, false},
		{"Uid:\t1\t2\n", [3]uint32{}, false},
		{"Uid:\t1\tx\t3\t4\n", [3]uint32{}, false},
		{"Uid:\t4294967296\t2\t3\t4\n", [3]uint32{}, false},
	} {
		got, err := parseUIDs([]byte(test.data))
		if (err == nil) != test.ok || test.ok && got != test.want {
			t.Errorf("parseUIDs(%q) = %v, %v", test.data, got, err)
		}
	}
}

func FuzzParseUIDs(f *testing.F) {
	f.Add([]byte("Name:\tx\nUid:\t1\t2\t3\t4\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		uids, err := parseUIDs(data)
		if err != nil {
			return
		}
		text := fmt.Sprintf("Uid:\t%d\t%d\t%d\t0\n", uids[0], uids[1], uids[2])
		if again, err := parseUIDs([]byte(text)); err != nil || again != uids {
			t.Errorf("%v, again %v, %v", uids, again, err)
		}
	})
}

func TestParseList(t *testing.T) {
	got, err := parseList([]byte("/run/b.pid\n\n  /run/a b.pid \r\n/run/b.pid\n/run/c.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/run/a b.pid", "/run/b.pid", "/run/c.pid"}, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if _, err := parseList([]byte("/run/a\x00b\n")); err == nil {
		t.Error("a NUL byte in a path was accepted")
	}
}
