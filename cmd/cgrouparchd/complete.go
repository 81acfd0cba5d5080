package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// completeCgroup completes the name of a cgroup, one level at a time, and the
// controllers before the colon.
func (a *app) completeCgroup(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	h, err := a.hands()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer h.close()
	return cgroupNames(h.host, typed), directive
}

// cgroupNames are the names that begin with what is typed.
func cgroupNames(host *cgroup.Host, typed string) []string {
	head, _, hasColon := strings.Cut(typed, ":")
	if !hasColon && !strings.Contains(typed, "/") {
		done, last := "", head
		if i := strings.LastIndexByte(head, ','); i >= 0 {
			done, last = head[:i+1], head[i+1:]
		}
		var out []string
		for _, c := range host.Controllers() {
			if strings.HasPrefix(c, last) && !strings.Contains(","+done, ","+c+",") {
				out = append(out, done+c+":/")
			}
		}
		return out
	}
	dir := typed[:strings.LastIndexAny(typed, ":/")+1]
	n, err := host.Node(dir)
	if err != nil {
		return nil
	}
	children, err := n.Children()
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range children {
		if name := dir + c.Name(); strings.HasPrefix(name, typed) {
			if below, err := c.Children(); err == nil && len(below) > 0 {
				out = append(out, name+"/")
			}
			out = append(out, name)
		}
	}
	return out
}

// completeSettings completes a cgroup, then the names of its settings.
func (a *app) completeSettings(assign bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return a.completeCgroup(cmd, args, typed)
		}
		h, err := a.hands()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer h.close()
		n, err := h.host.Node(args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := settingNames(n, typed, assign)
		if assign {
			return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func settingNames(n *cgroup.Node, typed string, assign bool) []string {
	all, err := n.Settings()
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range all {
		name := s.Controller + "." + s.Name
		if !strings.HasPrefix(name, typed) || (assign && !s.Writable) || (!assign && !s.Readable) {
			continue
		}
		if assign {
			name += "="
		}
		out = append(out, name+"\t"+s.Doc)
	}
	return out
}

// completeFlag says how the value of a flag is completed; otherwise shells offer files.
func completeFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // the flag is not there, or done twice: a fault of ours
	}
}

// users are the names of this host's users.
func users() []string {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		name, _, _ := strings.Cut(line, ":")
		out = append(out, name)
	}
	return out
}
