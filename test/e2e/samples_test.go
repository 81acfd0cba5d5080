package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSamples: a sample every tenth of a second; the one at the start of a second is what the slot says, and the command
// shows what the websocket does.
func TestSamples(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.set("sample_interval", "100ms")
	h.document(`{"cpu": {"sub_cgroup": {"a": {"conf": {"share": 100}, "sub_cgroup": {"b": {"conf": {}}}}}}, "blkio": {"sub_cgroup": {"a": {"conf": {}}}}}`)
	d := h.startReady()
	var names []string
	eventually(t, "two whole seconds of samples", func() error {
		var samples map[string]json.RawMessage
		text := d.ask(`{"cmd":"show_samples","args":{"nr_slot":60}}`)
		must(t, json.Unmarshal([]byte(text), &samples))
		names = nil
		starts := 0
		for name := range samples {
			names = append(names, name)
			if strings.HasSuffix(name, ".000") {
				starts++
			}
		}
		if starts < 3 {
			return fmt.Errorf("%d samples", len(samples))
		}
		slices.Sort(names)
		return nil
	})
	compared := 0
	for _, name := range names {
		second, part, _ := strings.Cut(name, ".")
		if len(part) != 3 || !strings.HasSuffix(part, "00") {
			t.Errorf("sample %q is not of a tenth", name)
		}
		if part != "000" {
			continue
		}
		args := fmt.Sprintf(`"args":{"start_slot":%s,"end_slot":%s}}`, second, second)
		var slots, samples map[string]json.RawMessage
		must(t, json.Unmarshal([]byte(d.ask(`{"cmd":"show_account",`+args)), &slots))
		must(t, json.Unmarshal([]byte(d.ask(`{"cmd":"show_samples",`+args)), &samples))
		// Where the slot came later than a tenth its sample has another name.
		if slot := slots[second]; slot != nil && samples[name] != nil {
			compared++
			if string(slot) != string(samples[name]) {
				t.Errorf("sample %s is %s, but the slot %s", name, samples[name], slot)
			}
		}
	}
	if compared == 0 {
		t.Errorf("no sample at the start of a second among %q", names)
	}
	shown := h.exec("show-account", "--address", d.addr, "--samples", "--start-slot", names[0][:10], "--end-slot", names[0][:10]).wantExit(t, 0)
	if !strings.HasPrefix(shown.stdout, `{"`+names[0]+`":`) {
		t.Errorf("show-account --samples: %.200s, want the first sample %s", shown.stdout, names[0])
	}
}

// TestNoSamples: without a sample_interval there are only slots, and the answer says so.
func TestNoSamples(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.document(`{"cpu": {"sub_cgroup": {}}}`)
	d := h.startReady()
	if got := d.ask(`{"cmd":"show_samples"}`); !strings.Contains(got, `"code":"bad_request"`) || !strings.Contains(got, "sample_interval") {
		t.Errorf("reply %s", got)
	}
	h.exec("show-account", "--address", d.addr, "--samples").wantExit(t, 1)
}
