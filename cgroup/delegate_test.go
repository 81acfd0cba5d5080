package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
)

// nobody is a user that every system has and that owns nothing.
const nobody = 65534

// asUser runs a shell script as a plain user, in a cgroup.
func asUser(t *testing.T, n *Node, script string, env ...string) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		fmt.Fprintln(&out, err)
	}
	return out.String()
}

// TestDelegate: the user makes a cgroup, moves an own process in and out, and can do
// nothing else, in each hierarchy.
func TestDelegate(t *testing.T) {
	grouped := openGrouped(t)
	hosts := map[*Host]string{grouped: "/mine"}
	if grouped.Root().Version() == 1 && grouped.Version("unified") == 2 {
		hosts[openUnified(t)] = "unified:/mine"
	}
	for host, name := range hosts {
		n := must[*Node](t)(host.Node(name))
		if err := n.Delegate(nobody, nobody); err != nil {
			t.Fatal(err)
		}
		for _, one := range n.Split() {
			others := create(t, host, strings.Replace(one.String(), "mine", "others", 1))
			stranger := testhost.Sleeper(t)
			if err := others.Add(stranger); err != nil {
				t.Fatal(err)
			}
			out := asUser(t, one, `
				set -e
				mkdir $MINE/sub
				for f in cpuset.cpus cpuset.mems; do if test -e $MINE/sub/$f; then cat $MINE/$f >$MINE/sub/$f; fi; done
				echo $$ >$MINE/sub/cgroup.procs
				grep -q "^$$\$" $MINE/sub/cgroup.procs
				if test -e $MINE/sub/cpu.shares; then echo 2048 >$MINE/sub/cpu.shares; fi
				echo $$ >$MINE/cgroup.procs
				grep -q "^$$\$" $MINE/cgroup.procs
				rmdir $MINE/sub
				set +e
				refused() { if eval "$1" 2>/dev/null; then echo "not refused: $1"; fi; }
				refused 'mkdir $OTHERS/sub'
				refused 'mkdir $ROOT/sub'
				refused 'rmdir $MINE'
				refused 'echo $$ >$OTHERS/cgroup.procs'
				refused 'echo $$ >$ROOT/cgroup.procs'
				refused 'echo $STRANGER >$MINE/cgroup.procs'
				for f in $MINE/*; do
					case $f in
					*/cgroup.procs|*/tasks|*/cgroup.threads|*/cgroup.subtree_control|*.oom.group|*.reclaim|*.pressure) ;;
					*) refused "echo 1 >$f" ;;
					esac
				done
				echo done`,
				"MINE="+one.Dir(), "OTHERS="+others.Dir(), "ROOT="+one.Parent().Dir(), fmt.Sprintf("STRANGER=%d", stranger))
			if out != "done\n" {
				t.Errorf("%s: %s", one, out)
			}
		}
	}
}

func openUnified(t *testing.T) *Host {
	t.Helper()
	return openRoot(t, Options{Controllers: []string{"unified"}}, "unified:/")
}

func TestDelegateRoot(t *testing.T) {
	if err := openGrouped(t).Root().Delegate(nobody, nobody); !isKind(err, ErrNotSupported) {
		t.Errorf("the root is given away: %v", err)
	}
}
