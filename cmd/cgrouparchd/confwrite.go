package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/cgrouparch/cgrouparch/internal/confdiff"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// writer is what the commands that write the document share.
type writer struct {
	*app
	z         *zkconf.ZooKeeper
	keep      int
	reason    string
	yes       bool
	verbose   bool
	ifVersion string
}

func (a *app) newWriter(cmd *cobra.Command) *writer {
	w := &writer{app: a}
	f := cmd.Flags()
	f.StringVar(&w.reason, "reason", "", "why, for the history")
	f.BoolVar(&w.yes, "yes", false, "do not ask before cgroups are removed")
	f.StringVar(&w.ifVersion, "if-version", "", "only if this version is the one in ZooKeeper")
	addVerbose(cmd, &w.verbose)
	return w
}

// open finds out where the document is.
func (w *writer) open() (err error) {
	z, c, err := w.zookeeper()
	if err == nil {
		w.z, w.keep = z, c.ConfHistory
	}
	return err
}

// current reads what is to be replaced.
func (w *writer) current(ctx context.Context) (zkconf.Current, error) {
	defer w.waiting("ZooKeeper")()
	cur, err := w.z.Read(ctx)
	if err != nil || w.ifVersion == "" {
		return cur, failed(err)
	}
	version, err := parseVersion(w.ifVersion)
	if err == nil && cur.Version != version {
		err = failed(fmt.Errorf("version %d is in ZooKeeper, not %d", cur.Version, version))
	}
	return cur, err
}

const afterWriting = `

The difference is shown, what is removed first. Where cgroups are removed, or a
subsystem is named for the first time (so that others' cgroups there go), you are
asked; where nobody can be asked, --yes is needed, and exit status 4 says that
nothing was written for want of it. Exit status 1 also says that somebody else has
changed the document meanwhile.`

func (a *app) confSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Replace the document",
		Long:  `Replace the document in ZooKeeper by the one in FILE (- is standard input).` + afterWriting,
		Args:  cobra.ExactArgs(1),
	}
	w := a.newWriter(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := w.open(); err != nil {
			return err
		}
		raw, err := a.readDocument(args[0])
		if err != nil {
			return err
		}
		if faults := zkconf.Locate(raw, zkconf.Check(raw)); len(faults) > 0 {
			a.printFaults(args[0], faults)
			return &exitError{exitFailed, faulty(args[0], faults)}
		}
		cur, err := w.current(cmd.Context())
		if err != nil {
			return err
		}
		return w.replace(cmd.Context(), cur, raw)
	}
	return cmd
}

func (a *app) confRollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "Write an earlier version of the document again",
		Long:  `Write a version that conf history lists again, as a new version.` + afterWriting,
		Args:  cobra.ExactArgs(1),
	}
	w := a.newWriter(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		version, err := parseVersion(args[0])
		if err != nil {
			return err
		}
		if err := w.open(); err != nil {
			return err
		}
		raw, err := a.recall(cmd.Context(), w.z, version)
		if err != nil {
			return err
		}
		if faults := zkconf.Locate(raw, zkconf.Check(raw)); len(faults) > 0 {
			name := "version " + args[0]
			a.printFaults(name, faults)
			return &exitError{exitFailed, faulty(name, faults)}
		}
		cur, err := w.current(cmd.Context())
		if err != nil {
			return err
		}
		if w.reason == "" {
			w.reason = "rollback to version " + args[0]
		}
		return w.replace(cmd.Context(), cur, raw)
	}
	return cmd
}

// errRefused says that nothing was written because nobody has agreed.
var errRefused = errors.New("not written: it removes cgroups, and nobody can be asked here: give --yes")

// replace shows what becomes different, asks if need be, and writes.
func (w *writer) replace(ctx context.Context, cur zkconf.Current, raw []byte) error {
	if cur.Exists && bytes.Equal(cur.Raw, raw) {
		return w.answer(cur.Version, false, confdiff.Compare(nil, nil), fmt.Sprintf("nothing to do: version %d is this document", cur.Version))
	}
	diff, destroys := w.show(cur, raw)
	if destroys && !w.yes {
		switch answer, asked := w.ask(ctx, "Write it? [y/N] "); {
		case !asked:
			return &exitError{exitRefused, errRefused}
		case answer != "y" && answer != "yes":
			return &exitError{exitFailed, errors.New("not written")}
		}
	}
	return w.write(ctx, cur, raw, diff)
}

// show prints the difference, and says whether it destroys something. Where there
// is nothing to compare with, it might.
func (w *writer) show(cur zkconf.Current, raw []byte) (*confdiff.Diff, bool) {
	before := cur.Raw
	if !cur.Exists {
		before = []byte("{}")
	}
	diff, err := compare(before, raw)
	if err != nil {
		fmt.Fprintln(w.stderr, "warning:", err)
		return nil, true
	}
	text := diff.Text(w.verbose)
	if diff.Empty() {
		text = "no difference but in spelling\n"
	}
	if !w.json {
		// What it is about to do; that it has been done is said by answer, which
		// reports a standard output that takes nothing.
		_, _ = fmt.Fprint(w.stdout, text)
	}
	return diff, diff.Destroys()
}

func (w *writer) write(ctx context.Context, cur zkconf.Current, raw []byte, diff *confdiff.Diff) error {
	done := w.waiting("ZooKeeper")
	version, err := w.z.Write(ctx, zkconf.Write{Over: cur, Raw: raw, Author: author(), Reason: w.reason, Keep: w.keep})
	done()
	if version < 0 {
		return failed(err)
	}
	if err != nil { // it is written all the same
		fmt.Fprintln(w.stderr, "cgrouparchd: warning: history:", err)
	}
	return w.answer(version, true, diff, fmt.Sprintf("version %d is written; cgrouparchd status --wait %d tells when all hosts have it", version, version))
}

// answer says what has become of it.
func (w *writer) answer(version int32, written bool, diff *confdiff.Diff, text string) error {
	if w.json {
		return failed(json.NewEncoder(w.stdout).Encode(map[string]any{"version": version, "written": written, "diff": diff}))
	}
	_, err := fmt.Fprintln(w.stdout, text)
	return failed(err)
}

// author is who types, also behind sudo, and where.
func author() string {
	name := os.Getenv("SUDO_USER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	host, _ := os.Hostname() // a history without it is still one
	return name + "@" + host
}
