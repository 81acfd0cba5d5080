package account

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArgs(t *testing.T) {
	const now = 1700000000
	for _, tc := range []struct {
		args string
		want Query
	}{
		{``, Query{Start: now - 9, End: now}},
		{`null`, Query{Start: now - 9, End: now}},
		{`{}`, Query{Start: now - 9, End: now}},
		{`{"nr_slot":2}`, Query{Start: now - 1, End: now}},
		{`{"nr_slot":2.0}`, Query{Start: now - 1, End: now}},
		{`{"nr_slot":3e2}`, Query{Start: now - 299, End: now}},
		{`{"nr_slot":0}`, Query{Start: now + 1, End: now}},
		{`{"nr_slot":-5}`, Query{Start: now + 1, End: now}},
		{`{"nr_slot":1e12}`, Query{Start: now - 999999999999, End: now}},
		{`{"nr_slot":1e30}`, Query{Start: now - math.MaxInt64 + 1, End: now}},
		{`{"nr_slot":1e400}`, Query{Start: now - math.MaxInt64 + 1, End: now}},
		{`{"end_slot":100}`, Query{Start: 91, End: 100}},
		{`{"end_slot":100,"nr_slot":1}`, Query{Start: 100, End: 100}},
		{`{"start_slot":5,"nr_slot":1}`, Query{Start: 5, End: now}},
		{`{"start_slot":0,"end_slot":1000000000000}`, Query{Start: 0, End: 1000000000000}},
		{`{"start_slot":7,"end_slot":3}`, Query{Start: 7, End: 3}},
		{`{"end_slot":-9223372036854775808,"nr_slot":10}`, Query{Start: math.MinInt64, End: math.MinInt64}},
		{`{"end_slot":9223372036854775807,"nr_slot":0}`, Query{Start: math.MaxInt64, End: math.MaxInt64}},
		{`{"end_slot":-1e999}`, Query{Start: math.MinInt64, End: math.MinInt64}},
		{`{"subsystem":"cpu","cgroup":"/a/b"}`, Query{Start: now - 9, End: now, View: View{Filter: Filter{Subsystem: "cpu", Cgroup: "/a/b"}}}},
		{`{"nosuch":[1]}`, Query{Start: now - 9, End: now}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			got, err := ParseArgs(json.RawMessage(tc.args), now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseArgsRefuses(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{`[]`, `bad arguments: args: not an object`},
		{`"x"`, `bad arguments: args: not an object`},
		{`{"nr_slot":"2"}`, `bad arguments: nr_slot: not an integer: "2"`},
		{`{"nr_slot":null}`, `bad arguments: nr_slot: not an integer: null`},
		{`{"nr_slot":true}`, `bad arguments: nr_slot: not an integer: true`},
		{`{"nr_slot":1.5}`, `bad arguments: nr_slot: not an integer: 1.5`},
		{`{"start_slot":[]}`, `bad arguments: start_slot: not an integer: []`},
		{`{"end_slot":{}}`, `bad arguments: end_slot: not an integer: {}`},
		{`{"subsystem":1}`, `bad arguments: subsystem: not a string: 1`},
		{`{"cgroup":null}`, `bad arguments: cgroup: not a string: null`},
	} {
		t.Run(tc.args, func(t *testing.T) {
			_, err := ParseArgs(json.RawMessage(tc.args), 0)
			if !errors.Is(err, ErrArguments) || err.Error() != tc.want {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func FuzzParseArgs(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"nr_slot":2}`, `{"start_slot":0,"end_slot":1e12}`, `{"end_slot":-1e999,"nr_slot":0}`, `{"cgroup":"a"}`, `[`} {
		f.Add([]byte(s), int64(1700000000))
	}
	f.Fuzz(func(t *testing.T, args []byte, end int64) {
		q, err := ParseArgs(args, end)
		switch {
		case err != nil && (!errors.Is(err, ErrArguments) || q != Query{}):
			t.Errorf("ParseArgs(%q): %+v, %v", args, q, err)
		case err == nil && len(args) > 0 && !json.Valid(args):
			t.Errorf("ParseArgs(%q): took what is not JSON", args)
		}
	})
}
