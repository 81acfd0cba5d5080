package top

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// insideView are the processes in a cgroup.
type insideView struct {
	list    processList
	known   bool           // there was an answer
	chosen  int            // the process of the cursor
	earlier map[int]uint64 // CPU time of processes at the poll before
	asked   time.Time      // when processes were asked for, and the time before
	before  time.Time
}

// openInside shows the processes in the cgroup under the cursor.
func (m *Model) openInside() []Request {
	if lines := m.lines(); len(lines) > 0 {
		m.cursor = lines[selected(lines, m.cursor)].Path // what is marked, where the filter hides the chosen one
	}
	m.inside = insideView{}
	m.show(processScreen)
	return []Request{m.askProcesses()}
}

func (m *Model) askProcesses() Request {
	return Request{Cmd: "get_processes", Args: map[string]any{"cgroup": m.cursor}}
}

// setProcesses takes an answer in, the busiest first.
func (m *Model) setProcesses(data []byte) error {
	var p processList
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	if p.Cgroup != m.cursor {
		return nil // of the cgroup that was looked at before
	}
	v := &m.inside
	earlier := make(map[int]uint64, len(v.list.Processes))
	for _, q := range v.list.Processes {
		earlier[q.PID] = q.CPU
	}
	v.earlier, v.list, v.known = earlier, p, true
	v.before, v.asked = v.asked, m.now
	slices.SortStableFunc(v.list.Processes, func(a, b processRow) int { return cmp.Compare(v.recent(b), v.recent(a)) })
	return nil
}

// recent is the share of a core, since the poll before, that a process has used;
// negative when it is not known yet.
func (v *insideView) recent(p processRow) float64 {
	before, known := v.earlier[p.PID]
	elapsed := v.asked.Sub(v.before)
	if !known || elapsed <= 0 || p.CPU < before {
		return -1
	}
	return float64(p.CPU-before) / float64(elapsed)
}

// row is the place of the chosen process, else the first.
func (v *insideView) row() int {
	return max(0, slices.IndexFunc(v.list.Processes, func(p processRow) bool { return p.PID == v.chosen }))
}

func (v *insideView) move(n int) {
	if list := v.list.Processes; len(list) > 0 {
		v.chosen = list[min(max(v.row()+n, 0), len(list)-1)].PID
	}
}

func (m *Model) processBody() (head string, body []string) {
	v := &m.inside
	name := max(m.size.Width-7*numberWidth, 10)
	head = fit("PROCESSES in /"+clean(m.cursor), name) + right("PID", "CPU%", "CPU TIME", "MEMORY", "THREADS", "STATE", "AGE")
	if m.paused {
		body = append(body, warn+"processes are those of now, not of the second shown before"+plain)
	}
	if v.list.More > 0 {
		body = append(body, fmt.Sprintf("%d more that have used less", v.list.More))
	}
	switch {
	case !v.known:
		return head, append(body, "waiting ...")
	case len(v.list.Processes) == 0:
		return head, append(body, "none")
	}
	at, room := v.row(), max(m.height()-len(body), 1)
	first := window(at, room, len(v.list.Processes))
	for i := first; i < min(first+room, len(v.list.Processes)); i++ {
		text := m.processLine(v.list.Processes[i], name)
		if i == at {
			text = reverse + text + plain
		}
		body = append(body, text)
	}
	return head, body
}

func (m *Model) processLine(p processRow, width int) string {
	share := "-"
	if r := m.inside.recent(p); r >= 0 {
		share = percentText(r)
	}
	text := p.Name
	if p.Cgroup != m.cursor {
		text += "  (/" + p.Cgroup + ")"
	}
	return fit(clean(text), width) + right(
		strconv.Itoa(p.PID), share, age(time.Duration(p.CPU)), bytesText(float64(p.RSS)), strconv.Itoa(p.Threads), clean(p.State), age(m.now.Sub(p.Started)))
}

// age is a duration in at most eight characters.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
