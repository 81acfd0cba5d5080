package job

import "testing"

func TestEventRoundTrip(t *testing.T) {
	for _, e := range []Event{{"boot", "", 0, 2500}, {"end", "cgfs", 2, 0}, {"note", "module bfq: no such file", 0, -1}} {
		for _, end := range []string{"", "\r\n"} {
			if got, ok := ParseEvent(e.String() + end); !ok || got != e {
				t.Errorf("%q: %+v %t", e, got, ok)
			}
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add("@@vm end 1 2 a b")
	f.Add("@@vm end x a")
	f.Add("--- FAIL")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := ParseEvent(line)
		if !ok {
			return
		}
		if again, ok := ParseEvent(e.String()); !ok || again != e {
			t.Errorf("%q: %+v, then %+v", line, e, again)
		}
	})
}
