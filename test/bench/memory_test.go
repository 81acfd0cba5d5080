package bench

import (
	"fmt"
	"os/exec"
	"time"
)

// rssRow: a daemon with history and clients, and a process that has only the libraries.
func rssRow(b *bench) {
	idle := exec.Command(b.path("idle"))
	b.must(idle.Start())
	b.t.Cleanup(func() {
		idle.Process.Kill()
		idle.Wait()
	})
	paths := flat(b.small)
	d := b.daemon(document(paths, someShare, "cpu", "blkio"), map[string]any{"redis_expire_time": max(b.slots, 60)})
	clients := b.load(d.addr, min(b.size.clients, 100), false, request(2))
	begin := time.Now()
	answers := clients.ask("run %d", b.slots)
	d.sampled(b.slots)
	var floor, ours []float64
	for range min(5, b.rounds) { // one reading may catch the garbage collector at work
		floor = append(floor, b.rss(idle.Process.Pid))
		ours = append(ours, b.rss(d.pid()))
		clients.ask("run 1")
	}
	note := fmt.Sprintf("%d slots of history, %d answers in %v", b.slots, answers.count, time.Since(begin).Round(time.Second))
	if b.slots < 300 {
		note += "; short form, -long has 300 slots"
	}
	b.report(result{
		measure: fmt.Sprintf("RSS, %d cgroups cpu+blkio, history, 100 clients", len(paths)), unit: "MB", against: "idle, same libraries",
		floor: median(floor) / 1e6, ours: median(ours) / 1e6, goal: 3.5, note: note,
	})
}
