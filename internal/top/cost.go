package top

import (
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
		text := fit(clean(h.Host), 24) + fit(clean(h.State), 12) + fit(fmt.Sprintf("version %d", h.InForce), 14) + clean(h.Why)
		if h.HostFaults > 0 {
			text += fmt.Sprintf("  %d host faults, such as %s", h.HostFaults, clean(h.HostFault))
		}
		if h.State != "ok" {
			text = warn + text + plain
		}
		body = append(body, text)
	}
	return head, body
}

// costBody is what the daemon itself uses, by part.
func (m *Model) costBody() (head string, body []string) {
	elapsed := m.status.Now.Sub(m.lastStatus.Now).Seconds()
	head = fit("COST of this daemon, CPU", 30) + right("%", "s so far")
	for _, name := range slices.Sorted(maps.Keys(m.status.Cost)) {
		total, share := m.status.Cost[name], "-"
		if before, ok := m.lastStatus.Cost[name]; ok && elapsed > 0 && !m.lastStatus.Now.IsZero() {
			share = percentText((total - before) / elapsed)
		}
		label := strings.TrimSuffix(name, "_seconds")
		if label == "cpu" {
			label = "all"
		}
		body = append(body, fit(clean(label), 30)+right(share, fmt.Sprintf("%.2f", total)))
	}
	return head, append(body, "", fmt.Sprintf("missed seconds: %d   drift put back: %d   daemon %s", m.status.MissedSlots, m.status.Drift, clean(m.status.Daemon)))
}
