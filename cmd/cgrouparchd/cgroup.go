package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
)

// cgroupCommand is the operator's hands: they work anywhere in the mounted
// hierarchies, with or without a daemon.
func (a *app) cgroupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cgroup",
		Short: "Look at cgroups and change them, one by one",
		Long: `Look at cgroups and change them, one by one, anywhere in the mounted hierarchies.

CG is written as libcgroup's tools write it, CONTROLLER[,CONTROLLER...]:PATH with
the path relative to the mount ("cpu,memory:/web"); without controllers, "/web", it
is the same path in all hierarchies that have some. Settings are NAME=VALUE, where
NAME is "cpu.shares", or "shares" if no two controllers of CG have it, or a control
file (docs/settings.md).

Cgroups named by protected_cgroup, and those of the system, are refused unless
--force is given. What the document says is put back by a running daemon.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.stderr)
			_ = cmd.Usage()
			return &exitError{status: exitUsage}
		},
	}
	cmd.AddCommand(
		a.treeCommand(), a.getCommand(), a.setCommand(), a.limitCommand(),
		a.createCommand(), a.deleteCommand(), a.procsCommand(), a.addCommand(), a.removeCommand(),
		a.freezeCommand(), a.thawCommand(), a.killCommand(), a.watchCommand(), a.delegateCommand(),
	)
	return cmd
}

// hands are what the commands of the group work with.
type hands struct {
	host   *cgroup.Host
	config *config.Config
	// root is the daemon's, which protected_cgroup is relative to.
	root   string
	shield reconcile.Shield
}

func (h *hands) close() { h.host.Close() }

// hands opens the host's cgroups. Without a configuration file, or one that this
// user may not read, the defaults hold: the kernel guards what is not theirs.
func (a *app) hands() (*hands, error) {
	c, err := a.load()
	if errors.Is(err, fs.ErrPermission) && a.configFile == "" {
		c, err = config.Load("", false, a.flags.given())
	}
	if err != nil {
		return nil, err
	}
	shield, err := reconcile.NewShield(c.ProtectedCgroup, c.ProtectSystemCgroups)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	host, err := cgroup.Open(cgroup.Options{Dir: c.CgroupDir})
	if err != nil {
		return nil, failed(err)
	}
	h := &hands{host: host, config: c, shield: shield}
	if !shield.Empty() {
		root, err := readRoot(c, a.stderr)
		if err != nil {
			h.close()
			return nil, failed(err)
		}
		h.root = strings.Trim(root, "/")
	}
	return h, nil
}

// onCgroup runs f on the cgroup that the first argument names.
func (a *app) onCgroup(name string, f func(h *hands, n *cgroup.Node) error) error {
	h, err := a.hands()
	if err != nil {
		return err
	}
	defer h.close()
	n, err := h.node(name)
	if err != nil {
		return failed(err)
	}
	return failed(f(h, n))
}

// node is the cgroup that an argument names. A bare "cpu" is more likely a slip than
// the cgroup /cpu in every hierarchy.
func (h *hands) node(name string) (*cgroup.Node, error) {
	if !strings.ContainsAny(name, ":/") && h.host.Version(name) != 0 {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: is a controller or hierarchy; %[1]s:/ is its root, and /%[1]s a cgroup of that name", name)}
	}
	n, err := h.host.Node(name)
	if errors.Is(err, cgroup.ErrInvalid) {
		return nil, &exitError{exitUsage, err}
	}
	return n, err
}

// change is onCgroup for what changes something. below: what is below is changed
// with it.
func (a *app) change(name string, force, below bool, f func(n *cgroup.Node) error) error {
	return a.onCgroup(name, func(h *hands, n *cgroup.Node) error {
		if !force {
			if err := h.refuse(n, below); err != nil {
				return err
			}
		}
		return f(n)
	})
}

// refuse says why a cgroup must not be changed.
func (h *hands) refuse(n *cgroup.Node, below bool) error {
	if h.protected(n) {
		return fmt.Errorf("%s: is protected; --force does it all the same", n)
	}
	if !below {
		return nil
	}
	for inner, err := range n.Walk() {
		switch {
		case errors.Is(err, cgroup.ErrTooLong):
			return fmt.Errorf("%s: it has cgroups too deep for a path, of which nobody can say whether they are protected; --force does it all the same", n)
		case err == nil && h.protected(inner):
			return fmt.Errorf("%s: %s in it is protected; --force does it all the same", n, inner)
		}
	}
	return nil
}

// refuseFrom says why processes must not be moved to n: one is in a cgroup that
// protected_cgroup names. What is the system's own may be left, as for a pid file:
// every login shell is in such a one.
func (h *hands) refuseFrom(n *cgroup.Node, pids []int) error {
	for _, pid := range pids {
		where, err := cgfs.Where(strconv.Itoa(pid))
		if err != nil {
			continue // it has ended, as the move will say
		}
		for _, c := range where {
			controller, _, _ := strings.Cut(c.Name, ",")
			from, err := h.host.Node(controller + ":" + c.Path)
			if err != nil || from.Path() == n.Path() || !h.concerns(n, controller) {
				continue
			}
			if h.shield.Named(h.namesOf(from), h.below(from)) {
				return fmt.Errorf("process %d: is in %s, which is protected; --force does it all the same", pid, from)
			}
		}
	}
	return nil
}

// concerns says whether the hierarchy of a controller is one of n's.
func (h *hands) concerns(n *cgroup.Node, controller string) bool {
	same, err := h.host.Node(controller + ":" + n.Path())
	return err == nil && slices.ContainsFunc(n.Split(), func(one *cgroup.Node) bool { return one.Dir() == same.Dir() })
}

func (h *hands) protected(n *cgroup.Node) bool { return h.shield.Kept(h.namesOf(n), h.below(n)) }

// below is the path that protected_cgroup means: relative to the daemon's root
// where it is below that.
func (h *hands) below(n *cgroup.Node) string {
	p := strings.Trim(n.Path(), "/")
	if rest, ok := strings.CutPrefix(p, h.root+"/"); ok && h.root != "" {
		return rest
	}
	return p
}

// namesOf are the controllers that a change of n is about: all of its hierarchies,
// not only those that it is named with.
func (h *hands) namesOf(n *cgroup.Node) []string {
	mounts := map[string]bool{}
	for _, one := range n.Split() {
		mounts[one.Dir()] = true
	}
	names := n.Controllers()
	for _, c := range h.host.Controllers() {
		if other, err := h.host.Node(c + ":" + n.Path()); err == nil && mounts[other.Dir()] {
			names = append(names, c)
		}
	}
	return names
}

// forceFlag is for every command that changes something.
func forceFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("force", false, "also what is protected")
}
