package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// commandPatience is how long commands wait for processes to go.
const commandPatience = 10 * time.Second

func (a *app) createCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "create CG",
		Short:             "Make a cgroup",
		Long:              "Make a cgroup, and those above it that are missing. What is there already is no fault.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeCgroup,
	}
	force := forceFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		return a.change(args[0], *force, false, (*cgroup.Node).Create)
	}
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	var recursive, empty bool
	var to string
	cmd := &cobra.Command{
		Use:   "delete CG",
		Short: "Remove a cgroup, moving its processes out first",
		Long: `Remove a cgroup. Its processes are moved to the cgroup above it, or to that of --to.
What is not there is no fault.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeCgroup,
	}
	force := forceFlag(cmd)
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "with all cgroups below")
	cmd.Flags().BoolVar(&empty, "empty", false, "remove only what has no processes, here and below")
	cmd.Flags().StringVar(&to, "to", "", "path of the cgroup that takes the processes")
	completeFlag(cmd, "to", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return a.completeCgroup(cmd, nil, typed)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.onCgroup(args[0], func(h *hands, n *cgroup.Node) error {
			if !*force {
				if err := h.refuse(n, recursive || empty); err != nil {
					return err
				}
			}
			if empty {
				return a.deleteEmpty(n)
			}
			o := cgroup.DeleteOptions{Recursive: recursive}
			if to != "" {
				var err error
				if o.To, err = h.node(to); err != nil {
					return err
				}
				if !*force && h.protected(o.To) {
					return h.refuse(o.To, false)
				}
			}
			ctx, cancel := within(cmd, commandPatience)
			defer cancel()
			return n.Delete(ctx, o)
		})
	}
	return cmd
}

// deleteEmpty removes what has no processes, and lists it.
func (a *app) deleteEmpty(n *cgroup.Node) error {
	removed, err := n.DeleteEmpty()
	names := []string{}
	for _, r := range removed {
		names = append(names, r.String())
	}
	if a.json {
		return errors.Join(err, a.printJSON(names))
	}
	return errors.Join(err, aligned(a.stdout, func(row func(...any)) {
		for _, name := range names {
			row(printable(name)) // a user may have given it
		}
	}))
}

// process is a line of `cgroup procs`.
type process struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

func (a *app) procsCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:               "procs CG",
		Short:             "List the processes in a cgroup",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeCgroup,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.onCgroup(args[0], func(_ *hands, n *cgroup.Node) error {
				list := n.Procs
				if recursive {
					list = n.AllProcs
				}
				pids, err := list()
				if err != nil {
					return err
				}
				procs := []process{}
				for _, pid := range pids {
					procs = append(procs, process{pid, commandOf(pid)})
				}
				if a.json {
					return a.printJSON(procs)
				}
				return aligned(a.stdout, func(row func(...any)) {
					for _, p := range procs {
						row(p.PID, p.Command)
					}
				})
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "those in the cgroups below as well")
	return cmd
}

// commandOf is what a process was started as, or its name in brackets.
func commandOf(pid int) string {
	dir := "/proc/" + strconv.Itoa(pid)
	if data, err := os.ReadFile(dir + "/cmdline"); err == nil && len(data) > 0 {
		return printable(strings.ReplaceAll(strings.TrimRight(string(data), "\x00"), "\x00", " "))
	}
	comm, _ := os.ReadFile(dir + "/comm")
	return "[" + printable(strings.TrimSpace(string(comm))) + "]"
}

// printable keeps a command line, which anybody may have chosen, from talking to
// the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

func (a *app) addCommand() *cobra.Command {
	return a.pidsCommand("add CG PID...", "Move processes, with all their threads, into a cgroup", (*hands).refuseFrom, (*cgroup.Node).Add)
}

func (a *app) removeCommand() *cobra.Command {
	return a.pidsCommand("remove CG PID...", "Move processes out of a cgroup, to the one above it", nil, (*cgroup.Node).Remove)
}

// pidsCommand makes a command that moves processes. refuse, if not nil, is asked
// about them without --force.
func (a *app) pidsCommand(use, short string, refuse func(*hands, *cgroup.Node, []int) error, f func(*cgroup.Node, ...int) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: short + ". What is so already is no fault.",
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: a.completeCgroup,
	}
	force := forceFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var pids []int
		for _, arg := range args[1:] {
			pid, err := strconv.Atoi(arg)
			if err != nil || pid < 1 {
				return &exitError{exitUsage, fmt.Errorf("%s: not a process number", arg)}
			}
			pids = append(pids, pid)
		}
		return a.onCgroup(args[0], func(h *hands, n *cgroup.Node) error {
			if !*force {
				if err := h.refuse(n, false); err != nil {
					return err
				}
				if refuse != nil {
					if err := refuse(h, n, pids); err != nil {
						return err
					}
				}
			}
			return f(n, pids...)
		})
	}
	return cmd
}

func (a *app) delegateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delegate USER CG",
		Short: "Let a user manage a cgroup and what is below it",
		Long: `Make a cgroup, if need be, and let a user manage it: make cgroups below it, and move
their own processes about among them. Its own limits stay root's. On v2 somebody
has to add the user's first process ("cgroup add"), as the kernel demands.`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return users(), cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeCgroup(cmd, nil, typed)
		},
	}
	force := forceFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		uid, gid, err := lookupUser(args[0])
		if err != nil {
			return &exitError{exitUsage, err}
		}
		return a.change(args[1], *force, true, func(n *cgroup.Node) error { return n.Delegate(uid, gid) })
	}
	return cmd
}

func lookupUser(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return 0, 0, fmt.Errorf("%s: no such user", name)
		}
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}
