package cli

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
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
		if _, err := os.Stat(mount + dir); err != nil {
			t.Skip(err) // mounted elsewhere
		}
		testhost.Dig(t, mount+dir, slices.Repeat([]string{strings.Repeat("d", 200)}, 30)...)
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
