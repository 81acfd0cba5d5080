package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func (a *app) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the daemon's configuration and the document",
		Long: `Check the daemon's configuration (a fault: exit status 2) and the document, from
its source or from --conf-file (a fault or an unknown setting: exit status 1).
Every fault is printed, one a line.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadWithSource()
			if err != nil {
				a.reportFlagged()
				return err
			}
			if _, err := reconcile.NewShield(c.ProtectedCgroup, c.ProtectSystemCgroups); err != nil {
				return &exitError{exitUsage, err}
			}
			defer a.waiting("the document")()
			u, err := newSource(c, zap.NewNop()).Fetch(cmd.Context())
			if err != nil {
				return failed(err)
			}
			return a.report(u, c.ConfFile)
		},
	}
	return cmd
}

// report prints what is wrong with a document, unknown settings included.
func (a *app) report(u zkconf.Update, file string) error {
	what := fmt.Sprintf("version %d of the document", u.Version)
	if file != "" {
		what = file
	}
	faults, warned := orEmpty(zkconf.Faults(zkconf.Check(u.Raw))), []string{}
	if u.Doc != nil {
		warned = orEmpty(warnings(u.Doc))
	}
	var err error
	switch {
	case a.json:
		err = json.NewEncoder(a.stdout).Encode(map[string]any{"version": u.Version, "faults": faults, "warnings": warned})
	case len(faults) == 0:
		_, err = fmt.Fprintf(a.stdout, "ok: the configuration and %s are valid\n", what)
	}
	if !a.json {
		for _, w := range warned {
			fmt.Fprintln(a.stderr, "warning:", w)
		}
		for _, f := range faults {
			fmt.Fprintln(a.stderr, f)
		}
	}
	if err == nil && len(faults) > 0 {
		return &exitError{exitFailed, fmt.Errorf("%s: %d faults", what, len(faults))}
	}
	return failed(err)
}

// reportFlagged prints the faults of a document given by --conf-file although
// the configuration is faulty too, so that one look shows everything.
func (a *app) reportFlagged() {
	file := a.flags.given()["conf_file"]
	if file == "" {
		return
	}
	if u, err := (&zkconf.File{Path: file}).Fetch(context.Background()); err == nil {
		for _, f := range zkconf.Faults(zkconf.Check(u.Raw)) {
			fmt.Fprintln(a.stderr, f)
		}
	}
}
