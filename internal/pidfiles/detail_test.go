package pidfiles

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseDetail(t *testing.T) {
	const numbers = " S 7 42 40 0 -1 4194560 100 200 0 0 5 6 7 8 20 0 3 0 123456 1000000 25 18446744073709551615 0\n"
	want := Detail{PID: 42, PPID: 7, Name: "a) b", State: "S", Threads: 3, CPU: 110_000_000, RSS: 25 * 4096}
	got, start, err := parseDetail([]byte("42 (a) b)"+numbers), 4096)
	if err != nil || start != 123456 {
		t.Fatalf("start %d, error %v", start, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, _, _ := parseDetail([]byte("42 (\xff)"+numbers), 4096); got.Name != "?" {
		t.Errorf("a name that is not UTF-8 becomes %q", got.Name)
	}
	if _, _, err := parseDetail([]byte("42 (x) S 7 42 40 0 -1 0 0 0 0 0 5 6 7 8 20 0 3 0 123456\n"), 4096); err == nil {
		t.Error("no error for a line that ends early")
	}
}

func TestReadDetail(t *testing.T) {
	d, err := ReadDetail(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(d.Started); d.PPID != os.Getppid() || d.RSS == 0 || d.Threads == 0 || age < -time.Second || age > time.Hour {
		t.Errorf("of this process: %+v", d)
	}
	if _, err := ReadDetail(1 << 30); !os.IsNotExist(err) {
		t.Errorf("of no process: %v", err)
	}
}
