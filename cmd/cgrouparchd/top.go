package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/top"
	"github.com/cgrouparch/cgrouparch/internal/wsapi"
)

func (a *app) topCommand() *cobra.Command {
	var address string
	var utc bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the usage of every cgroup, now or in any second that is held",
		Long: `Watch the usage of every cgroup of a running daemon in a terminal: sorted, as a
tree, filtered; the processes inside a cgroup; any second of the history; events,
faults, and the hosts of the cluster. Press ? for the keys.

It asks over the websocket, so --address shows another host.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !terminal(a.stdout) {
				return &exitError{exitUsage, errors.New("top: standard output is no terminal; show-account prints for scripts")}
			}
			if address == "" {
				c, err := a.load()
				if err != nil {
					return err
				}
				if address, err = daemonAddress(c); err != nil {
					return err
				}
			}
			now := time.Now()
			if utc {
				now = now.UTC()
			}
			return failed(top.Run(cmd.Context(), top.New(address, now), asker(address), os.Stdin, a.stdout))
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "HOST:PORT of the daemon (default: from the configuration)")
	cmd.Flags().BoolVar(&utc, "utc", false, "show and read times in UTC")
	return cmd
}

// asker asks the daemon at an address.
func asker(address string) top.Client {
	return func(ctx context.Context, cmd string, args map[string]any) ([]byte, error) {
		var out bytes.Buffer
		var request any
		if args != nil {
			request = args
		}
		err := wsapi.Ask(ctx, address, cmd, request, &out)
		var refused *wsapi.Error
		if errors.As(err, &refused) {
			return nil, top.Refusal(refused.Message)
		}
		return out.Bytes(), err
	}
}
