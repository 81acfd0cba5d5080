package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// pulse is the sign of life of one task: what must go on for the daemon to be
// worth keeping. The task's goroutine calls beat whenever it gets somewhere.
type pulse struct {
	name string
	// limit is how long the task may be silent. It is generous: a restart does not
	// make a slow kernel faster.
	limit time.Duration

	// Time since epoch, in nanoseconds, by the monotonic clock: steps of the wall
	// clock are no silence, nor is a suspended machine.
	last  atomic.Int64
	epoch time.Time
}

func newPulse(name string, limit time.Duration) *pulse {
	return &pulse{name: name, limit: limit, epoch: time.Now()}
}

// beat says that the task goes on. It allocates nothing.
func (p *pulse) beat() { p.last.Store(int64(time.Since(p.epoch))) }

// sign is one task's state at some moment.
type sign struct {
	name          string
	silent, limit time.Duration
}

func (p *pulse) sign() sign {
	return sign{p.name, time.Since(p.epoch) - time.Duration(p.last.Load()), p.limit}
}

// stalled names the tasks that have been silent for too long, sorted.
func stalled(signs []sign) (names []string) {
	for _, s := range signs {
		if s.silent > s.limit {
			names = append(names, s.name)
		}
	}
	slices.Sort(names)
	return names
}

// How long tasks may be silent. The reconciler looks up at least once per
// interval, and after each step of a pass; the sampler once a second.
const (
	reconcilerSilence = 5 * time.Minute // on top of two intervals
	samplerSilence    = time.Minute
)

// notifier tells the service manager how the daemon is (sd_notify(3)): ready,
// stopping, one line of status, and, while no task is stalled, that it is alive.
type notifier struct {
	log *zap.Logger
	// send passes one message on. Without a service manager it does nothing.
	send func(state string) error
	// period is the time between two looks at the pulses.
	period   time.Duration
	watchdog bool
	pulses   []*pulse
	// summary is the line that `systemctl status` shows.
	summary func() string

	told    string // the last summary
	silent  string // the stalled tasks last logged
	unheard bool   // the last message did not get through
}

// statusPeriod is how old the line of status may be.
const statusPeriod = 5 * time.Second

// newNotifier reads what the service manager asks for in the environment.
// Without one, the notifier does nothing.
func newNotifier(log *zap.Logger, summary func() string, pulses ...*pulse) *notifier {
	n := &notifier{log: log, pulses: pulses, summary: summary, send: func(state string) error {
		_, err := sd.SdNotify(false, state)
		return err
	}}
	timeout, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("watchdog not served", zap.Error(err))
	}
	n.watchdog, n.period = timeout > 0, pingPeriod(timeout)
	return n
}

// pingPeriod is the time between two pings: sd_watchdog_enabled(3) recommends
// half of the timeout, and a third forgives one that is late.
func pingPeriod(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return statusPeriod
	}
	return min(timeout/3, statusPeriod)
}

// run says that the daemon is ready, so its API must be listening already; then
// it serves the watchdog and the line of status until ctx ends.
func (n *notifier) run(ctx context.Context) error {
	for _, p := range n.pulses {
		p.beat()
	}
	n.tell(sd.SdNotifyReady)
	ticker := time.NewTicker(n.period)
	defer ticker.Stop()
	for {
		n.tick()
		select {
		case <-ctx.Done():
			n.tell(sd.SdNotifyStopping + "\nSTATUS=stopping")
			return nil
		case <-ticker.C:
		}
	}
}

// tick sends what there is to say: a ping unless something is stalled, and the
// line of status when it has changed.
func (n *notifier) tick() {
	signs := make([]sign, len(n.pulses))
	for i, p := range n.pulses {
		signs[i] = p.sign()
	}
	names := strings.Join(stalled(signs), ", ")
	n.report(names)
	var lines []string
	if n.watchdog && names == "" {
		lines = append(lines, sd.SdNotifyWatchdog)
	}
	summary := n.summary()
	if names != "" {
		summary = "stalled: " + names
	}
	if summary != n.told {
		n.told = summary
		lines = append(lines, "STATUS="+oneLine(summary))
	}
	if len(lines) > 0 {
		n.tell(strings.Join(lines, "\n"))
	}
}

// report logs when tasks stall and when they go on.
func (n *notifier) report(names string) {
	if names == n.silent {
		return
	}
	n.silent = names
	if names == "" {
		n.log.Info("all tasks go on")
		return
	}
	n.log.Error("tasks stalled", zap.String("tasks", names), zap.Bool("watchdog", n.watchdog))
}

// tell sends one message and logs the first of several that fail: nothing else
// can be done, and the watchdog does the rest.
func (n *notifier) tell(state string) {
	err := n.send(state)
	if err != nil && !n.unheard {
		n.log.Warn("service manager not told", zap.Error(err))
	}
	n.unheard = err != nil
}

// oneLine keeps a text from becoming several assignments of the protocol.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
}

// summary is the daemon in one line.
func (d *daemon) summary() string {
	faults := -1
	if s := d.snapshot.Load(); s != nil {
		faults = len(s.Faults)
	}
	return summarize(d.control.versions(), faults, d.source.Status().State)
}

// summarize says which document is in force, what the host could not honour (-1:
// no pass yet) and how its source is.
func summarize(v versions, faults int, source string) string {
	text := "no document yet"
	switch {
	case v.InForce >= 0 && faults < 0:
		text = fmt.Sprintf("version %d read", v.InForce)
	case v.InForce >= 0:
		text = fmt.Sprintf("version %d in force", v.InForce)
	}
	switch {
	case faults == 1:
		text += ", 1 fault"
	case faults > 1:
		text += fmt.Sprintf(", %d faults", faults)
	}
	if v.Rejected != nil {
		text += fmt.Sprintf(", version %d rejected", v.Rejected.Version)
	}
	return text + "; source " + source
}
