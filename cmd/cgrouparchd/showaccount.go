package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

func (a *app) showAccountCommand() *cobra.Command {
	var address, subsystem, cgroup string
	var start, end, slots int64
	cmd := &cobra.Command{
		Use:   "show-account",
		Short: "Ask a running daemon for usage, second by second",
		Long: `Ask a running daemon for the usage of every cgroup, second by second, and print
the JSON of its answer: an object of slots (seconds of Unix time), ascending.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				c, err := a.load()
				if err != nil {
					return err
				}
				if address, err = daemonAddress(c); err != nil {
					return err
				}
			}
			args := map[string]any{}
			for name, value := range map[string]any{"start-slot": start, "end-slot": end, "nr-slot": slots, "subsystem": subsystem, "cgroup": cgroup} {
				if cmd.Flags().Changed(name) {
					args[map[string]string{"start-slot": "start_slot", "end-slot": "end_slot", "nr-slot": "nr_slot"}[name]] = value
					if name == "subsystem" || name == "cgroup" {
						args[name] = value
					}
				}
			}
			delete(args, "")
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			err := wsapi.Ask(ctx, address, "show_account", args, a.stdout)
			var refused *wsapi.Error
			if errors.As(err, &refused) {
				return failed(fmt.Errorf("the daemon at %s answers: %w", address, err))
			}
			if err != nil {
				return failed(fmt.Errorf("ask the daemon at %s: %w", address, err))
			}
			_, err = fmt.Fprintln(a.stdout)
			return failed(err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", "", "HOST:PORT of the daemon (default: from the configuration)")
	f.Int64Var(&slots, "nr-slot", 10, "number of slots")
	f.Int64Var(&start, "start-slot", 0, "first slot; nr-slot is ignored then")
	f.Int64Var(&end, "end-slot", 0, "last slot (default: the newest)")
	f.StringVar(&subsystem, "subsystem", "", "show this subsystem only")
	f.StringVar(&cgroup, "cgroup", "", "show this cgroup (path or name) only")
	return cmd
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
