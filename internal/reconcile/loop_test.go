package reconcile

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// TestBeat: the reconciler shows that it lives every interval, also without a
// document, and with each step of a long pass.
func TestBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		r := &Reconciler{opt: Config{Interval: 10 * time.Second, Beat: func() { beats++ }}, log: zap.NewNop(), inbox: newInbox(), fights: fights{}}
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if beats != 4 {
			t.Errorf("%d beats in 35 s, want one at the start and one each 10 s", beats)
		}
		r.did(Step{Op: OpMkdir, Tree: &Tree{Hierarchy: "cpu"}, Dir: "a"})
		if beats != 5 {
			t.Errorf("%d beats after a step, want 5", beats)
		}
	})
}
