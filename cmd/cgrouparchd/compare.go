package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/cgrouparch/cgrouparch/internal/confdiff"
	"github.com/cgrouparch/cgrouparch/internal/reconcile"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// maxLines bounds each list of one answer of compare.
const maxLines = 1000

// comparison answers compare: what becomes different when one document follows
// another, and what this host could not honour of the newer one.
type comparison struct {
	From int32  `json:"from"`
	To   *int32 `json:"to"` // null: the text that was sent
	// Valid says that conf set would take it. Faults are why it would not; an unknown
	// setting is one, which a daemon puts up with.
	Valid        bool             `json:"valid"`
	Faults       []zkconf.Located `json:"faults"`
	Warnings     []string         `json:"warnings"` // values changed as the kernel would
	MoreWarnings int              `json:"more_warnings"`
	// Summary is in a line how much is different, or what is wrong.
	Summary string `json:"summary"`
	// Destroys says whether cgroups are removed, or may be.
	Destroys    bool            `json:"destroys"`
	Changes     []confdiff.Line `json:"changes"`
	MoreChanges int             `json:"more_changes"`
	// HostFaults and HostNotes are null when that is not known: the document cannot be
	// read, or no full pass has been made yet.
	HostFaults     []hostFault `json:"host_faults"`
	MoreHostFaults int         `json:"more_host_faults"`
	HostNotes      []hostFault `json:"host_notes"`
	MoreHostNotes  int         `json:"more_host_notes"`
}

// hostFault is one, and whether the older document does not have it.
type hostFault struct {
	reconcile.Fault
	New bool `json:"new"`
}

// compareArgs are the arguments of compare.
type compareArgs struct {
	From     *int32  `json:"from"`
	To       *int32  `json:"to"`
	Document *string `json:"document"`
	Verbose  bool    `json:"verbose"`
}

func parseCompare(raw json.RawMessage) (compareArgs, error) {
	var args compareArgs
	if err := arguments("compare", raw, &args); err != nil {
		return args, err
	}
	if args.To != nil && args.Document != nil {
		return args, badRequest("compare: either to or document")
	}
	return args, nil
}

// compare answers compare.
func (d *daemon) compare(ctx context.Context, raw json.RawMessage, w io.Writer) error {
	args, err := parseCompare(raw)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	from, err := d.chronicle.version(ctx, args.From)
	if err != nil {
		return err
	}
	var to stored
	if args.Document != nil {
		to = stored{raw: []byte(*args.Document), sum: zkconf.Sum([]byte(*args.Document))}
	} else if to, err = d.chronicle.version(ctx, args.To); err != nil {
		return err
	}
	snap := d.snapshot.Load()
	q := compareKey{from: from.version, to: to.version, fromSum: from.sum, toSum: to.sum, sent: args.Document != nil, verbose: args.Verbose}
	if snap != nil {
		q.passes = snap.Passes
	}
	text, err := d.compared.answer(ctx, q, func() (any, error) { return compareStored(from, to, q, snap) })
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// compareStored compares two documents; of snap, what this host would make of them, unless it is nil.
func compareStored(from, to stored, q compareKey, snap *reconcile.Snapshot) (out comparison, err error) {
	if err := cmp.Or(from.unpack("compare"), to.unpack("compare")); err != nil {
		return out, err
	}
	older, err := from.document()
	if err != nil {
		return out, badRequest("compare: version %d is not valid, so there is nothing to compare with: %v", from.version, zkconf.Faults(err)[0])
	}
	out.From = from.version
	if !q.sent {
		out.To = &to.version
	}
	newer := out.read(to)
	if newer == nil {
		return out, nil
	}
	out.differ(confdiff.Compare(older, newer), bytes.Equal(from.raw, to.raw), q.verbose)
	if snap != nil {
		host := snap.Compile(older, newer)
		out.host(host[0], host[1])
	}
	return out, nil
}

// version is one that is asked for; nil is the one in force.
func (k *chronicle) version(ctx context.Context, version *int32) (stored, error) {
	if version == nil || *version < 0 {
		return k.inForce(), nil
	}
	return k.find(ctx, "compare", *version)
}

// document is what a version says; before the first one, nothing.
func (s stored) document() (*zkconf.Document, error) {
	if s.version < 0 {
		return &zkconf.Document{}, nil
	}
	return s.decode()
}

// read checks the newer document, and returns it unless it cannot be read.
func (c *comparison) read(to stored) *zkconf.Document {
	c.Faults, c.Warnings, c.Changes = []zkconf.Located{}, []string{}, []confdiff.Line{}
	c.Valid = true
	if c.To != nil && to.version < 0 {
		return &zkconf.Document{}
	}
	c.Faults = orEmpty(zkconf.Locate(to.raw, zkconf.Check(to.raw)))
	if n := len(c.Faults); n > 0 {
		c.Valid, c.Summary = false, counted(n, "fault")
	}
	doc, err := to.decode()
	if err != nil {
		return nil
	}
	c.Warnings, c.MoreWarnings = bounded(orEmpty(warnings(doc)))
	return doc
}

// differ fills in what becomes different. same: byte for byte the same text.
func (c *comparison) differ(d *confdiff.Diff, same, verbose bool) {
	text := d.Counts()
	switch {
	case same:
		text = "no difference"
	case d.Empty():
		text = "no difference but in spelling"
	}
	if !c.Valid {
		text = c.Summary + "; " + text
	}
	c.Summary, c.Destroys = text, d.Destroys()
	c.Changes, c.MoreChanges = bounded(orEmpty(d.Lines(verbose)))
}

// host fills in what the host cannot honour, or what has no effect on it, of the
// newer document.
func (c *comparison) host(older, newer reconcile.Desired) {
	c.HostFaults, c.MoreHostFaults = bounded(marked(older.Faults, newer.Faults))
	c.HostNotes, c.MoreHostNotes = bounded(marked(older.Notes, newer.Notes))
}

// bounded is what is sent of a list, and how many more there are.
func bounded[T any](list []T) (sent []T, more int) {
	n := min(len(list), maxLines)
	return slices.Clip(list[:n]), len(list) - n
}

// marked says which faults are new, and puts those first.
func marked(older, newer []reconcile.Fault) []hostFault {
	known := map[reconcile.Fault]bool{}
	for _, f := range older {
		known[f] = true
	}
	out := []hostFault{}
	for _, f := range newer {
		out = append(out, hostFault{f, !known[f]})
	}
	slices.SortStableFunc(out, func(a, b hostFault) int {
		switch {
		case a.New == b.New:
			return 0
		case a.New:
			return -1
		}
		return 1
	})
	return out
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
