package top

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// hostBody is the table of hosts; those that lag behind come first.
func (m *Model) hostBody() (head string, body []string) {
	a := m.status.Agents
	if a == nil {
		return "HOSTS", []string{"not known: without ZooKeeper there is no cluster"}
	}
	head = fmt.Sprintf("HOSTS: version %d is in force on %d of %d", a.Version, a.There, a.Known)
	if a.Error != "" {
		body = append(body, warn+clean(a.Error)+plain)
	}
	for _, h := range a.Hosts {
		in := "none"
		if h.InForce >= 0 {
			in = fmt.Sprintf("version %d", h.InForce)
		}
		why := clean(h.Why)
		if h.HostFaults > 0 {
			why = strings.TrimPrefix(why+"; ", "; ") + plural(h.HostFaults, "host fault") + ", such as " + clean(h.HostFault)
		}
		for _, line := range wrap(fit(clean(h.Host), 20)+" "+fit(clean(h.State), 11)+fit(in, 13), why, m.size.Width) {
			if h.State != "ok" {
				line = warn + line + plain
			}
			body = append(body, line)
		}
	}
	return head, body
}

// costBody is what the daemon itself uses, by part, the largest first.
func (m *Model) costBody() (head string, body []string) {
	elapsed := m.status.Now.Sub(m.lastStatus.Now).Seconds()
	head = fit("COST of this daemon, CPU", 30) + right("%", "s so far")
	parts := map[string]float64{}
	for name, value := range m.status.Cost {
		if part, ok := strings.CutSuffix(name, "_seconds"); ok {
			if total, ok := value.(float64); ok {
				parts[part] = total
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(parts), func(a, b string) int { return cmp.Or(cmp.Compare(parts[b], parts[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		share := "-"
		before, known := m.lastStatus.Cost[name+"_seconds"].(float64)
		if known && elapsed > 0 && parts[name] >= before && !m.lastStatus.Now.IsZero() { // less: the daemon was restarted
			share = fmt.Sprintf("%.2f", 100*(parts[name]-before)/elapsed)
		}
		label := "  " + name
		if name == "cpu" {
			label = "all, of one core"
		}
		body = append(body, fit(clean(label), 30)+right(share, fmt.Sprintf("%.2f", parts[name])))
	}
	return head, append(body, "", fmt.Sprintf("missed seconds: %d   drift put back: %d   daemon %s", m.status.MissedSlots, m.status.Drift, clean(m.status.Daemon)))
}
