package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/cgroup"
)

// treeNode is a cgroup in the JSON of `cgroup tree`.
type treeNode struct {
	Name        string      `json:"name"`
	Path        string      `json:"path"`
	Kind        cgroup.Kind `json:"kind"`
	Controllers []string    `json:"controllers"`
	Procs       int         `json:"procs"`
	Children    []*treeNode `json:"children,omitempty"`
}

func (a *app) treeCommand() *cobra.Command {
	var depth int
	cmd := &cobra.Command{
		Use:   "tree [PATH|CG]",
		Short: "Show the cgroups below a path",
		Long: `Show the cgroups below a path, each with the hierarchies in which it exists and the
number of processes in it. Without a path: each hierarchy as it is mounted.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeCgroup,
		RunE: func(_ *cobra.Command, args []string) error {
			name := "/"
			if len(args) == 1 {
				name = args[0]
			}
			return a.onCgroup(name, func(h *hands, n *cgroup.Node) error {
				if len(args) == 0 {
					n = h.host.Tree()
				} else if !n.Exists() {
					return fmt.Errorf("%s: %w", n, cgroup.ErrNotExist)
				}
				root, err := branches(n, depth, n.Kind() == cgroup.KindRoot && len(args) == 0)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(root)
				}
				return printTree(a.stdout, root, "", "")
			})
		},
	}
	cmd.Flags().IntVar(&depth, "depth", -1, "levels below the path; -1: all")
	return cmd
}

func branches(n *cgroup.Node, depth int, top bool) (*treeNode, error) {
	out := &treeNode{Name: n.Name(), Path: n.Path(), Kind: n.Kind(), Controllers: n.Controllers()}
	if pids, err := n.Procs(); err == nil && !top {
		out.Procs = len(pids)
	}
	if depth == 0 {
		return out, nil
	}
	children, err := n.Children()
	if err != nil {
		return nil, err
	}
	for _, c := range children {
		child, err := branches(c, depth-1, false)
		if err != nil {
			continue // it has vanished meanwhile
		}
		out.Children = append(out.Children, child)
	}
	return out, nil
}

func printTree(w io.Writer, n *treeNode, first, rest string) error {
	line := first + printable(n.Name)
	if n.Kind != cgroup.KindControllerRoot && n.Kind != cgroup.KindRoot {
		line += "  " + strings.Join(n.Controllers, ",")
	}
	if n.Procs > 0 {
		line += fmt.Sprintf("  (%d)", n.Procs)
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	for i, c := range n.Children {
		here, below := "├─ ", "│  "
		if i == len(n.Children)-1 {
			here, below = "└─ ", "   "
		}
		if err := printTree(w, c, rest+here, rest+below); err != nil {
			return err
		}
	}
	return nil
}
