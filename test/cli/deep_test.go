package cli

import (
	"os"
	"strings"
	"testing"
)

// TestDeleteTooDeep: cgroups that lie deeper than a path can say are removed with the cgroup that they are in. Since nobody can say
// whether they are protected, that takes --force.
func TestDeleteTooDeep(t *testing.T) {
	eachWay(t, func(t *testing.T, cg string) {
		mount := "/sys/fs/cgroup/"
		controller, dir, _ := strings.Cut(cg, ":")
		if _, err := os.Stat(mount + controller + dir); err == nil {
			mount += controller
		}
		at, err := os.OpenRoot(mount + dir)
		if err != nil {
			t.Skip(err) // mounted elsewhere
		}
		for range 30 {
			name := strings.Repeat("d", 200)
			if err := at.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
			next, err := at.OpenRoot(name)
			_ = at.Close()
			if err != nil {
				t.Fatal(err)
			}
			at = next
		}
		_ = at.Close()
		for _, how := range []string{"-r", "--empty"} {
			refused(t, 1, "too deep for a path", "cgroup", "delete", how, cg)
		}
		ok(t, "cgroup", "delete", "--force", "-r", cg)
		if _, err := os.Stat(mount + dir); err == nil {
			t.Error("it is there")
		}
		ok(t, "cgroup", "create", cg) // as it was found
	})
}
