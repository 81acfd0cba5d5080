package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/confdiff"
	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func (a *app) confCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conf",
		Short: "Read and change the document that all hosts follow",
		Long: `Read and change the document that all hosts follow. What is written replaces
exactly the version that was shown; the documents before stay in a history beside
the node (conf_history says how many), with author, time and reason.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			}
			cmd.SetOut(a.stderr)
			_ = cmd.Usage()
			return &exitError{status: exitUsage}
		},
	}
	cmd.AddCommand(
		a.confGetCommand(), a.confSetCommand(), a.confEditCommand(), a.confDiffCommand(), a.confValidateCommand(),
		a.confHistoryCommand(), a.confRollbackCommand(),
	)
	return cmd
}

// zookeeper is the document's node, for commands that there is no use for without
// ZooKeeper.
func (a *app) zookeeper() (*zkconf.ZooKeeper, *config.Config, error) {
	c, err := a.loadWithSource()
	if err != nil {
		return nil, nil, err
	}
	z, ok := newSource(c, zap.NewNop()).(*zkconf.ZooKeeper)
	if !ok {
		return nil, nil, &exitError{exitUsage, fmt.Errorf("the document is the file %s and not in ZooKeeper: edit the file", c.ConfFile)}
	}
	return z, c, nil
}

// readCurrent reads the document's node, which must exist.
func readCurrent(ctx context.Context, z *zkconf.ZooKeeper) (zkconf.Current, error) {
	cur, err := z.Read(ctx)
	if err == nil && !cur.Exists {
		err = fmt.Errorf("there is no document: %s does not exist", z.Origin())
	}
	return cur, failed(err)
}

func (a *app) confGetCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Print the document, byte for byte",
		Long: `Print the document as it is in its source, byte for byte; with --json an object
of version and value. --version prints an earlier one, from the history.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version, raw, err := a.stored(cmd.Context(), from)
			if err != nil {
				return err
			}
			if !a.json {
				_, err = a.stdout.Write(raw)
				return failed(err)
			}
			answer := map[string]any{"version": version, "value": json.RawMessage(raw)}
			if !json.Valid(raw) {
				answer["value"] = string(raw)
			}
			return failed(json.NewEncoder(a.stdout).Encode(answer))
		},
	}
	cmd.Flags().StringVar(&from, "version", "", "an earlier version")
	return cmd
}

// stored is the document in its source (from "") or an earlier version of it.
func (a *app) stored(ctx context.Context, from string) (int32, []byte, error) {
	if from == "" {
		c, err := a.loadWithSource()
		if err != nil {
			return 0, nil, err
		}
		defer a.waiting("the document")()
		u, err := newSource(c, zap.NewNop()).Fetch(ctx)
		return u.Version, u.Raw, failed(err)
	}
	version, err := parseVersion(from)
	if err != nil {
		return 0, nil, err
	}
	z, _, err := a.zookeeper()
	if err != nil {
		return 0, nil, err
	}
	raw, err := a.recall(ctx, z, version)
	return version, raw, err
}

func parseVersion(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("not a version: %q", s)
	}
	return int32(n), nil
}

// recall finds an earlier version. Should the node have been made anew, and so
// have had the version twice, the later one is meant.
func (a *app) recall(ctx context.Context, z *zkconf.ZooKeeper, version int32) ([]byte, error) {
	defer a.waiting("ZooKeeper")()
	list, err := z.History(ctx)
	if err != nil {
		return nil, failed(err)
	}
	i := slices.IndexFunc(list, func(e zkconf.Entry) bool { return e.Version == version })
	if i < 0 {
		return nil, failed(fmt.Errorf("version %d is not in the history (conf history lists it)", version))
	}
	raw, err := list[i].Document()
	return raw, failed(err)
}

// readDocument reads a file, or standard input for "-", no further than a document
// may be long.
func (a *app) readDocument(file string) ([]byte, error) {
	var r io.Reader = a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, failed(err)
		}
		defer f.Close()
		r = f
	}
	raw, err := io.ReadAll(io.LimitReader(r, zkconf.MaxSize+1))
	if err != nil {
		return nil, failed(fmt.Errorf("read %s: %w", file, err))
	}
	return raw, nil
}

func (a *app) confValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a document, asking nobody",
		Long: `Check the document in FILE (- is standard input) without ZooKeeper and without a
configuration. Every fault is printed with its line and column, and exit status 1
says that there is one. An unknown setting is a fault.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			raw, err := a.readDocument(args[0])
			if err != nil {
				return err
			}
			faults, warned := orEmpty(zkconf.Locate(raw, zkconf.Check(raw))), []string{}
			if doc, err := zkconf.Decode(raw, 0); err == nil {
				warned = orEmpty(warnings(doc))
			}
			switch {
			case a.json:
				err = json.NewEncoder(a.stdout).Encode(map[string]any{"faults": faults, "warnings": warned})
			case len(faults) == 0:
				_, err = fmt.Fprintf(a.stdout, "ok: %s is valid\n", args[0])
			}
			if !a.json {
				a.printFaults(args[0], faults)
				for _, w := range warned {
					fmt.Fprintln(a.stderr, "warning:", w)
				}
			}
			if err == nil && len(faults) > 0 {
				return &exitError{exitFailed, faulty(args[0], faults)}
			}
			return failed(err)
		},
	}
}

func faulty(file string, faults []zkconf.Located) error {
	if len(faults) == 1 {
		return fmt.Errorf("%s: 1 fault", file)
	}
	return fmt.Errorf("%s: %d faults", file, len(faults))
}

// printFaults prints faults as compilers do, so that editors find them.
func (a *app) printFaults(file string, faults []zkconf.Located) {
	for _, f := range faults {
		if f.Line == 0 {
			fmt.Fprintf(a.stderr, "%s: %s\n", file, f.Text)
			continue
		}
		fmt.Fprintf(a.stderr, "%s:%d:%d: %s\n", file, f.Line, f.Column, f.Text)
	}
}

func (a *app) confDiffCommand() *cobra.Command {
	var from string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Show what a document would change",
		Long: `Show what the document in FILE (- is standard input) would change if it replaced
the one that is in its source, or the earlier version --from. Without FILE: what
has changed since that version. What is removed comes first (-), with subsystems
in which others' cgroups would be (!), then what changes (~) and is added (+).
Exit status 3 means that there is a difference, 0 that there is none.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && from == "" {
				return errors.New("nothing to compare with: FILE or --from is needed")
			}
			_, before, err := a.stored(cmd.Context(), from)
			if err != nil {
				return err
			}
			var after []byte
			if len(args) == 1 {
				after, err = a.readDocument(args[0])
			} else {
				_, after, err = a.stored(cmd.Context(), "")
			}
			if err != nil {
				return err
			}
			if faults := zkconf.Locate(after, zkconf.Check(after)); len(args) == 1 && len(faults) > 0 {
				a.printFaults(args[0], faults)
				return &exitError{exitFailed, faulty(args[0], faults)}
			}
			diff, err := compare(before, after)
			if err != nil {
				return failed(err)
			}
			if err := a.printDiff(diff, verbose); err != nil {
				return failed(err)
			}
			if !diff.Empty() {
				return &exitError{status: exitChanges}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "an earlier version instead of the one in the source")
	addVerbose(cmd, &verbose)
	return cmd
}

func addVerbose(cmd *cobra.Command, verbose *bool) {
	cmd.Flags().BoolVarP(verbose, "verbose", "v", false, "show all of the difference")
}

// compare compares two documents. One that is not valid, as only the older may
// be, cannot be compared.
func compare(before, after []byte) (*confdiff.Diff, error) {
	older, err := zkconf.Decode(before, 0)
	if err != nil {
		return nil, fmt.Errorf("the older document is not valid, so there is nothing to compare with: %w", err)
	}
	newer, err := zkconf.Decode(after, 0)
	if err != nil {
		return nil, fmt.Errorf("the newer document is not valid: %w", err)
	}
	return confdiff.Compare(older, newer), nil
}

func (a *app) printDiff(d *confdiff.Diff, verbose bool) error {
	if a.json {
		return json.NewEncoder(a.stdout).Encode(d)
	}
	_, err := io.WriteString(a.stdout, d.Text(verbose))
	return err
}

func (a *app) confHistoryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "List the versions of the document",
		Long: `List the versions of the document that conf set, edit and rollback have written,
and those that they have replaced, the newest first. Versions are identities: a
node that was made anew counts from 0 again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			z, _, err := a.zookeeper()
			if err != nil {
				return err
			}
			defer a.waiting("ZooKeeper")()
			list, err := z.History(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if a.json {
				return failed(json.NewEncoder(a.stdout).Encode(orEmpty(list)))
			}
			_, err = io.WriteString(a.stdout, historyText(list))
			return failed(err)
		},
	}
}

// historyText is a table, with what each version changed.
func historyText(list []zkconf.Entry) string {
	rows := [][]string{{"VERSION", "TIME", "AUTHOR", "BYTES", "WHAT", "REASON"}}
	for i, e := range list {
		author := e.Author
		if author == "" {
			author = "-"
		}
		what := "-" // what came before is not known any more
		if i+1 < len(list) {
			what = changes(&list[i+1], &list[i])
		}
		rows = append(rows, []string{
			strconv.Itoa(int(e.Version)), e.Time.UTC().Format(time.RFC3339), author, strconv.Itoa(e.Size), what, e.Reason,
		})
	}
	return table(rows)
}

// changes counts what a version changed.
func changes(older, newer *zkconf.Entry) string {
	before, err := older.Document()
	if err != nil {
		return "?"
	}
	after, err := newer.Document()
	if err != nil {
		return "?"
	}
	d, err := compare(before, after)
	if err != nil {
		return "?"
	}
	if d.Empty() {
		return "nothing"
	}
	return d.Counts()
}

// table aligns columns; the last one is not padded.
func table(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += fmt.Sprintf("%-*s  ", widths[i], cell)
		}
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
	}
	return b.String()
}
