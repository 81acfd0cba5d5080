package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
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

Where subsystems share one hierarchy (always on v2) and have NAME at different paths,
a process has one place all the same: the argument names that of the subsystem which
placement follows (cpu, then memory, then blkio, then others by name).

Nothing is changed. A NAME that is found nowhere, or at two places of one
subsystem, gives no line; the reason goes to standard error and the exit status
is 1.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withDocument(cmd.Context(), func(doc *zkconf.Document, home homeFunc) error {
				return a.printArguments(names, func(name string) (string, error) { return cgexecArgument(doc, name, home) })
			})
		},
	}
	return cmd
}

// homeFunc says where a document puts the processes of a subsystem's cgroup on this
// host: the directory, relative to the mount, in a hierarchy, which is "" where the
// subsystem cannot be used.
type homeFunc func(subsystem, path string) (hierarchy, dir string)

// withDocument calls f with the document, and with where it puts processes.
func (a *app) withDocument(ctx context.Context, f func(doc *zkconf.Document, home homeFunc) error) error {
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
	return failed(f(doc, func(subsystem, p string) (hierarchy, dir string) {
		if dir, ok := desired.HomeIn(layout, subsystem, p); ok {
			return desired.Tree(subsystem).Hierarchy, dir
		}
		return "", ""
	}))
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
func cgexecArgument(doc *zkconf.Document, name string, home homeFunc) (string, error) {
	places, err := lookUp(doc, name, home)
	var args []string
	for _, p := range places {
		args = append(args, "-g "+p.subsystem+":"+p.dir)
	}
	return strings.Join(args, " "), err
}

// configured is where a cgroup of the document has its processes in one subsystem,
// relative to the mount of the hierarchy.
type configured struct {
	subsystem, hierarchy, dir string
	takes                     bool // it has conf, so processes are placed there
}

// lookUp finds a cgroup by path or name in every subsystem of this host, sorted.
// Where it is at several places of one hierarchy, only that which placement takes
// is given.
func lookUp(doc *zkconf.Document, name string, home homeFunc) ([]configured, error) {
	mounted := func(subsystem string) bool {
		hierarchy, _ := home(subsystem, "")
		return hierarchy != ""
	}
	typed := name
	name = strings.Trim(name, "/")
	pathOnly := strings.HasPrefix(typed, "/") // a slash makes it a path, though a path needs none
	exact, byName := map[string]string{}, map[string][]string{}
	takes := map[string]bool{} // by subsystem and path
	var order []string
	elsewhere := ""
	doc.Walk(func(subsystem, p string, n *zkconf.Node) {
		takes[subsystem+"/"+p] = n.HasConf
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
		hierarchy, dir := home(subsystem, p)
		out = append(out, configured{subsystem, hierarchy, dir, takes[subsystem+"/"+p]})
	}
	if len(out) == 0 && elsewhere != "" {
		return nil, fmt.Errorf("%s: is in subsystem %s only, which is not mounted on this host", name, elsewhere)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no such cgroup in version %d of the document", name, doc.Version)
	}
	return placed(out), nil
}

// placed leaves out the places that a process cannot have because it is at another one
// of the same hierarchy: that of the strongest subsystem which places processes at all.
// A program that joins one after the other would end in the last.
func placed(places []configured) []configured {
	at := map[string]configured{}
	var subsystems []string
	for _, p := range places {
		at[p.subsystem] = p
		subsystems = append(subsystems, p.subsystem)
	}
	wins := map[string]configured{} // by hierarchy
	for _, s := range reconcile.Precedence(subsystems) {
		if first, ok := wins[at[s].hierarchy]; !ok || at[s].takes && !first.takes {
			wins[at[s].hierarchy] = at[s]
		}
	}
	return slices.DeleteFunc(places, func(p configured) bool { return p.dir != wins[p.hierarchy].dir })
}
