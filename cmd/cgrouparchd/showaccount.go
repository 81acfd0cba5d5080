package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/top"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

// accountQuery is one call of show-account.
type accountQuery struct {
	address string
	command string
	args    map[string]any
	table   bool
	stdout  io.Writer
	zone    *time.Location
	printed bool // the table's head
}

func (a *app) showAccountCommand() *cobra.Command {
	var address, subsystem, cgroup, since string
	var start, end, slots int64
	var rate, follow, utc, samples bool
	cmd := &cobra.Command{
		Use:   "show-account",
		Short: "Ask a running daemon for usage, second by second",
		Long: `Ask a running daemon for the usage of every cgroup, second by second.

In a pipe it prints the JSON of the daemon's answer: an object of slots (seconds
of Unix time), ascending; with --follow one such object a line, for each new
slot, until it is stopped. On a terminal it prints a table of rates; --json
prints JSON there too.`,
		Example: `  cgrouparchd show-account --since 03:12:00 --nr-slot 60 --cgroup web
  cgrouparchd show-account --follow --rate --subsystem cpu | jq .`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := &accountQuery{address: address, command: "show_account", args: map[string]any{}, stdout: a.stdout, table: terminal(a.stdout) && !a.json, zone: time.Local}
			if utc {
				q.zone = time.UTC
			}
			if samples {
				q.command, q.table = "show_samples", false
			}
			given := cmd.Flags().Changed
			for name, arg := range map[string]struct {
				key   string
				value any
			}{
				"start-slot": {"start_slot", start}, "end-slot": {"end_slot", end}, "nr-slot": {"nr_slot", slots},
				"subsystem": {"subsystem", subsystem}, "cgroup": {"cgroup", cgroup}, "rate": {"rate", rate},
			} {
				if given(name) {
					q.args[arg.key] = arg.value
				}
			}
			if q.table {
				q.args["rate"] = true
			}
			if err := q.since(since, given("nr-slot"), slots); err != nil {
				return err
			}
			if follow && (given("end-slot") || since != "" && given("nr-slot")) {
				return &exitError{exitUsage, errors.New("show-account: --follow has no end: leave --end-slot, or --nr-slot with --since, away")}
			}
			if q.address == "" {
				c, err := a.load()
				if err != nil {
					return err
				}
				if q.address, err = daemonAddress(c); err != nil {
					return err
				}
			}
			if follow {
				return q.follow(cmd.Context())
			}
			return q.once(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", "", "HOST:PORT of the daemon (default: from the configuration)")
	f.Int64Var(&slots, "nr-slot", 10, "number of slots")
	f.Int64Var(&start, "start-slot", 0, "first slot; nr-slot is ignored then")
	f.Int64Var(&end, "end-slot", 0, "last slot (default: the newest)")
	f.StringVar(&since, "since", "", "first second, as 03:12:07, \"2026-11-22 03:12:07\" or -90s; nr-slot counts from there")
	f.StringVar(&subsystem, "subsystem", "", "show this subsystem only")
	f.StringVar(&cgroup, "cgroup", "", "show this cgroup (path or name) only")
	f.BoolVar(&rate, "rate", false, "rates per second in place of counters")
	f.BoolVar(&follow, "follow", false, "go on with each new slot")
	f.BoolVar(&samples, "samples", false, "what was read between the slots too, as JSON (see sample_interval)")
	f.BoolVar(&utc, "utc", false, "show and read times in UTC")
	cmd.MarkFlagsMutuallyExclusive("since", "start-slot")
	cmd.MarkFlagsMutuallyExclusive("samples", "follow")
	return cmd
}

// since turns a moment into the range that it begins.
func (q *accountQuery) since(text string, limited bool, slots int64) error {
	if text == "" {
		return nil
	}
	slot, err := top.ParseMoment(text, time.Now().In(q.zone))
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("show-account: --since: %w", err)}
	}
	q.args["start_slot"] = slot
	if limited {
		delete(q.args, "nr_slot")
		q.args["end_slot"] = slot + slots - 1
	}
	return nil
}

// once prints one answer.
func (q *accountQuery) once(ctx context.Context) error {
	if !q.table {
		if err := q.ask(ctx, q.stdout); err != nil {
			return err
		}
		_, err := fmt.Fprintln(q.stdout)
		return failed(err)
	}
	_, err := q.printNew(ctx)
	return err
}

// follow prints what is there, and then each new slot. It polls: a daemon that
// restarts costs no more than the seconds in which it was away.
func (q *accountQuery) follow(ctx context.Context) error {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for answered := false; ; {
		last, err := q.printNew(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (!answered || refusedForGood(err)):
			return err
		case err == nil:
			answered = true
		}
		if last != 0 {
			delete(q.args, "nr_slot")
			q.args["start_slot"] = last + 1
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// refusedForGood tells a request that is wrong from a daemon that is away, or
// busy for a moment.
func refusedForGood(err error) bool {
	var refused *wsapi.Error
	return errors.As(err, &refused) && refused.Code != wsapi.CodeBusy
}

// printNew prints the slots of one answer, JSON one a line, and returns the last
// of them, 0 for none.
func (q *accountQuery) printNew(ctx context.Context) (last int64, err error) {
	var answer bytes.Buffer
	if err := q.ask(ctx, &answer); err != nil {
		return 0, err
	}
	frames, err := top.ParseFrames(answer.Bytes())
	if err != nil {
		return 0, failed(err)
	}
	if len(frames) == 0 {
		return 0, nil
	}
	last = frames[len(frames)-1].Slot
	if q.table {
		head := !q.printed
		q.printed = true
		return last, failed(top.Print(q.stdout, frames, q.zone, head))
	}
	var slots map[string]json.RawMessage
	if err := json.Unmarshal(answer.Bytes(), &slots); err != nil {
		return 0, failed(err)
	}
	for _, f := range frames {
		key := strconv.FormatInt(f.Slot, 10)
		if _, err := fmt.Fprintf(q.stdout, "{%q:%s}\n", key, slots[key]); err != nil {
			return 0, failed(err)
		}
	}
	return last, nil
}

// ask sends the request once.
func (q *accountQuery) ask(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := wsapi.Ask(ctx, q.address, q.command, q.args, w)
	var refused *wsapi.Error
	if errors.As(err, &refused) {
		return failed(fmt.Errorf("the daemon at %s answers: %w", q.address, err))
	}
	if err != nil {
		return failed(fmt.Errorf("ask the daemon at %s: %w", q.address, err))
	}
	return nil
}

// daemonAddress is where the daemon of this configuration listens.
func daemonAddress(c *config.Config) (string, error) {
	if c.CommunicatePort == 0 {
		return "", &exitError{exitUsage, errors.New("communicate_port is 0 (any free one): give --address, the log of the daemon has it")}
	}
	ip := c.CommunicateIP
	if ip.IsUnspecified() {
		return net.JoinHostPort("localhost", strconv.Itoa(c.CommunicatePort)), nil
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(c.CommunicatePort)), nil
}
