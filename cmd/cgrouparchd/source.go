package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/command"
	"github.com/cgrouparch/cgrouparch/internal/config"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// newSource is where the document comes from.
func newSource(c *config.Config, log *zap.Logger) zkconf.Source {
	if c.ConfFile != "" {
		return &zkconf.File{Path: c.ConfFile, Log: log.Named("conf_file")}
	}
	z := &zkconf.ZooKeeper{
		Hosts: c.ZKHost, Prefix: c.ZKPrefix, SessionTimeout: c.ZKSessionTimeout, Log: log.Named("zookeeper"),
	}
	for _, a := range c.ZKAuth {
		z.Auth = append(z.Auth, zkconf.AuthData{Scheme: a.Scheme, Auth: a.Data.Reveal()})
	}
	if len(c.GetZKHost) > 0 {
		get := command.Command{Argv: c.GetZKHost}
		z.GetHosts = func(ctx context.Context) (string, error) {
			out, err := get.Output(ctx)
			return strings.TrimSpace(string(out)), err
		}
	}
	return z
}

// lastGood is the document that an earlier run kept, nil when there is none.
func lastGood(stateDir string, o zkconf.Origin) (*zkconf.Document, error) {
	kept, err := zkconf.LoadLastGood(stateDir, o)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return zkconf.Decode([]byte(kept.Raw), kept.Version)
}

// warn prints what was changed in a document as the kernel would change it.
func (a *app) warn(doc *zkconf.Document) {
	for _, w := range warnings(doc) {
		fmt.Fprintln(a.stderr, "cgrouparchd: warning:", w)
	}
}

func warnings(doc *zkconf.Document) []string {
	var out []string
	doc.Walk(func(subsystem, path string, n *zkconf.Node) {
		for _, w := range n.Warnings {
			out = append(out, strings.TrimSuffix(subsystem+"/"+path, "/")+": "+w)
		}
	})
	return out
}

// document reads the document once for a command that only looks. When its
// source does not answer, the last good one serves, with a warning.
func (a *app) document(ctx context.Context, c *config.Config) (*zkconf.Document, zkconf.Source, error) {
	s := newSource(c, zap.NewNop())
	done := a.waiting("the document")
	u, err := s.Fetch(ctx)
	done()
	if err == nil {
		err = u.Err
	}
	if err == nil {
		a.warn(u.Doc)
		return u.Doc, s, nil
	}
	doc, keptErr := lastGood(c.StateDir, s.Origin())
	if keptErr != nil {
		err = errors.Join(err, keptErr)
	}
	if doc == nil {
		return nil, s, err
	}
	fmt.Fprintf(a.stderr, "cgrouparchd: warning: %v; using the last good document, version %d\n", err, doc.Version)
	a.warn(doc)
	return doc, s, nil
}
