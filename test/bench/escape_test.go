package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

var fetched = regexp.MustCompile(`"msg":"pass done".*"moved":[1-9].*"duration":"([^"]+)"`)

// escapeRow: a process that somebody has moved out of its cgroup forks. Found is when the daemon begins to move the child, as
// its log says: what follows waits for the kernel, as one write in C does.
func escapeRow(b *bench) {
	escaped, _ := b.start(b.floor("escape"))
	b.members = append(b.members, escaped.end)
	pidFile := b.file("escape.pid", strconv.Itoa(escaped.pid())+"\n")
	d := b.daemon(`{"cpu":{"sub_cgroup":{"a":{"conf":{}}}}}`, map[string]any{"cgroup_pid_files": map[string][]string{"a": {pidFile}}, "proc_connector": true})
	away := filepath.Join(testhost.Controllers()["cpu"], b.newRoot())
	b.must(os.Mkdir(away, 0o755))
	bare, _ := b.start(b.floor("escape"))
	b.members = append(b.members, bare.end)
	home := filepath.Join(away, "home")
	b.must(os.Mkdir(home, 0o755))
	var floor, placed, found []time.Duration
	for range 2 * b.rounds {
		bare.ask("away %s", away)
		time.Sleep(100 * time.Millisecond) // the kernel is at rest again
		floor = append(floor, bare.ask("move %s", home).cpu)

		escaped.ask("away %s", away)
		time.Sleep(1100 * time.Millisecond) // so is the daemon, which may make one placement a second
		before := b.moves(d)
		w := escaped.ask("wait cpu %s/a", d.root)
		if w.cpu < 0 {
			b.t.Fatal("the child is not placed")
		}
		placed = append(placed, w.cpu)
		b.eventually("the move in the log", func() error {
			if moves := b.moves(d); len(moves) > len(before) {
				found = append(found, max(w.cpu-moves[len(before)], 0))
				return nil
			}
			return fmt.Errorf("none")
		})
	}
	b.report(result{
		measure: "escaped child, fork to found", unit: "µs", ours: µs(median(found)), goal: 1000,
		note: fmt.Sprintf("p50; p90 %s; goal in µs", number(µs(quantile(found, 0.9)))),
	})
	b.report(result{
		measure: "– fork to placed", unit: "µs", against: "C, fork and one write", floor: µs(median(floor)), ours: µs(median(placed)), no: true,
		note: fmt.Sprintf("p50; p90 %s, floor %s; an isolated write waits for the kernel", number(µs(quantile(placed, 0.9))), number(µs(quantile(floor, 0.9)))),
	})
}

// moves are how long each pass of a daemon took that has moved somebody.
func (b *bench) moves(d *daemon) (took []time.Duration) {
	b.t.Helper()
	data, err := os.ReadFile(d.log)
	b.must(err)
	for _, m := range fetched.FindAllSubmatch(data, -1) {
		duration, err := time.ParseDuration(string(m[1]))
		b.must(err)
		took = append(took, duration)
	}
	return took
}
