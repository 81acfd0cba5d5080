package zkconf_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

// wide is a valid document of n cgroups, padded with blanks to size bytes where
// that is more. The edit tells versions apart.
func wide(n, size, edit int) string {
	var b strings.Builder
	b.WriteString(`{"cpu":{"sub_cgroup":{`)
	for i := range n {
		fmt.Fprintf(&b, `%s"cgroup_%05d":{"conf":{"share":%d}}`, strings.Repeat(",", min(i, 1)), i, 1000+(i+edit)%100)
	}
	b.WriteString("}}}")
	b.WriteString(strings.Repeat(" ", max(0, size-b.Len())))
	return b.String()
}

// Big documents are written, watched and decoded, many times, without a session
// being lost. It is the servers that cannot bear them without the memory for it
// (docs/operations.md).
func TestZooKeeperBigDocument(t *testing.T) {
	t.Parallel()
	server := testserver.ZooKeeper(t)
	c := server.Client(identity)
	c.Create(nodePath, wide(1, 0, 0), identity)
	z := follow(server.Addr())
	z.SessionTimeout = 20 * time.Second // it is not the speed of this machine that is tested
	r := record(t, z)
	for _, size := range []int{430_000, 1_000_000, zkconf.MaxSize} {
		for edit := range 20 {
			text := wide(10_000, size, edit)
			c.Put(nodePath, text)
			if u := r.last(text); u.Doc == nil {
				t.Fatalf("%d bytes: rejected: %v", len(text), u.Err)
			}
		}
	}
	if st := z.Status(); st.Sessions != 1 || st.VersionSeen != 60 {
		t.Errorf("%d sessions, version %d, want 1 and 60", st.Sessions, st.VersionSeen)
	}
	if u, err := z.Fetch(t.Context()); err != nil || len(u.Raw) != zkconf.MaxSize {
		t.Errorf("fetched %d bytes, %v", len(u.Raw), err)
	}
}
