package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// watchLine is an event in the JSON of `cgroup watch`.
type watchLine struct {
	Time     time.Time        `json:"time"`
	Event    cgroup.EventKind `json:"event"`
	Cgroup   string           `json:"cgroup"`
	PIDs     []int            `json:"pids,omitempty"`
	Kills    uint64           `json:"kills,omitempty"`
	Resource string           `json:"resource,omitempty"`
}

func (a *app) watchCommand() *cobra.Command {
	var o cgroup.WatchOptions
	cmd := &cobra.Command{
		Use:   "watch [CG]",
		Short: "Show what happens in cgroups, until Ctrl-C",
		Long: `Show what happens in a cgroup and in all below it, one event a line, until Ctrl-C:
cgroups that appear and disappear, processes that join and leave, kills because
memory was short and, if asked for, pressure.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeCgroup,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "/"
			if len(args) == 1 {
				name = args[0]
			}
			return a.onCgroup(name, func(_ *hands, n *cgroup.Node) error {
				events, err := n.Watch(cmd.Context(), o)
				if err != nil {
					return err
				}
				for e := range events {
					if e.Kind == cgroup.EventFailed {
						return e.Err
					}
					if err := a.printEvent(e); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().DurationVar(&o.Interval, "interval", time.Second, "how often to look at what the kernel does not report")
	cmd.Flags().StringSliceVar(&o.Pressure, "pressure", nil, "report pressure on memory, cpu, io (v1: memory only)")
	completeFlag(cmd, "pressure", cobra.FixedCompletions([]string{"memory", "cpu", "io"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) printEvent(e cgroup.Event) error {
	now := time.Now()
	if a.json {
		return json.NewEncoder(a.stdout).Encode(watchLine{now, e.Kind, e.Node.String(), e.PIDs, e.Kills, e.Resource})
	}
	line := now.Format("15:04:05.000") + " " + string(e.Kind) + " " + e.Node.String()
	if len(e.PIDs) > 0 {
		line += " " + strings.Trim(fmt.Sprint(e.PIDs), "[]")
	}
	if e.Kills > 0 {
		line += fmt.Sprintf(" %d", e.Kills)
	}
	if e.Resource != "" {
		line += " " + e.Resource
	}
	_, err := fmt.Fprintln(a.stdout, printable(line))
	return err
}
