package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestWithKnown(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 22, 3, minute, 0, 0, time.UTC) }
	doc := func(version int32, minute int) held {
		d := &zkconf.Document{Version: version, Raw: fmt.Appendf(nil, "text %d", version)}
		return held{d, at(minute), sumOf(d)}
	}
	entry := func(version int32, minute int) versionEntry {
		raw := fmt.Appendf(nil, "text %d", version)
		return versionEntry{Version: version, Time: at(minute), Author: "ann", Size: len(raw), Sum: zkconf.Sum(raw)}
	}
	text := func(list []versionEntry) (out []string) {
		for _, v := range list {
			s := fmt.Sprintf("%d %q", v.Version, v.Author)
			if v.InForceSince != nil {
				s += v.InForceSince.Format(" since 15:04")
			}
			out = append(out, s)
		}
		return out
	}
	other := entry(9, 9) // the node was made anew: the same version of another text
	other.Sum = "other"
	for _, c := range []struct {
		name  string
		list  []versionEntry
		known []held
		want  []string
	}{
		{"nothing", nil, nil, nil},
		{"a file", nil, []held{doc(2, 7), doc(1, 3)}, []string{`2 "" since 03:07`, `1 "" since 03:03`}},
		{"history only", []versionEntry{entry(2, 5), entry(1, 4)}, nil, []string{`2 "ann"`, `1 "ann"`}},
		{"both", []versionEntry{entry(2, 5), entry(1, 4)}, []held{doc(2, 6)}, []string{`2 "ann" since 03:06`, `1 "ann"`}},
		{"one by other means between", []versionEntry{entry(4, 9), entry(1, 4)}, []held{doc(4, 9), doc(3, 8), doc(1, 4)},
			[]string{`4 "ann" since 03:09`, `3 "" since 03:08`, `1 "ann" since 03:04`}},
		{"in force again", []versionEntry{entry(1, 4)}, []held{doc(1, 8), doc(2, 6), doc(1, 4)},
			[]string{`1 "ann" since 03:08`, `2 "" since 03:06`, `1 "" since 03:04`}},
		{"made anew", []versionEntry{other}, []held{doc(9, 3)}, []string{`9 "" since 03:03`, `9 "ann"`}},
	} {
		if diff := cmp.Diff(c.want, text(withKnown(c.list, c.known))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestChronicleReadsSeldom: the history is read when somebody asks, at most every few
// seconds, and at once when another document is in force; a failure leaves what is known.
func TestChronicleReadsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newControl(zap.NewNop(), t.TempDir(), nil, func(*zkconf.Document) {})
		reads, fails := 0, error(nil)
		k := newChronicle(c, nil)
		k.recent = func(context.Context) ([]zkconf.Entry, error) {
			reads++
			return []zkconf.Entry{{Version: int32(reads), Sum: fmt.Sprint(reads)}}, fails
		}
		ask := func() historyReply {
			t.Helper()
			v, err := k.getHistory(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return v.(historyReply)
		}
		want := func(n int) {
			t.Helper()
			if reads != n {
				t.Errorf("read %d times, want %d", reads, n)
			}
		}
		if got := ask(); got.Source != zkconf.KindZooKeeper || got.InForce != -1 || len(got.Versions) != 1 {
			t.Errorf("%+v", got)
		}
		ask()
		want(1)
		time.Sleep(chroniclePause)
		ask()
		want(2)
		doc, err := zkconf.Decode([]byte(`{}`), 7)
		if err != nil {
			t.Fatal(err)
		}
		c.accept(doc, fromSource)
		if got := ask(); got.InForce != 7 {
			t.Errorf("%+v", got)
		}
		want(3)
		time.Sleep(chroniclePause)
		fails = errors.New("no session")
		for range 3 {
			if got := ask(); got.Problem != "no session" || len(got.Versions) != 2 || got.Versions[1].Version != 3 {
				t.Errorf("%+v", got)
			}
		}
		want(4)
		if _, err := k.find(t.Context(), "compare", 5); err == nil || !strings.Contains(err.Error(), "cannot be read: no session") {
			t.Errorf("not kept: %v", err)
		}
		time.Sleep(chroniclePause)
		fails = nil
		if got := ask(); got.Problem != "" {
			t.Errorf("%+v", got)
		}
		want(5)
	})
}

// TestChronicleHangs: while ZooKeeper hangs, one question in a while waits for it, not for long; what is known is answered
// at once, and nobody is turned away.
func TestChronicleHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newChronicle(newControl(zap.NewNop(), t.TempDir(), nil, func(*zkconf.Document) {}), nil)
		reads, hangs := 0, false
		k.recent = func(ctx context.Context) ([]zkconf.Entry, error) {
			reads++
			if hangs {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []zkconf.Entry{{Version: 5, Sum: "5"}}, nil
		}
		ask := func(ctx context.Context, longest time.Duration, problem bool) {
			t.Helper()
			start := time.Now()
			v, err := k.getHistory(ctx, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if got := v.(historyReply); len(got.Versions) != 1 || (got.Problem != "") != problem || time.Since(start) > longest {
				t.Errorf("after %v: %+v", time.Since(start), got)
			}
		}
		find := func(version int32, found bool) {
			t.Helper()
			start := time.Now()
			if s, err := k.find(t.Context(), "get_conf", version); (err == nil) != found || err == nil && s.sum != "5" || time.Since(start) > 0 {
				t.Errorf("version %d: %+v, %v, after %v", version, s, err, time.Since(start))
			}
		}
		want := func(n int) {
			t.Helper()
			if reads != n {
				t.Errorf("read %d times, want %d", reads, n)
			}
		}
		ask(t.Context(), 0, false)
		time.Sleep(chroniclePause)
		hangs = true
		find(5, true) // is in the list: there is nothing to read
		want(1)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond) // a client that goes away
		defer cancel()
		go ask(short, chronicleTimeout, true)
		synctest.Wait()
		ask(t.Context(), chronicleTimeout, true) // waits for the other one, and not longer
		for range 3 {
			ask(t.Context(), 0, true)
			find(5, true)
			find(6, false)
		}
		want(2)
		time.Sleep(chroniclePause)
		go ask(t.Context(), chronicleTimeout, true)
		synctest.Wait()
		ask(t.Context(), 0, true) // not again for each
		find(6, false)
		synctest.Wait()
		want(3)
		time.Sleep(chroniclePause + chronicleTimeout)
		hangs = false
		ask(t.Context(), 0, false)
		want(4)
		// Who goes away says nothing about ZooKeeper.
		time.Sleep(chroniclePause)
		k.recent = func(ctx context.Context) ([]zkconf.Entry, error) {
			time.Sleep(chronicleTimeout / 2)
			return []zkconf.Entry{{Version: 5, Sum: "5"}}, ctx.Err()
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		ask(gone, chronicleTimeout/2, false)
	})
}

// TestHeldSum: the sum of a document is made once, and is the new one's when the text is another.
func TestHeldSum(t *testing.T) {
	c := newControl(zap.NewNop(), t.TempDir(), nil, func(*zkconf.Document) {})
	sums := func() (out []string) {
		for _, h := range c.known() {
			out = append(out, h.sum())
		}
		return out
	}
	a, b := []byte(`{"cpu":{}}`), []byte(`{"memory":{}}`)
	var want []string
	for version, raw := range [][]byte{a, a, b} {
		doc, err := zkconf.Decode(append([]byte(nil), raw...), int32(version))
		if err != nil {
			t.Fatal(err)
		}
		c.accept(doc, fromSource)
		want = append([]string{zkconf.Sum(raw)}, want...)
		if diff := cmp.Diff(want, sums()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		doc.Raw[0] = ' ' // would have another sum
		if diff := cmp.Diff(want, sums()); diff != "" {
			t.Errorf("made again (-want +got):\n%s", diff)
		}
		doc.Raw[0] = '{'
	}
}
