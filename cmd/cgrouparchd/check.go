package main

import (
	"encoding/json"
	"fmt"
	"strings"

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
				return err
			}
			if _, err := reconcile.NewShield(c.ProtectedCgroup, c.ProtectSystemCgroups); err != nil {
				return &exitError{exitUsage, err}
			}
			u, err := newSource(c, zap.NewNop()).Fetch(cmd.Context())
			if err != nil {
				return failed(err)
			}
			faults := zkconf.Faults(u.Err)
			if u.Doc != nil {
				faults = unknownSettings(u.Doc)
			}
			if a.json {
				if err := json.NewEncoder(a.stdout).Encode(map[string]any{"version": u.Version, "faults": orEmpty(faults)}); err != nil {
					return failed(err)
				}
			}
			if len(faults) == 0 {
				if a.json {
					return nil
				}
				_, err := fmt.Fprintf(a.stdout, "ok: the configuration and version %d of the document are valid\n", u.Version)
				return failed(err)
			}
			if a.json {
				return &exitError{status: exitFailed}
			}
			return failed(fmt.Errorf("%d faults in version %d of the document:\n%s", len(faults), u.Version, strings.Join(faults, "\n")))
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// unknownSettings are faults where a document is written or checked; the daemon
// survives them.
func unknownSettings(doc *zkconf.Document) []string {
	var out []string
	doc.Walk(func(subsystem, path string, n *zkconf.Node) {
		for _, key := range n.Unknown {
			out = append(out, fmt.Sprintf("%s: %s: unknown setting", strings.TrimSuffix(subsystem+"/"+path, "/"), key))
		}
	})
	return out
}
