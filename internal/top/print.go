package top

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Print writes frames as a table for people, a line for each cgroup and second,
// times in a zone. With head it begins with the names of the columns.
func Print(w io.Writer, frames []Frame, zone *time.Location, head bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if head {
		_, _ = fmt.Fprint(t, "TIME\tCPU%\tREAD/s\tWRITE/s\tMEMORY\tTASKS\t  CGROUP\n")
	}
	for _, f := range frames {
		when := time.Unix(f.Slot, 0).In(zone).Format(time.TimeOnly)
		for i := range f.Rows {
			r := &f.Rows[i]
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t  /%s\n", when,
				percentText(r.CPU), bytesText(r.Read), bytesText(r.Write), bytesText(r.Memory), countText(r.Pids), clean(r.Path))
		}
	}
	return t.Flush()
}

// Sort puts the rows in the order in which the view shows them.
func (f *Frame) Sort(by Column) {
	slices.SortStableFunc(f.Rows, func(a, b Row) int { return compareRows(&a, &b, by, false) })
}
