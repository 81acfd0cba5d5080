package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

func (a *app) getCommand() *cobra.Command {
	var list bool
	cmd := &cobra.Command{
		Use:   "get CG [NAME...]",
		Short: "Show settings and figures of a cgroup",
		Long: `Show settings and figures of a cgroup: those named, or all that its controllers
have here, but for what every cgroup has (such as "procs"). A control file that is in
no table can be named too. With --list: what there is, and which values it takes.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeSettings(false),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.onCgroup(args[0], func(_ *hands, n *cgroup.Node) error {
				if list {
					return a.printList(n)
				}
				return a.get(n, args[1:])
			})
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "show what can be read and set, and how")
	return cmd
}

func (a *app) printList(n *cgroup.Node) error {
	all, err := n.Settings()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(all)
	}
	return aligned(a.stdout, func(row func(...any)) {
		common := map[string]bool{}
		for _, s := range all {
			name := s.Controller + "." + s.Name
			if s.Common { // once is enough
				if common[s.Name] {
					continue
				}
				common[s.Name], name = true, s.Name
			}
			access := map[[2]bool]string{{true, true}: "rw", {true, false}: "r", {false, true}: "w"}[[2]bool{s.Readable, s.Writable}]
			row(name, access, strings.ReplaceAll(s.Values, "`", ""), strings.ReplaceAll(s.Doc, "`", ""))
		}
	})
}

// get prints values by name. What cannot be read is left out where everything was
// asked for.
func (a *app) get(n *cgroup.Node, names []string) error {
	everything := len(names) == 0
	if everything {
		all, err := n.Settings()
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Readable && !s.Common {
				names = append(names, s.Controller+"."+s.Name)
			}
		}
	}
	values := map[string]any{}
	var shown []string
	var errs []error
	for _, name := range names {
		v, err := n.Get(name)
		if err != nil {
			if !everything {
				errs = append(errs, err)
			}
			continue
		}
		values[name] = v
		shown = append(shown, name)
	}
	var err error
	if a.json {
		err = a.printJSON(values)
	} else {
		err = aligned(a.stdout, func(row func(...any)) {
			for _, name := range shown {
				printValue(row, name, values[name])
			}
		})
	}
	return errors.Join(append(errs, err)...)
}

// printValue prints one value for people: a table has a line for each of its
// entries.
func printValue(row func(...any), name string, v any) {
	lines := valueLines(v)
	if len(lines) == 0 {
		lines = []string{""}
	}
	for _, l := range lines {
		row(name, l)
		name = ""
	}
}

func valueLines(v any) []string {
	switch v := v.(type) {
	case bool:
		if v {
			return []string{"1"}
		}
		return []string{"0"}
	case string:
		return strings.Split(v, "\n")
	case []int64:
		var out []string
		for _, n := range v {
			out = append(out, strconv.FormatInt(n, 10))
		}
		return []string{strings.Join(out, " ")}
	case []cgroup.Rule:
		var out []string
		for _, r := range v {
			out = append(out, r.String())
		}
		return out
	case map[string]int64:
		return entries(v)
	case map[string]cgroup.Amount:
		return entries(v)
	case map[string]map[string]int64:
		return entries(v)
	case map[string]map[string]cgroup.Amount:
		return entries(v)
	case map[string]map[string]float64:
		return entries(v)
	}
	return []string{fmt.Sprint(v)}
}

func entries[V any](m map[string]V) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if inner := valueLines(m[key]); len(inner) == 1 {
			out = append(out, key+" "+inner[0])
		} else {
			for _, l := range inner {
				out = append(out, key+" "+l)
			}
		}
	}
	return out
}

func (a *app) setCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set CG NAME=VALUE...",
		Short: "Change settings of a cgroup",
		Long: `Change settings of a cgroup, in the order given; what the kernel refuses is tried
again after the others, since some depend on each other. Sizes may have a suffix
(64M), no limit is "max" or -1, sets are as "0-2,7", values by device as "8:0=1M".
NAME alone takes the setting back to the default.`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeSettings(true),
	}
	force := forceFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		return a.change(args[0], *force, false, func(n *cgroup.Node) error { return a.set(n, args[1:]) })
	}
	return cmd
}

// set assigns in the order given. What the kernel refuses is tried again after the
// others, as long as that helps: a limit of memory, say, is never above that of memory
// and swap, so that which has to be first depends on what there is.
func (a *app) set(n *cgroup.Node, assignments []string) error {
	var lost []error
	for {
		var refused []string
		var why []error
		for i, one := range assignments {
			switch err := a.assign(n, one); {
			case err == nil:
			case mayWait(one, assignments[i+1:], err):
				refused, why = append(refused, one), append(why, err)
			default:
				lost = append(lost, err)
			}
		}
		if len(refused) == 0 || len(refused) == len(assignments) {
			return errors.Join(append(lost, why...)...)
		}
		assignments = refused
	}
}

// assign carries out NAME=VALUE, or NAME alone, which takes a setting back.
func (a *app) assign(n *cgroup.Node, one string) error {
	name, value, given := strings.Cut(one, "=")
	if !given {
		return n.Reset(name)
	}
	warning, err := n.Set(name, value)
	if warning != "" && err == nil {
		fmt.Fprintf(a.stderr, "cgrouparchd: warning: %s: %s\n", name, warning)
	}
	return err
}

// dependent are the kernel's answers to a value that does not go with another one.
var dependent = []syscall.Errno{syscall.EINVAL, syscall.EBUSY, syscall.EACCES, syscall.ENOSPC, syscall.ERANGE}

// mayWait says whether a refused assignment may be tried again after later ones: the
// kernel has refused it for something that another may change, none of them is about
// the same thing, and it is no device rule, where the order is the meaning. Any other
// refusal is not of the value: EAGAIN, say, is memory.reclaim's answer when it has done
// a part (cgroup-v2.rst), which would be done again.
func mayWait(one string, later []string, err error) bool {
	name, _, _ := strings.Cut(one, "=")
	refused := slices.ContainsFunc(dependent, func(errno syscall.Errno) bool { return errors.Is(err, errno) })
	if !refused || strings.HasSuffix(name, "allow") || strings.HasSuffix(name, "deny") {
		return false
	}
	return !slices.ContainsFunc(later, func(l string) bool { return l == name || strings.HasPrefix(l, name+"=") })
}

// limits are the plain words of `cgroup limit`.
var limits = []string{"cpu.cpu_limit", "cpu.cpu_quota_percent", "memory.memory_limit"}

func (a *app) limitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limit CG [cpu_limit=PERCENT] [cpu_quota_percent=PERCENT] [memory_limit=SIZE]",
		Short: "Show or set limits in plain words",
		Long: `Show or set limits in plain words:

  cpu_limit=50           a weight: half of what a cgroup has by default
  cpu_quota_percent=50   at most half of one CPU, always
  memory_limit=500M      at most so much memory ("500 megabytes" is the same)

A name alone takes the limit away.`,
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return a.completeCgroup(cmd, args, typed)
			}
			return []string{"cpu_limit=", "cpu_quota_percent=", "memory_limit="}, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		},
	}
	force := forceFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			return a.onCgroup(args[0], func(_ *hands, n *cgroup.Node) error { return a.showLimits(n) })
		}
		for i, one := range args[1:] {
			name, _, _ := strings.Cut(one, "=")
			full := slices.IndexFunc(limits, func(l string) bool { return l == name || strings.HasSuffix(l, "."+name) })
			if full < 0 {
				return &exitError{exitUsage, fmt.Errorf("%s: not one of cpu_limit, cpu_quota_percent, memory_limit", name)}
			}
			args[i+1] = limits[full] + strings.TrimPrefix(one, name)
		}
		return a.change(args[0], *force, false, func(n *cgroup.Node) error { return a.set(n, args[1:]) })
	}
	return cmd
}

// showLimits prints those limits that the cgroup's controllers have.
func (a *app) showLimits(n *cgroup.Node) error {
	if !n.Exists() {
		return fmt.Errorf("%s: %w", n, cgroup.ErrNotExist)
	}
	values := map[string]any{}
	var names []string
	for _, full := range limits {
		v, err := n.Get(full)
		if errors.Is(err, cgroup.ErrNotSupported) {
			continue
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(full, ".")
		values[name] = v
		names = append(names, name)
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: neither cpu nor memory is among its controllers, which have these limits", n)
	}
	if a.json {
		return a.printJSON(values)
	}
	return aligned(a.stdout, func(row func(...any)) {
		for _, name := range names {
			printValue(row, name, values[name])
		}
	})
}

// aligned prints columns.
func aligned(w io.Writer, fill func(row func(columns ...any))) error {
	var rows [][]string
	fill(func(columns ...any) {
		var texts []string
		for _, c := range columns {
			texts = append(texts, fmt.Sprint(c))
		}
		rows = append(rows, texts)
	})
	_, err := io.WriteString(w, table(rows))
	return err
}

func (a *app) printJSON(v any) error { return json.NewEncoder(a.stdout).Encode(v) }
