// Command demo prints usage as the demonstration shows it: it reads what `cgrouparchd show-account` prints and writes one line with
// what each configured cgroup used between the two newest slots.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errTooFew says that there is no rate yet: that takes two consecutive slots.
var errTooFew = errors.New("fewer than two consecutive slots yet")

// exitTooFew tells the script to ask again later.
const exitTooFew = 3

func main() {
	line, err := report(os.Stdin)
	switch {
	case errors.Is(err, errTooFew):
		os.Exit(exitTooFew)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Println(line)
}

// cgroup is one cgroup of a slot, or a subsystem's root. The members of Value are numbers, or for blkio an object per device.
type cgroup struct {
	Value map[string]json.RawMessage `json:"value"`
	Sub   map[string]cgroup          `json:"sub_cgroup"`
}

// report turns the object of slots into one line of rates.
func report(r io.Reader) (string, error) {
	var slots map[string]map[string]cgroup
	if err := json.NewDecoder(r).Decode(&slots); err != nil {
		return "", fmt.Errorf("read slots: %w", err)
	}
	names := slices.Sorted(maps.Keys(slots))
	if len(names) < 2 {
		return "", errTooFew
	}
	newest, err := strconv.ParseInt(names[len(names)-1], 10, 64)
	if err != nil {
		return "", fmt.Errorf("slot %q: %w", names[len(names)-1], err)
	}
	now, before := slots[names[len(names)-1]], slots[strconv.FormatInt(newest-1, 10)]
	if before == nil {
		return "", errTooFew
	}
	line := []string{time.Unix(newest, 0).Format(time.TimeOnly)}
	for _, subsystem := range slices.Sorted(maps.Keys(now)) {
		line = append(line, rates(subsystem, "", now[subsystem], before[subsystem])...)
	}
	return strings.Join(line, "   "), nil
}

// rates describes the cgroups below one, each with what it used in one second.
func rates(subsystem, path string, now, before cgroup) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(now.Sub)) {
		child, earlier := now.Sub[name], before.Sub[name]
		if text := rate(child.Value, earlier.Value); text != "" {
			list = append(list, fmt.Sprintf("%s:%s%s %s", subsystem, path, name, text))
		}
		list = append(list, rates(subsystem, path+name+"/", child, earlier)...)
	}
	return list
}

// rate tells one second's use: of CPU time, which is counted in nanoseconds, or of the disks, in bytes.
func rate(now, before map[string]json.RawMessage) string {
	if before == nil {
		return ""
	}
	if usage, ok := now["usage"]; ok {
		return fmt.Sprintf("%5.1f %%", (number(usage)-number(before["usage"]))/1e7)
	}
	var written float64
	for device, counters := range now {
		written += member(counters, "Write") - member(before[device], "Write")
	}
	return fmt.Sprintf("%5.1f MiB/s", written/(1<<20))
}

func number(text json.RawMessage) float64 {
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return 0 // absent: the cgroup could not be read in that second
	}
	return n
}

func member(object json.RawMessage, name string) float64 {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return 0
	}
	return number(members[name])
}
