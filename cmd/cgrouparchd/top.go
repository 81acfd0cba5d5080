package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/top"
)

func (a *app) topCommand() *cobra.Command {
	var address, by string
	var utc, once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the usage of every cgroup, now or in any second that is held",
		Long: `Watch the usage of every cgroup of a running daemon in a terminal: sorted, as a
tree, filtered; the processes inside a cgroup, and why each is there; any second of
the history; events, faults, what was changed by hand; the versions of the document
and what changed between them; what an edit of it would do here; the hosts of the
cluster; what the daemon costs. Press ? for the keys.

It asks over the websocket, so --address shows another host. The key e asks for the
file of a document; it offers conf_file, where that is given. A copy of the document
in force that was edited is kept when you leave, and its file is named.

With --once it prints one table, which needs no terminal, and ends.`,
		Example: `  cgrouparchd top --once --sort memory | head
  cgrouparchd top --address web7:43409 --conf-file arch_conf.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			column, known := top.Columns[by]
			switch {
			case !known:
				return &exitError{exitUsage, fmt.Errorf("top: --sort: no such column: %q (%s)", by, columnNames())}
			case !once && !(terminal(a.stdout) && interactive(a.stdin)):
				return &exitError{exitUsage, errors.New("top: this is no terminal: --once prints a table, show-account JSON for scripts")}
			}
			o := top.Options{Address: address, Now: time.Now(), By: column, File: a.flags.given()["conf_file"]}
			if utc {
				o.Now = o.Now.UTC()
			}
			if o.Address == "" {
				c, err := a.load()
				if err != nil {
					return err
				}
				if o.Address, err = daemonAddress(c); err != nil {
					return err
				}
				o.File = c.ConfFile
			}
			if once {
				return a.topOnce(cmd.Context(), o)
			}
			edit := func(file string) *exec.Cmd { return editorCommand(file, 1) }
			kept, err := top.Run(cmd.Context(), top.New(o), asker(o.Address), top.Here{In: os.Stdin, Out: a.stdout, Edit: edit})
			if kept != "" {
				fmt.Fprintf(a.stderr, "cgrouparchd: your text is kept in %s (cgrouparchd conf set writes it)\n", kept)
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "HOST:PORT of the daemon (default: from the configuration)")
	cmd.Flags().BoolVar(&utc, "utc", false, "show and read times in UTC")
	cmd.Flags().BoolVar(&once, "once", false, "print one table and end")
	cmd.Flags().StringVar(&by, "sort", "cpu", "what to sort by: "+columnNames())
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(slices.Sorted(maps.Keys(top.Columns)), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func columnNames() string {
	return strings.Join(slices.Sorted(maps.Keys(top.Columns)), ", ")
}

// topOnce prints the newest second.
func (a *app) topOnce(ctx context.Context, o top.Options) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	data, err := asker(o.Address)(ctx, "show_account", map[string]any{"nr_slot": 1, "rate": true})
	if err != nil {
		return failed(fmt.Errorf("ask the daemon at %s: %w", o.Address, err))
	}
	frames, err := top.ParseFrames(data)
	if err != nil {
		return failed(err)
	}
	if len(frames) == 0 {
		return failed(errors.New("the daemon has no usage of two seconds yet"))
	}
	newest := frames[len(frames)-1]
	newest.Sort(o.By)
	return failed(top.Print(a.stdout, []top.Frame{newest}, o.Now.Location(), true))
}
