package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

func (a *app) freezeCommand() *cobra.Command {
	return a.stateCommand("freeze CG", "Make all processes of a cgroup, and of those below it, stand still", (*cgroup.Node).Freeze)
}

func (a *app) thawCommand() *cobra.Command {
	return a.stateCommand("thaw CG", "Let the processes of a frozen cgroup go on", func(n *cgroup.Node, ctx context.Context) error {
		if err := n.Thaw(ctx); err != nil {
			return err
		}
		for up := n.Parent(); up != nil && up.Parent() != nil; up = up.Parent() {
			if frozen, err := up.Freezer().Freeze.Get(); err == nil && frozen {
				fmt.Fprintf(a.stderr, "cgrouparchd: warning: the processes of %s stand still until %s is thawed too\n", n, up)
			}
		}
		return nil
	})
}

func (a *app) killCommand() *cobra.Command {
	return a.stateCommand("kill CG", "End all processes of a cgroup, and of those below it, by SIGKILL", (*cgroup.Node).Kill)
}

func (a *app) stateCommand(use, short string, f func(*cgroup.Node, context.Context) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeCgroup}
	force := forceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.change(args[0], *force, true, func(n *cgroup.Node) error {
			ctx, cancel := within(cmd, commandPatience)
			defer cancel()
			return f(n, ctx)
		})
	}
	return cmd
}

// within bounds a command that waits.
func within(cmd *cobra.Command, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(cmd.Context(), d)
}
