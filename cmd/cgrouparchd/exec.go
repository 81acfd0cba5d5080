package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// Exit statuses of exec where the command could not be started, as a shell has
// them.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

func (a *app) execCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec NAME -- COMMAND [ARG...]",
		Short: "Start a command that is born in its cgroup",
		Long: `Start a command in the cgroup NAME of the document (a path or a name, in each
subsystem that has it), or in a cgroup written CONTROLLER[,CONTROLLER...]:PATH, or
*:PATH for all hierarchies with controllers. Not one instruction of it runs outside.

On v1 this process joins the cgroup and becomes the command. On v2 the command is a
child that the kernel makes in the cgroup; signals are passed on to it, and its exit
status is ours. In the foreground of a terminal SIGINT, SIGQUIT, SIGHUP and SIGWINCH
are not: the terminal sends them to both. Whoever means to send one of these with kill
sends it to the command or to the process group (kill -INT -PGID), or sends SIGTERM,
which is always passed on. Exit status 127: no such command, 126: it cannot be run.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return errors.New("exec takes NAME -- COMMAND [ARG...]")
			}
			return nil
		},
		ValidArgsFunction: a.completeCgroup,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := exec.LookPath(args[1])
			if err != nil {
				return &exitError{notStarted(err), err}
			}
			host, nodes, err := a.homes(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer host.Close()
			return become(nodes, file, args[1:])
		},
	}
}

func notStarted(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitCannotRun
}

// homes are the cgroups that a name stands for, one for each hierarchy.
func (a *app) homes(ctx context.Context, name string) (*cgroup.Host, []*cgroup.Node, error) {
	h, err := a.hands()
	if err != nil {
		return nil, nil, err
	}
	var names []string
	controllers, _, found := strings.Cut(name, ":")
	if found && (controllers == "*" || h.host.Version(strings.Split(controllers, ",")[0]) != 0) {
		names = []string{name}
	} else {
		err = a.withDocument(ctx, func(doc *zkconf.Document, home homeFunc) error {
			places, err := lookUp(doc, name, home)
			for _, p := range places {
				names = append(names, p.subsystem+":/"+p.dir)
			}
			return err
		})
	}
	var nodes []*cgroup.Node
	for _, name := range names {
		var n *cgroup.Node
		if n, err = h.host.Node(name); err != nil {
			break
		}
		nodes = append(nodes, n)
	}
	if err != nil {
		h.close()
		return nil, nil, failed(err)
	}
	return h.host, nodes, nil
}

// become runs the command in the cgroups, with this process's streams, other
// descriptors and terminal. It returns only when it could not, or when the command
// has ended.
func become(nodes []*cgroup.Node, file string, argv []string) error {
	var unified *cgroup.Node
	for _, n := range nodes {
		if err := refuseFrozen(n); err != nil {
			return failed(err)
		}
	}
	for _, n := range nodes {
		for _, one := range n.Split() {
			if one.Version() == 2 {
				unified = one // a process has one place in it, see placed
				continue
			}
			if err := one.Add(os.Getpid()); err != nil {
				return failed(err)
			}
		}
	}
	passOn(inherited)
	if unified == nil {
		restoreIgnored()
		err := syscall.Exec(file, argv, os.Environ())
		return &exitError{notStarted(err), fmt.Errorf("run %s: %w", file, err)}
	}
	child := &exec.Cmd{Path: file, Args: argv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	return attend(child, unified.Start)
}

// refuseFrozen refuses a cgroup of v1 that is frozen or freezing, as [cgroup.Node.Start]
// does: we would stand still in it ourselves, half way in, and not even SIGKILL would
// end us.
func refuseFrozen(n *cgroup.Node) error {
	for _, one := range n.Split() {
		if one.Version() != 1 {
			continue
		}
		if state, err := one.ReadFile("freezer.state"); err == nil && state != "THAWED" {
			return fmt.Errorf("exec in %s: %w: it is %s; thaw it first", one, cgroup.ErrBusy, strings.ToLower(state))
		}
	}
	return nil
}
