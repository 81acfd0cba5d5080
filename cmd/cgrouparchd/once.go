package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// once makes one full pass: `run --once`.
func (a *app) once(ctx context.Context, c *config.Config) error {
	log := newLog(c, a.stderr)
	source := newSource(c, log)
	doc, docErr := await(ctx, c, source)
	if doc == nil {
		return failed(docErr)
	}
	if docErr != nil {
		fmt.Fprintf(a.stderr, "cgrouparchd: %v; enforcing the last good document, version %d\n", docErr, doc.Version)
	} else if err := zkconf.SaveLastGood(c.StateDir, zkconf.LastGood{Origin: source.Origin(), Version: doc.Version, Raw: string(doc.Raw)}); err != nil {
		fmt.Fprintf(a.stderr, "cgrouparchd: last good document not saved: %v\n", err)
	}
	a.warn(doc)
	root, err := resolveRoot(c)
	if err != nil {
		return failed(err)
	}
	files := newPidFiles(c, log)
	defer files.Close()
	var faults []reconcile.Fault
	r, err := newReconciler(c, root, log, source, files, reconcileHooks{})
	if err != nil {
		return failed(err)
	}
	defer r.Close()
	files.RefreshCommand(ctx, r.Cgroups(doc))
	if faults, err = r.Once(ctx, doc); err != nil {
		return failed(err)
	}
	for _, f := range slices.Concat(r.Notes(), faults) {
		fmt.Fprintln(a.stderr, f)
	}
	var fault error
	if len(faults) > 0 {
		fault = fmt.Errorf("version %d of the document is in force with %d faults", doc.Version, len(faults))
	}
	if docErr != nil && errors.Is(docErr, errRejected) {
		fault = errors.Join(docErr, fault)
	}
	return failed(fault)
}

var errRejected = errors.New("document rejected")

// await waits for a document, and takes the last good one when there is none to
// be had. err says why it did.
func await(ctx context.Context, c *config.Config, source zkconf.Source) (doc *zkconf.Document, err error) {
	wait := max(3*c.ZKSessionTimeout, 15*time.Second)
	inner, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if runErr := source.Run(inner, func(u zkconf.Update) {
		doc = u.Doc
		if u.Err != nil {
			err = fmt.Errorf("%w: version %d: %w", errRejected, u.Version, u.Err)
		}
		cancel()
	}); runErr != nil {
		return nil, runErr
	}
	if doc != nil {
		return doc, nil
	}
	if ctx.Err() != nil {
		return nil, errors.New("stopped before a document came")
	}
	if err == nil {
		s := source.Status()
		err = fmt.Errorf("no document from %s within %s: %s %s", source.Origin(), wait, s.State, s.Error)
	}
	doc, keptErr := lastGood(c.StateDir, source.Origin())
	return doc, errors.Join(err, keptErr)
}
