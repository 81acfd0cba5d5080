package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/cgfs"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func (a *app) cgexecCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get-cgexec-arg NAME...",
		Short: "Print the argument that lets cgexec start a process in a cgroup",
		Long: `Print, for each NAME (a path or a name of a cgroup in the document), the argument
that puts a new process into it at birth:

    cgexec $(cgrouparchd get-cgexec-arg test_cgroup_a) sleep 60

Nothing is changed. A NAME that is found nowhere, or at two places of one
subsystem, gives no line; the reason goes to standard error and the exit status
is 1.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withDocument(cmd.Context(), func(doc *zkconf.Document, home func(subsystem, path string) (string, bool)) error {
				return a.printArguments(names, func(name string) (string, error) { return cgexecArgument(doc, name, home) })
			})
		},
	}
	return cmd
}

// withDocument calls f with the document, and with where it puts the processes of
// each cgroup on this host.
func (a *app) withDocument(ctx context.Context, f func(doc *zkconf.Document, home func(subsystem, path string) (string, bool)) error) error {
	c, err := a.loadWithSource()
	if err != nil {
		return err
	}
	doc, _, err := a.document(ctx, c)
	if err != nil {
		return failed(err)
	}
	layout, err := cgfs.Discover(c.CgroupDir)
	if err != nil {
		return failed(err)
	}
	defer layout.Close()
	root, err := readRoot(c, a.stderr)
	if err != nil {
		return failed(err)
	}
	desired := reconcile.Compile(doc, reconcile.HostOf(layout), reconcile.Options{Root: strings.Trim(root, "/")})
	return failed(f(doc, func(subsystem, p string) (string, bool) { return desired.HomeIn(layout, subsystem, p) }))
}

func (a *app) printArguments(names []string, argument func(string) (string, error)) error {
	found := map[string]string{}
	var errs []error
	for _, name := range names {
		arg, err := argument(name)
		if err == nil && !a.json && len(strings.Fields(arg)) != 2*strings.Count(" "+arg, " -g ") {
			arg, err = "", fmt.Errorf("%s: its path has blanks, which a shell would split; use --json", name)
		}
		found[name] = arg
		switch {
		case err != nil:
			errs = append(errs, err)
		case !a.json:
			if _, err := fmt.Fprintln(a.stdout, arg); err != nil {
				return err
			}
		}
	}
	if a.json {
		if err := json.NewEncoder(a.stdout).Encode(found); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// cgexecArgument is the argument for cgexec: "-g cpu:a/b".
func cgexecArgument(doc *zkconf.Document, name string, home func(subsystem, path string) (dir string, ok bool)) (string, error) {
	places, err := lookUp(doc, name, home)
	var args []string
	for _, p := range places {
		args = append(args, "-g "+p.subsystem+":"+p.dir)
	}
	return strings.Join(args, " "), err
}

// configured is where a cgroup of the document has its processes in one subsystem,
// relative to the mount.
type configured struct{ subsystem, dir string }

// lookUp finds a cgroup by path or name in every subsystem of this host, sorted.
// home says where the processes of a subsystem's cgroup are, relative to the
// mount; ok is false where the subsystem cannot be used.
func lookUp(doc *zkconf.Document, name string, home func(subsystem, path string) (dir string, ok bool)) ([]configured, error) {
	mounted := func(subsystem string) bool {
		_, ok := home(subsystem, "")
		return ok
	}
	typed := name
	name = strings.Trim(name, "/")
	pathOnly := strings.HasPrefix(typed, "/") // a slash makes it a path, though a path needs none
	exact, byName := map[string]string{}, map[string][]string{}
	var order []string
	elsewhere := ""
	doc.Walk(func(subsystem, p string, _ *zkconf.Node) {
		switch {
		case p == "" && mounted(subsystem):
			order = append(order, subsystem)
		case p == "":
		case p != name && (pathOnly || path.Base(p) != name):
		case !mounted(subsystem):
			elsewhere = subsystem
		case p == name:
			exact[subsystem] = p
		default:
			byName[subsystem] = append(byName[subsystem], p)
		}
	})
	var out []configured
	for _, subsystem := range order {
		p, ok := exact[subsystem]
		switch places := byName[subsystem]; {
		case ok:
		case len(places) > 1:
			return nil, fmt.Errorf("%s: is at %d places in %s (%s): give a path", name, len(places), subsystem, strings.Join(places, ", "))
		case len(places) == 1:
			p = places[0]
		default:
			continue
		}
		dir, _ := home(subsystem, p)
		out = append(out, configured{subsystem, dir})
	}
	if len(out) == 0 && elsewhere != "" {
		return nil, fmt.Errorf("%s: is in subsystem %s only, which is not mounted on this host", name, elsewhere)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no such cgroup in version %d of the document", name, doc.Version)
	}
	return out, nil
}
