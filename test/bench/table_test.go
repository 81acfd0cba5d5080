package bench

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"
)

// result is one line of the table.
type result struct {
	measure string
	unit    string  // of floor and ours: "µs", "MB", "" for a count
	against string  // what the floor is
	floor   float64 // 0: there is none, and ours is judged itself
	ours    float64
	goal    float64
	no      bool // there is no goal
	atLeast bool // the ratio should be no less than the goal, rather than no more
	note    string
	skipped string // why it was not measured; then nothing else counts
}

// ratio is what is judged: ours to the floor, or ours where there is no floor.
func (r result) ratio() float64 {
	if r.against == "" {
		return r.ours
	}
	return r.ours / r.floor
}

// problem says what is wrong with a result whatever the machine: "" for a result that makes sense.
func (r result) problem() string {
	switch {
	case r.skipped != "":
		return ""
	case r.measure == "":
		return "no name"
	case math.IsNaN(r.ratio()) || math.IsInf(r.ratio(), 0):
		return fmt.Sprintf("ratio %v of %v to %v", r.ratio(), r.ours, r.floor)
	case r.against != "" && (r.floor <= 0 || r.ours <= 0):
		return fmt.Sprintf("%v to %v", r.ours, r.floor)
	}
	return ""
}

func (r result) verdict() string {
	switch {
	case r.no:
		return ""
	case r.atLeast && r.ratio() >= r.goal, !r.atLeast && r.ratio() <= r.goal:
		return "met"
	}
	return "MISSED"
}

func (r result) wanted() string {
	switch {
	case r.no:
		return "-"
	case r.atLeast:
		return "≥ " + number(r.goal)
	case r.against == "" && r.goal == 0:
		return "0"
	}
	return "≤ " + number(r.goal)
}

const lineFormat = "%-62s %12s %12s %7s  %-7s %-7s %s\n"

func (b *bench) head() {
	fmt.Printf("%s, %d CPUs, %s %s, %s, %s\n\n", b.machine(), runtime.NumCPU(), runtime.GOOS, kernelRelease(), b.commit(), time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Printf(lineFormat, "measure", "floor", "ours", "ratio", "goal", "", "floor is; note")
}

func (b *bench) foot() {
	met, missed := 0, 0
	for _, r := range b.results {
		switch {
		case r.skipped != "":
		case r.verdict() == "met":
			met++
		case r.verdict() == "MISSED":
			missed++
		}
	}
	fmt.Printf("\n%d goals met, %d missed\n", met, missed)
}

func (r result) print() {
	if r.skipped != "" {
		fmt.Printf("%-62s not measured: %s\n", r.measure, r.skipped)
		return
	}
	floor, ratio := "-", "-"
	if r.against != "" {
		floor, ratio = number(r.floor)+" "+r.unit, fmt.Sprintf("%.2f", r.ratio())
	}
	fmt.Printf(lineFormat, r.measure, floor, number(r.ours)+" "+r.unit, ratio, r.wanted(), r.verdict(), strings.Trim(r.against+"; "+r.note, "; "))
}

// number prints three significant digits.
func number(x float64) string {
	switch a := math.Abs(x); {
	case x == math.Trunc(x) && a < 1e6, a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// quantile of values that are in any order; 0.5 is the median.
func quantile[T cmp.Ordered](values []T, q float64) T {
	var zero T
	if len(values) == 0 {
		return zero
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median[T cmp.Ordered](values []T) T { return quantile(values, 0.5) }

// µs is a time in microseconds, as the table shows it.
func µs(d time.Duration) float64 { return float64(d) / 1e3 }
