package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/account"
	"github.com/cgrouparch/cgrouparch/internal/bpfiter"
	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/clock"
	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/page"
	"github.com/cgrouparch/cgrouparch/internal/pidfiles"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/statefile"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func (a *app) runCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon until SIGTERM or SIGINT; cgroups stay as they are when it stops.
SIGHUP reads everything again now.

With --once: wait for a document, make one full pass, and exit with status 0, or
1 when the host could not honour all of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadWithSource()
			if err != nil {
				return err
			}
			if once {
				return a.once(cmd.Context(), c)
			}
			level := zap.NewAtomicLevel()
			log := newLogAt(c, a.stderr, level)
			if err := clock.SetSlack(time.Millisecond); err != nil {
				log.Debug("timers wake up more often than they need", zap.Error(err))
			}
			limitHeap()
			d, err := newDaemon(c, log)
			if err != nil {
				return failed(err)
			}
			d.level, d.load = level, a.loadWithSource
			return failed(d.run(cmd.Context()))
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "make one full pass and exit")
	return cmd
}

// daemon is the parts of a running daemon and what passes between them.
type daemon struct {
	config *config.Config
	log    *zap.Logger
	root   string
	layout *cgfs.Layout // as it was at the start

	source     zkconf.Source
	control    *control
	chronicle  *chronicle
	compared   *compared
	pidFiles   *pidfiles.Source
	pidWatch   *pidfiles.Watch
	reconciler *reconcile.Reconciler
	ring       *account.Ring
	sampler    *account.Sampler
	writer     *account.Writer // nil without Redis
	service    *account.Service
	samples    *account.Service // nil: there are only slots
	slots      *slotFeed
	events     *events
	listener   net.Listener
	notifier   *notifier
	agent      *agent // nil without ZooKeeper
	sums       sums
	alarm      *clock.Alarm
	costs      costs

	// What a SIGHUP changes: the level of the log, and the configuration, by load.
	level zap.AtomicLevel
	load  func() (*config.Config, error)

	// Signs of life of the tasks without which the daemon is of no use.
	reconciling, sampling *pulse

	snapshot atomic.Pointer[reconcile.Snapshot]
	changed  chan struct{}          // capacity 1: what is to be sampled has changed
	cgroups  chan []pidfiles.Cgroup // capacity 1, newest wins: for the pid file command
	watching chan struct{}          // closed when cgroups are watched
	restart  atomic.Pointer[context.CancelFunc]
}

// reconcileHooks are what a reconciler calls; each may be nil.
type reconcileHooks struct {
	published func(*reconcile.Snapshot)
	beat      func()
	measure   func(pass func())
}

// newReconciler opens the host's hierarchies.
func newReconciler(c *config.Config, root string, log *zap.Logger, source zkconf.Source, files *pidfiles.Source, hooks reconcileHooks) (*reconcile.Reconciler, error) {
	shield, err := reconcile.NewShield(c.ProtectedCgroup, c.ProtectSystemCgroups)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return reconcile.New(reconcile.Config{
		CgroupDir: c.CgroupDir, Root: root, StateDir: c.StateDir, Origin: source.Origin, Shield: shield, ArmDisks: c.BlkioArmDisks,
		Interval: c.TasksUpdateInterval, PidFiles: files, ProcConnector: c.ProcConnector, Log: log.Named("reconcile"),
		Published: hooks.published, Beat: hooks.beat, Measure: hooks.measure,
	})
}

func newPidFiles(c *config.Config, log *zap.Logger) *pidfiles.Source {
	return pidfiles.New(pidfiles.Config{
		Files: c.CgroupPidFiles, Command: c.GetCgroupPidFile, Trust: !c.PidFileStrict, Hold: true, Log: log.Named("pid_files"),
	})
}

func newDaemon(c *config.Config, log *zap.Logger) (*daemon, error) {
	happened := newEvents()
	log = happened.attach(log)
	d := &daemon{config: c, log: log, events: happened, changed: make(chan struct{}, 1), cgroups: make(chan []pidfiles.Cgroup, 1), watching: make(chan struct{})}
	d.reconciling = newPulse("reconciler", 2*c.TasksUpdateInterval+reconcilerSilence)
	d.sampling = newPulse("sampler", samplerSilence)
	d.source = newSource(c, log)
	d.pidFiles = newPidFiles(c, log)
	d.pidWatch = pidfiles.NewWatch(log.Named("pid_files"))
	var err error
	if d.root, err = resolveRoot(c); err != nil {
		return nil, err
	}
	if d.reconciler, err = newReconciler(c, d.root, log, d.source, d.pidFiles, reconcileHooks{d.published, d.reconciling.beat, d.costs.reconciler.Measure}); err != nil {
		return nil, err
	}
	d.layout = d.reconciler.Layout()
	d.control = newControl(log, c.StateDir, d.source, d.reconciler.SetDocument)
	d.chronicle, d.compared = newChronicle(d.control, d.source), newCompared()
	if err := d.accounting(); err != nil {
		return nil, err
	}
	d.agent = newAgent(d)
	if d.listener, err = wsapi.Listen(c.CommunicateIP.String(), c.CommunicatePort); err != nil {
		return nil, err
	}
	d.notifier = newNotifier(log.Named("systemd"), d.summary, d.reconciling, d.sampling)
	return d, nil
}

func (d *daemon) accounting() (err error) {
	host, _ := os.Hostname()
	d.ring = account.NewRing(int(d.config.HistoryTime / time.Second))
	if r := d.config.Redis; r.Mode != config.RedisNone {
		d.writer, err = account.NewWriter(account.RedisOptions{
			Mode: account.RedisMode(r.Mode), Network: r.Network, Addrs: r.Addrs, TLS: r.TLS, Username: r.Username,
			Password: r.Password.Reveal(), DB: r.DB, Master: r.Master, SentinelUsername: r.SentinelUsername,
			SentinelPassword: r.SentinelPassword.Reveal(), Prefix: account.ExpandPrefix(r.Prefix, host),
			Expire: d.config.HistoryTime, ID: writerID(d.config.StateDir, host), Log: d.log.Named("redis"),
			EncoderCPU: &d.costs.encoder, CPU: &d.costs.redis,
		}, d.ring)
		if err != nil {
			return err
		}
	}
	var deliver func()
	if d.writer != nil {
		deliver = d.writer.Deliver
	}
	if d.alarm, err = clock.NewAlarm(); err != nil {
		return err
	}
	d.service = account.NewService(account.ServiceOptions{Ring: d.ring, Writer: d.writer, MaxInFlight: streamedBytes - samplesBytes})
	d.slots = newSlotFeed(d.service)
	var samples *account.Ring
	if d.config.SampleInterval < time.Second {
		samples = account.NewSamples(d.config.SampleInterval)
		d.samples = account.NewService(account.ServiceOptions{Ring: samples, MaxInFlight: samplesBytes})
	}
	d.sampler = account.NewSampler(account.SamplerOptions{
		Ring: d.ring, Samples: samples, Log: d.log.Named("sampler"), MaxOpen: raiseFileLimit(d.config.CommunicateClients), SlotDone: d.slots.take,
		Deliver: deliver, Beat: d.sampling.beat, Counters: openCounters(d.config.BPFIterator), Alarm: d.alarm, CPU: &d.costs.sampler,
	})
	return nil
}

// openCounters is how the sampler gets at counters without files; nil: it does not.
func openCounters(wanted bool) account.OpenCounters {
	if !wanted {
		return nil
	}
	return func(version, places int) (account.Counters, error) {
		r, err := bpfiter.Open(version, places)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
}

// streamedBytes bounds the answers too large to be shared; with wsapi's bound on
// those that are, at most 64 MiB are in flight for all clients.
const streamedBytes = 32 << 20

// samplesBytes is the part of them for show_samples.
const samplesBytes = 8 << 20

// raiseFileLimit raises RLIMIT_NOFILE as far as it goes and says how many usage
// files may be kept open, with some descriptors left for everything else.
func raiseFileLimit(clients int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	others := clients + 200 + 2*pidfiles.MaxHeld(limit.Cur) // ZooKeeper, Redis, /proc, inotify; pidfds
	return max(int(min(limit.Cur, 1<<20))-others, 256)
}

// tasks are the daemon's goroutines.
func (d *daemon) tasks() []task {
	tasks := []task{
		{"signals", d.signals},
		{"configuration source", d.follow},
		{"last good configuration", d.control.lastGood},
		{"cgroup watch", func(ctx context.Context) error {
			return d.reconciler.Watch(ctx, func() { close(d.watching) })
		}},
		{"reconciler", d.reconcile},
		{"pid file command", d.askPidFiles},
		{"pid file watch", func(ctx context.Context) error { return d.pidWatch.Run(ctx, d.reconciler.Placed) }},
		{"sampler", d.sampler.Run},
		{"api", d.serve},
		{"service manager", d.notifier.run},
		{"memory", d.giveBack},
	}
	if d.config.ProcConnector {
		tasks = append(tasks, task{"process births", d.reconciler.Births})
	}
	if d.writer != nil {
		tasks = append(tasks, task{"redis writer", d.writer.Run})
	}
	if d.agent != nil {
		tasks = append(tasks, task{"agent", d.agent.publisher.Run}, task{"agents table", d.agent.readTable})
	}
	return tasks
}

func (d *daemon) run(ctx context.Context) error {
	defer d.reconciler.Close()
	defer d.pidFiles.Close()
	defer func() { _ = d.alarm.Close() }()
	if err := publishRoot(d.config, d.root); err != nil {
		d.log.Warn("cgroup_root not published, so that other commands have to guess it", zap.Error(err))
	}
	d.log.Info("started", zap.String("version", version), zap.String("cgroup_root", d.root), zap.Stringer("address", d.listener.Addr()),
		zap.Stringer("source", d.source.Origin()))
	err := runTasks(ctx, d.tasks())
	d.log.Info("stopped", zap.Error(err))
	_ = d.log.Sync() // standard error cannot always be synced
	return err
}

// follow runs the source of the document, anew whenever a SIGHUP ends it.
func (d *daemon) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		inner, cancel := context.WithCancel(ctx)
		d.restart.Store(&cancel)
		err := d.source.Run(inner, func(u zkconf.Update) {
			d.control.update(u)
			d.agent.tell()
		})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// signals reads everything again at each SIGHUP: the configuration, cgroups,
// mounts and pid files in a full pass, and the document, from ZooKeeper in a new
// session.
func (d *daemon) signals(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			d.log.Info("reading everything again")
			d.reload()
			d.refreshPidFiles()
			d.reconciler.Reload()
			if cancel := d.restart.Load(); cancel != nil {
				(*cancel)()
			}
		}
	}
}

func (d *daemon) reconcile(ctx context.Context) error {
	select {
	case <-d.watching:
		return d.reconciler.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// published takes what a pass has found, in the reconciler's goroutine.
func (d *daemon) published(s *reconcile.Snapshot) {
	old := d.snapshot.Swap(s)
	if s.Changed {
		d.sampler.SetTarget(target(s, d.root, d.config.AccountExtra))
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}
	d.agent.tell()
	if s.Pass.Full {
		d.control.saveAgain()
	}
	if old == nil || old.Document != s.Document || s.Pass.Full {
		d.refreshPidFiles()
		d.pidWatch.SetFiles(d.pidFiles.Patterns(s.Cgroups))
	}
}

// refreshPidFiles lets the pid file command be asked again.
func (d *daemon) refreshPidFiles() {
	s := d.snapshot.Load()
	if s == nil {
		return
	}
	select {
	case <-d.cgroups:
	default:
	}
	select {
	case d.cgroups <- s.Cgroups:
	default:
	}
}

// askPidFiles runs the pid file command apart from the reconciler, which never
// waits for it.
func (d *daemon) askPidFiles(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case cgroups := <-d.cgroups:
			if d.pidFiles.RefreshCommand(ctx, cgroups) {
				d.pidWatch.SetFiles(d.pidFiles.Patterns(cgroups))
				d.reconciler.Placed()
			}
		}
	}
}

func (d *daemon) serve(ctx context.Context) error {
	metrics, err := d.metricsHandler()
	if err != nil {
		return err
	}
	s := &wsapi.Server{
		Listener: d.listener, MaxConns: d.config.CommunicateClients, Log: d.log.Named("api"), Hostnames: hostnames(), AllowedHosts: d.config.AllowedHosts,
		Ready: d.ready, Status: func() any { return d.status() }, StatusEpoch: d.slots.quarter,
		TooLarge: "compare a larger document by: cgrouparchd conf diff FILE",
		Metrics:  metrics, Work: d.costs.server.Sample, Send: d.costs.sending.Sample, Commands: d.commands(), Epochs: map[string]func() int64{"show_account": d.slots.epoch, "get_status": d.slots.quarter},
		Feeds: map[string]*wsapi.Feed{"account": d.slots.feed()}, Page: page.Handler(), PagePrefix: page.Prefix,
	}
	return s.Run(ctx)
}

func (d *daemon) ready() error {
	if d.snapshot.Load() != nil {
		return nil
	}
	if v := d.control.versions(); v.Rejected != nil {
		return fmt.Errorf("no full pass yet: version %d of the document is rejected: %s", v.Rejected.Version, strings.Join(v.Rejected.Reasons, "; "))
	}
	s := d.source.Status()
	return fmt.Errorf("no full pass yet: the document's source is %s%s", s.State, strings.TrimSuffix(": "+s.Error, ": "))
}

// hostnames are this host's own names: what it calls itself, and what else
// /etc/hosts calls it.
func hostnames() []string {
	host, err := os.Hostname()
	if err != nil {
		return nil
	}
	short, _, _ := strings.Cut(host, ".")
	names := []string{host, short}
	hosts, _ := os.ReadFile("/etc/hosts") // the names above are enough without it
	for line := range strings.Lines(string(hosts)) {
		text, _, _ := strings.Cut(line, "#")
		if fields := strings.Fields(text); slices.Contains(fields, host) || slices.Contains(fields, short) {
			names = append(names, fields[1:]...)
		}
	}
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// writerID tells this daemon's Redis lease from those of others. It is kept in
// the state directory, so that a restart finds its own lease and not another's.
func writerID(stateDir, host string) string {
	file := filepath.Join(stateDir, "writer_id.json")
	var id string
	if statefile.Load(file, &id) == nil && id != "" {
		return id
	}
	id = host + " " + rand.Text()[:8]
	_ = statefile.Save(file, id) // without it, a restart waits for its old lease to end
	return id
}
