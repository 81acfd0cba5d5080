package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/reconcile"
)

func (a *app) planCommand() *cobra.Command {
	var explain bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what run would change now, changing nothing",
		Long: `Show what run would change now, one step a line, in the order in which it would
happen, changing nothing. Faults of the host, and settings that have no effect on
it, go to standard error. Exit status 3
means that there is something to do, 0 that there is nothing.

With --explain: show what each setting of the document becomes on this host
instead: the control file, its value, and by how much rounding misses what was
asked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.loadWithSource()
			if err != nil {
				return err
			}
			doc, source, err := a.document(cmd.Context(), c)
			if err != nil {
				return failed(err)
			}
			root, err := readRoot(c, a.stderr)
			if err != nil {
				return failed(err)
			}
			files := newPidFiles(c, zap.NewNop())
			r, err := newReconciler(c, root, newLog(c, a.stderr), source, files, reconcileHooks{})
			if err != nil {
				return failed(err)
			}
			defer r.Close()
			files.RefreshCommand(cmd.Context(), r.Cgroups(doc))
			plan, faults, err := r.Plan(cmd.Context(), doc)
			if err != nil {
				return failed(err)
			}
			if a.json {
				steps := []string{}
				for _, s := range plan {
					steps = append(steps, s.String())
				}
				answer := map[string]any{"version": doc.Version, "steps": steps, "faults": orEmpty(faults), "notes": orEmpty(r.Notes())}
				if explain {
					answer["translation"] = r.Explain()
				}
				err = json.NewEncoder(a.stdout).Encode(answer)
			} else {
				_, err = fmt.Fprint(a.stdout, planText(plan, r.Explain(), explain))
				for _, f := range slices.Concat(r.Notes(), faults) {
					fmt.Fprintln(a.stderr, f)
				}
			}
			if err == nil && len(plan) > 0 {
				return &exitError{status: exitChanges}
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&explain, "explain", false, "show what each setting becomes on this host")
	return cmd
}

func planText(plan reconcile.Plan, translation []reconcile.Explanation, explain bool) string {
	if !explain {
		return plan.String()
	}
	var b strings.Builder
	for _, e := range translation {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}
