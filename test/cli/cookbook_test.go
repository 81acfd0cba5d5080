package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/docs"
)

// block is one ```console of the cookbook.
type block struct {
	title string
	needs []string // controllers, "disk", and programs
	steps []step
}

// step is a line that is typed, and what it is said to print.
type step struct{ typed, prints string }

// blocks takes the cookbook apart.
func blocks(text string) []block {
	var out []block
	title, inside := "", false
	var needs []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		isFence := strings.HasPrefix(line, "```")
		switch {
		case isFence && inside:
			inside = false
		case isFence:
			inside = true
			out = append(out, block{title: title, needs: needs})
			needs = nil
		case !inside:
			if t, ok := strings.CutPrefix(line, "## "); ok {
				title = t
			}
			if n, ok := strings.CutPrefix(line, "<!-- needs: "); ok {
				needs = strings.Split(strings.TrimSuffix(n, " -->"), ",")
			}
		default:
			b := &out[len(out)-1]
			if typed, ok := strings.CutPrefix(line, "$ "); ok {
				b.steps = append(b.steps, step{typed: typed})
			} else {
				b.steps[len(b.steps)-1].prints += line + "\n"
			}
		}
	}
	return out
}

// TestCookbook types every block of docs/cookbook.md into a shell, and compares what each line prints.
func TestCookbook(t *testing.T) {
	all := blocks(docs.Cookbook)
	if len(all) < 12 {
		t.Fatalf("%d blocks only", len(all))
	}
	for i, b := range all {
		t.Run(fmt.Sprintf("%d %s", i, b.title), func(t *testing.T) {
			place(t, "cpu")
			env := needs(t, b.needs)
			demo := fmt.Sprintf("%s/demo%d", root, i)
			t.Cleanup(func() {
				_, _, _ = command("cgroup", "kill", "--force", demo)
				_, _, _ = command("cgroup", "delete", "--force", "-r", demo)
				for _, need := range b.needs { // those that a plain path does not stand for
					_, _, _ = command("cgroup", "delete", "--force", "-r", need+":"+demo)
					_, _, _ = command("cgroup", "delete", need+":"+root) // on v2 it holds this test's own place
				}
			})
			got := typeInto(t, b.steps, demo, env)
			if diff := cmp.Diff(b.steps, got, cmp.AllowUnexported(step{})); diff != "" {
				t.Errorf("(-the cookbook +what was printed):\n%s", diff)
			}
		})
	}
}

// needs skips a block for want of something, and gives what the block finds in the environment.
func needs(t *testing.T, what []string) []string {
	t.Helper()
	var env []string
	for _, need := range what {
		switch need {
		case "disk":
			disk := anyDisk()
			if disk == "" {
				t.Skip("this host has no disk")
			}
			env = append(env, "disk="+disk)
		case "setpriv":
			tool(t, need)
			if err := exec.Command(need, "--reuid", "0", "true").Run(); err != nil {
				skip(t, "this setpriv, perhaps busybox's, changes no user: "+err.Error())
			}
		default:
			if out := ok(t, "--json", "cgroup", "tree", "--depth", "0"); !strings.Contains(out, `"`+need+`"`) {
				t.Skipf("this host does not have the controller %s", need)
			}
		}
	}
	return env
}

// anyDisk is the number of some whole disk that has a size.
func anyDisk() string {
	sizes, _ := filepath.Glob("/sys/block/*/size")
	for _, size := range sizes {
		if text, err := os.ReadFile(size); err == nil && strings.TrimSpace(string(text)) != "0" {
			if dev, err := os.ReadFile(filepath.Join(filepath.Dir(size), "dev")); err == nil {
				return strings.TrimSpace(string(dev))
			}
		}
	}
	return ""
}

// typeInto types lines into one shell, in a directory of their own, with /demo somewhere below this run's root.
func typeInto(t *testing.T, steps []step, demo string, env []string) []step {
	t.Helper()
	const mark = "--- next line ---"
	var script strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\necho '%s'\n", strings.ReplaceAll(s.typed, "/demo", demo), mark)
	}
	cmd := exec.Command("sh", "-c", "exec 2>&1\n"+script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("the shell: %v", err)
	}
	printed := strings.Split(strings.ReplaceAll(string(out), demo, "/demo"), mark+"\n")
	var got []step
	for i, s := range steps {
		s.prints = ""
		if i < len(printed) {
			s.prints = strings.ReplaceAll(printed[i], strings.TrimPrefix(demo, root+"/")+"  ", "demo  ")
		}
		got = append(got, s)
	}
	return got
}
