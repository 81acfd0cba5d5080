package account

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// View is what is shown of a slot.
type View struct {
	Filter
	// Rate shows counters per second instead, see [Service.AppendSlot].
	Rate bool
}

// Query selects slots, both ends included, and what is shown of each. A reversed
// range selects none.
type Query struct {
	Start, End int64
	View
}

// ErrArguments: the arguments of show_account are not what they should be.
var ErrArguments = errors.New("bad arguments")

// defaultSlots is how many slots a query without a range shows.
const defaultSlots = 10

// ParseArgs reads the arguments of show_account, a JSON object or nothing.
// defaultEnd is the end_slot of a query that names none. Every error is an
// [ErrArguments]. Members that are not known are ignored, as they always were.
func ParseArgs(args json.RawMessage, defaultEnd int64) (Query, error) {
	members, err := arguments(args)
	if err != nil {
		return Query{}, err
	}
	q := Query{End: defaultEnd}
	if q.End, err = integer(members, "end_slot", defaultEnd); err != nil {
		return Query{}, err
	}
	n, err := integer(members, "nr_slot", defaultSlots)
	if err != nil {
		return Query{}, err
	}
	if q.Start, err = integer(members, "start_slot", startOf(q.End, n)); err != nil {
		return Query{}, err
	}
	if q.View, err = view(members); err != nil {
		return Query{}, err
	}
	return q, nil
}

// ParseView reads the arguments that choose what is shown of a slot, a JSON
// object or nothing: subsystem, cgroup and rate. Every error is an
// [ErrArguments]; other members are ignored.
func ParseView(args json.RawMessage) (View, error) {
	members, err := arguments(args)
	if err != nil {
		return View{}, err
	}
	return view(members)
}

func arguments(args json.RawMessage) (members map[string]json.RawMessage, err error) {
	if len(args) > 0 && json.Unmarshal(args, &members) != nil {
		return nil, fmt.Errorf("%w: args: not an object", ErrArguments)
	}
	return members, nil
}

func view(members map[string]json.RawMessage) (v View, err error) {
	if v.Subsystem, err = text(members, "subsystem"); err != nil {
		return View{}, err
	}
	if v.Cgroup, err = text(members, "cgroup"); err != nil {
		return View{}, err
	}
	if v.Alone, err = boolean(members, "alone"); err != nil {
		return View{}, err
	}
	if v.Rate, err = boolean(members, "rate"); err != nil {
		return View{}, err
	}
	return v, nil
}

// startOf is end-n+1 within the range of int64. n slots that reach below it
// start there, and fewer than one slot make a reversed range.
func startOf(end, n int64) int64 {
	switch {
	case n <= 0 && end == math.MaxInt64:
		return math.MaxInt64 // an empty range; no slot has this number
	case n <= 0:
		return end + 1
	case end < math.MinInt64+n:
		return math.MinInt64
	}
	return end - n + 1
}

// integer reads a whole number; 3.0 and 3e2 are whole too, as JSON knows one kind
// of number only. Beyond int64 it stands at the end of the range: no slot is
// there either.
func integer(members map[string]json.RawMessage, name string, otherwise int64) (int64, error) {
	raw, ok := members[name]
	if !ok {
		return otherwise, nil
	}
	s := string(raw)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'),
		err != nil && !errors.Is(err, strconv.ErrRange),
		f != math.Trunc(f):
		return 0, fmt.Errorf("%w: %s: not an integer: %.40s", ErrArguments, name, s)
	case f >= math.MaxInt64:
		return math.MaxInt64, nil
	case f <= math.MinInt64:
		return math.MinInt64, nil
	}
	return int64(f), nil
}

func text(members map[string]json.RawMessage, name string) (string, error) {
	raw, ok := members[name]
	if !ok {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("%w: %s: not a string: %.40s", ErrArguments, name, raw)
	}
	return *s, nil
}

func boolean(members map[string]json.RawMessage, name string) (bool, error) {
	switch raw := string(members[name]); raw {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, fmt.Errorf("%w: %s: not true or false: %.40s", ErrArguments, name, raw)
	}
}
