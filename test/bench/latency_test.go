package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// zooKeeperRole is the floor of following a node: it reads it, waits for its watch, and reads it again. For each reading it
// prints the time of the monotonic clock. Arguments: address, node.
func zooKeeperRole(args []string) error {
	conn, _, err := zk.Connect([]string{args[0]}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return err
	}
	go func() {
		bufio.NewScanner(os.Stdin).Scan() // its end is ours
		os.Exit(0)
	}()
	for first := true; ; first = false {
		data, _, changed, err := conn.GetW(args[1])
		if err != nil {
			return err
		}
		now := monotonic()
		if first {
			fmt.Println("ready")
		} else {
			fmt.Println(int64(now), 0, len(data))
		}
		<-changed
	}
}

// editRows: from the edit in ZooKeeper to the setting in the kernel.
func editRows(b *bench) {
	for _, c := range []struct {
		paths []string
		goal  float64
		no    bool
	}{{flat(b.small), 1.3, false}, {flat(b.middle), 1.7, false}, {flat(b.large), 0, true}} {
		if b.smoke() && c.no {
			continue
		}
		b.part(func() { b.editRow(c.paths, c.goal, c.no) })
	}
}

func (b *bench) editRow(paths []string, goal float64, no bool) {
	server := testserver.ZooKeeper(b.t)
	client := server.Client()
	edited := len(paths) / 2
	text := func(share int) string {
		return document(paths, func(i int) int {
			if i == edited {
				return share
			}
			return someShare(i)
		}, "cpu")
	}
	client.Put("/floor/arch_conf", text(2))
	client.Put("/ours/arch_conf", text(2))
	floor := b.role("zookeeper", server.Addr(), "/floor/arch_conf")
	d := b.daemon("", map[string]any{"zk_host": server.Addr(), "zk_prefix": "/ours"})
	file := filepath.Join(d.dir("cpu", paths[edited]), "cpu.shares")
	poke, _ := b.start(b.floor("poke"))
	var bare, ours, cpu []time.Duration
	for share := 1000; share < 1000+2*b.rounds; share++ {
		next := text(share)
		begin := monotonic()
		client.Put("/floor/arch_conf", next)
		bare = append(bare, floor.took().cpu-begin)

		poke.say("await %s %d", file, share)
		poke.line()
		used := b.cpuTime(d.pid())
		begin = monotonic()
		client.Put("/ours/arch_conf", next)
		seen := poke.took()
		if seen.cpu < 0 {
			b.t.Fatalf("share %d is not in the kernel", share)
		}
		ours = append(ours, seen.wall-begin)
		time.Sleep(100 * time.Millisecond) // state saved, collector at rest, as between two edits of a person
		cpu = append(cpu, b.cpuTime(d.pid())-used)
	}
	b.report(result{
		measure: fmt.Sprintf("edit of one cgroup of %d in ZooKeeper, to the kernel", len(paths)), unit: "µs", against: "bare client, set to data read",
		floor: µs(median(bare)), ours: µs(median(ours)), goal: goal, no: no,
		note: fmt.Sprintf("p90 %s, floor %s; the daemon's CPU for all of it %s µs; document of %d bytes",
			number(µs(quantile(ours, 0.9))), number(µs(quantile(bare, 0.9))), number(µs(median(cpu))), len(text(2))),
	})
}

// driftRows: what somebody else changed is put back. Each change is to another cgroup, since a second writer who insists is
// answered ever more slowly.
func driftRows(b *bench) {
	paths := flat(b.small)
	d := b.daemon(document(paths, func(int) int { return 500 }, "cpu"), nil)
	tree, root := b.floorTree(paths)
	tree.ask("build 500")
	guarded := b.file("guarded", strings.Join(paths, "\n")+"\n")
	b.start(b.floor("guard"), root, guarded, "500")
	poke, _ := b.start(b.floor("poke"))
	measure := func(dir func(cgroup string) string, order string) func(i int) time.Duration {
		return func(i int) time.Duration {
			time.Sleep(20 * time.Millisecond)
			w := poke.ask(order, dir(paths[i]))
			if w.cpu < 0 {
				b.t.Fatalf("%s was not put back", dir(paths[i]))
			}
			return w.cpu
		}
	}
	ourDir := func(cgroup string) string { return d.dir("cpu", cgroup) }
	floorDir := func(cgroup string) string { return filepath.Join(root, cgroup) }
	for _, c := range []struct{ name, order string }{
		{"a setting changed by someone else, put back", "value %s/cpu.shares 777 500"},
		{"a cgroup removed by someone else, put back", "remove %s 500"},
	} {
		floor, ours := measure(floorDir, c.order), measure(ourDir, c.order)
		var bare, took []time.Duration
		for i := range min(4*b.rounds, len(paths)) {
			bare = append(bare, floor(i))
			took = append(took, ours(i))
		}
		b.report(result{
			measure: c.name + ", of " + strconv.Itoa(len(paths)), unit: "µs", against: "C, inotify and write",
			floor: µs(median(bare)), ours: µs(median(took)), goal: 3, note: fmt.Sprintf("p50; p90 %s, floor %s", number(µs(quantile(took, 0.9))), number(µs(quantile(bare, 0.9)))),
		})
	}
}
