package zkconf

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// TestRecentHistory: the daemon reads a history through the session that follows the document, and no more of it than
// it is to hold, whoever has filled it.
func TestRecentHistory(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	z := &ZooKeeper{Hosts: server.Addr(), Prefix: "/p", SessionTimeout: 2 * time.Second}
	if _, err := z.RecentHistory(t.Context()); err == nil {
		t.Error("a history without a session")
	}
	for i := range 4 {
		cur, err := z.Read(t.Context())
		if err == nil {
			_, err = z.Write(t.Context(), Write{Over: cur, Raw: fmt.Appendf(nil, `{"cpu":{"sub_cgroup":{"v%d":{}}}}`, i), Keep: 10})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, seen := make(chan error, 1), make(chan Update, 1)
	go func() { ended <- z.Run(ctx, func(u Update) { seen <- u }) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-seen
	list, err := z.RecentHistory(t.Context())
	if err != nil || len(list) != 4 || list[0].Version != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	c, _ := z.following()
	size := len(newEntry([]byte(`{"cpu":{"sub_cgroup":{"v3":{}}}}`), list[0]))
	for _, tt := range []struct{ most, bytes, want int }{{2, 1 << 20, 2}, {9, 2*size + size/2, 2}, {9, 1 << 20, 4}, {9, 0, 1}} {
		list, err := c.entries(t.Context(), tt.most, tt.bytes)
		if err != nil || len(list) != tt.want || list[0].Version != 3 { // the document in the node itself is always known
			t.Errorf("%+v: %d entries, %v", tt, len(list), err)
		}
	}
}
