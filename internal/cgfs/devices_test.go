package cgfs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestDeviceValues(t *testing.T) {
	list := func(rules ...any) []any { return rules }
	notRule := func(text string) string {
		return fmt.Sprintf("not a rule such as \"c 1:3 rwm\", of b or c, numbers or *, and r, w, m: %q", text)
	}
	for _, c := range []struct {
		key   string
		value any
		want  string
		err   string
	}{
		{key: "deny", value: list("a"), want: "a"},
		{key: "deny", value: list("all"), want: "a"},
		{key: "deny", value: list("a *:* rwm"), want: "a"},
		{key: "deny", value: list("c 1:5 r", "c 1:3 rwm"), want: "c 1:3 rwm, c 1:5 r"},
		{key: "deny", value: list("b *:* rwm", "c *:* rwm"), want: "a"},
		{key: "deny", value: list(), want: "none"},
		{key: "deny", value: list("a", "a"), want: "a"},
		{key: "deny", value: list("a", "c 1:3 r"), want: "a"},
		{key: "deny", value: "a", err: `not an array of rules: "a"`},
		{key: "deny", value: nil, err: "not an array of rules: null"},
		{key: "allow", value: list(), want: "none"},
		{key: "allow", value: list("c 1:5 rwm", "c 1:3 mr", "b 8:* r"), want: "b 8:* r, c 1:3 rm, c 1:5 rwm"},
		{key: "allow", value: list("c 1:10 r", "c 1:3 r", "c 1:3 w"), want: "c 1:3 rw, c 1:10 r"},
		{key: "allow", value: list("c *:* rwm", "b *:* rwm"), want: "a *:* rwm"},
		{key: "allow", value: list("a"), want: "a *:* rwm"},
		{key: "allow", value: list("c 1:3 r", "a *:* rwm"), want: "a *:* rwm"},
		{key: "allow", value: list("c 1:3"), err: notRule("c 1:3")},
		{key: "allow", value: list("c 1:3 "), err: notRule("c 1:3 ")},
		{key: "allow", value: list("c 1:3 rx"), err: notRule("c 1:3 rx")},
		{key: "allow", value: list("c 1 r"), err: notRule("c 1 r")},
		{key: "allow", value: list("c 4096:0 r"), err: notRule("c 4096:0 r")},
		{key: "allow", value: list("c 1:1048576 r"), err: notRule("c 1:1048576 r")},
		{key: "allow", value: list("c -1:3 r"), err: notRule("c -1:3 r")},
		{key: "allow", value: list("c 1:3 r, c 1:5 r"), err: notRule("c 1:3 r, c 1:5 r")},
		{key: "allow", value: list(nil), err: `not a rule such as "c 1:3 rwm": null`},
		{key: "allow", value: "c 1:3 r", err: `not an array of rules: "c 1:3 r"`},
	} {
		s, ok := LookupSetting("devices", c.key)
		if !ok {
			t.Fatal(c.key)
		}
		text, _, err := s.Parse(c.value)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if text != c.want || got != c.err {
			t.Errorf("%s %#v: %q, %q; want %q, %q", c.key, c.value, text, got, c.want, c.err)
		}
	}
}

func TestRuleChanges(t *testing.T) {
	for _, c := range []struct {
		now, want string
		writes    []ruleWrite
	}{
		{"none", "none", nil},
		{"c 1:3 rwm", "c 1:3 rwm", nil},
		{"none", "c 1:3 rwm, c 1:5 r", []ruleWrite{{"devices.allow", "c 1:3 rwm"}, {"devices.allow", "c 1:5 r"}}},
		{"c 1:3 rwm", "c 1:5 r", []ruleWrite{{"devices.allow", "c 1:5 r"}, {"devices.deny", "c 1:3 rwm"}}},
		{"c 1:3 rw", "c 1:3 wm", []ruleWrite{{"devices.allow", "c 1:3 m"}, {"devices.deny", "c 1:3 r"}}},
		{"c 1:* rwm", "c 1:3 rwm", []ruleWrite{{"devices.allow", "c 1:3 rwm"}, {"devices.deny", "c 1:* rwm"}}},
		{"a *:* rwm", "all but c 1:7 rwm", []ruleWrite{{"devices.deny", "c 1:7 rwm"}}},
		{"all but c 1:7 rwm", "all but c 1:5 rw, c 1:7 r", []ruleWrite{{"devices.allow", "c 1:7 wm"}, {"devices.deny", "c 1:5 rw"}}},
		{"all but c 1:7 rwm", "a *:* rwm", []ruleWrite{{"devices.allow", "c 1:7 rwm"}}},
	} {
		now, err1 := parsePolicy(c.now)
		want, err2 := parsePolicy(c.want)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.writes, ruleChanges(now, want), cmp.AllowUnexported(ruleWrite{})); diff != "" {
			t.Errorf("from %s to %s (-want +got):\n%s", c.now, c.want, diff)
		}
	}
}

// What the changes add and take away leads from any rules to any others.
func TestRuleChangesLeadThere(t *testing.T) {
	some := rapid.Custom(func(t *rapid.T) rules {
		return rapid.MapOf(rapid.Custom(func(t *rapid.T) node {
			return node{rapid.SampledFrom([]byte("bc")).Draw(t, "kind"), rapid.Int64Range(-1, 2).Draw(t, "major"), rapid.Int64Range(-1, 2).Draw(t, "minor")}
		}), rapid.Custom(func(t *rapid.T) access { return access(rapid.IntRange(1, 7).Draw(t, "access")) })).Draw(t, "rules")
	})
	rapid.Check(t, func(t *rapid.T) {
		open := rapid.Bool().Draw(t, "open")
		now, want := policy{open, some.Draw(t, "now")}, policy{open, some.Draw(t, "want")}
		got := rules{}
		maps.Copy(got, now.rules)
		for _, w := range ruleChanges(now, want) {
			one := rules{}
			if err := one.add(w.text); err != nil {
				t.Fatal(err)
			}
			for n, bits := range one {
				if (w.file == "devices.allow") != open {
					got[n] |= bits
				} else if got[n] &^= bits; got[n] == 0 {
					delete(got, n)
				}
			}
		}
		if got.String() != want.rules.String() {
			t.Fatalf("from %s to %s: %s", now, want, got)
		}
	})
}

// What is read back reads the same when it is written again.
func FuzzParsePolicy(f *testing.F) {
	for _, seed := range []string{"", "none", "a *:* rwm", "c 1:3 rwm\nb 8:* r\n", "c 1:3 rwm, c 1:5 w", "b *:* rwm, c *:* rwm", "all but c 1:7 rwm", "all but ", "all but a *:* rwm"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePolicy(text)
		if err != nil {
			return
		}
		again, err := parsePolicy(p.String())
		if err != nil || again.String() != p.String() || again.open != p.open && len(p.rules) > 0 || !maps.Equal(p.rules, again.rules) {
			t.Errorf("%q: %v, again %v %v", text, p, again, err)
		}
	})
}

// try starts a shell, brings it into a cgroup and lets it open devices there.
func try(t *testing.T, h *Hierarchy, dir string, devices ...string) string {
	t.Helper()
	script := "read go\n"
	for _, d := range devices {
		script += fmt.Sprintf("( : <%s ) 2>/dev/null && echo %s\n", d, filepath.Base(d))
	}
	cmd := exec.Command("/bin/sh", "-c", strings.ReplaceAll(script, "2>/dev/null", "2>&-")) // without devices that are not asked for
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	moved := errors.New("not moved")
	if err := errors.Join(h.Move(dir, []int{cmd.Process.Pid}, func(_ int, err error) { moved = err }), moved); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatal(err)
	}
	_, _ = in.Write([]byte("\n"))
	_ = in.Close()
	_ = cmd.Wait() // its status is that of the last device
	return strings.Join(strings.Fields(out.String()), " ")
}

// rulesBecome writes the rules of a cgroup and expects to read them back, and
// which of two devices a process may open then.
func rulesBecome(t *testing.T, h *Hierarchy, dir, text, opens string) {
	t.Helper()
	if err := h.Write(dir, DevicesFile, text); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Read(dir, DevicesFile); err != nil || got != text {
		t.Errorf("wrote %q, reads %q %v", text, got, err)
	}
	if got := try(t, h, dir, "/dev/zero", "/dev/full"); got != opens {
		t.Errorf("with %q a process opens %q, want %q", text, got, opens)
	}
}

func TestKernelDevices(t *testing.T) {
	for version, open := range map[int]func(*testing.T, string) (*Hierarchy, string){1: kernel, 2: unified} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			h, root := open(t, "devices")
			if got, err := h.Read(root, DevicesFile); err != nil || got != AllDevices {
				t.Fatalf("a new cgroup reads %q %v", got, err)
			}
			rulesBecome(t, h, root, "c 1:5 rwm", "zero") // 1:5 is zero, 1:7 is full
			rulesBecome(t, h, root, "c 1:7 r", "full")
			rulesBecome(t, h, root, "c 1:7 w", "")
			rulesBecome(t, h, root, "b *:* rwm, c 1:* r", "zero full")
			rulesBecome(t, h, root, "all but c 1:7 rwm", "zero")
			rulesBecome(t, h, root, "all but b 8:* rwm, c 1:5 r", "full")
			rulesBecome(t, h, root, NoDevices, "")
			rulesBecome(t, h, root, AllDevices, "zero full")
			rulesBecome(t, h, root, NoDevices, "")
			if err := h.Mkdir(root + "/child"); err != nil {
				t.Fatal(err)
			}
			if got := try(t, h, root+"/child", "/dev/zero"); got != "" {
				t.Errorf("a child of a denied cgroup opens %q", got)
			}
			// v1 does not leave its mode now; everything is listed then.
			rulesBecome(t, h, root, AllDevices, "zero full")
			rulesBecome(t, h, root, "c 1:5 rwm", "zero")
			if err := h.Write("", DevicesFile, NoDevices); err == nil || !strings.Contains(err.Error(), "left as it is") {
				t.Errorf("the rules of a whole hierarchy: %v", err)
			}
			if err := h.Write(root, DevicesFile, "c 1:x r"); err == nil {
				t.Error("nonsense was taken")
			}
			if _, err := h.Read(root+"/nosuch", DevicesFile); !errors.Is(err, ErrNotExist) {
				t.Errorf("rules of nothing: %v", err)
			}
		})
	}
}

// v1 only: a child cannot have more than its parent, nor a parent with children
// begin to deny.
func TestKernelDevicesV1Refusals(t *testing.T) {
	h, root := kernel(t, "devices")
	if err := h.Mkdir(root + "/a"); err != nil {
		t.Fatal(err)
	}
	if err := h.Write(root, DevicesFile, NoDevices); err == nil || !strings.Contains(err.Error(), "no child cgroups") || !errors.Is(err, unix.EINVAL) {
		t.Errorf("a parent of a child: %v", err)
	}
	if err := h.Write(root+"/a", DevicesFile, "c 1:5 r"); err != nil {
		t.Fatal(err)
	}
	if err := h.Mkdir(root + "/a/b"); err != nil {
		t.Fatal(err)
	}
	if err := h.Write(root+"/a/b", DevicesFile, "c 1:7 r"); err == nil || !strings.Contains(err.Error(), "c 1:7 r is not allowed to the cgroup above") {
		t.Errorf("more than the parent has: %v", err)
	}
	if err := h.Write(root+"/a", DevicesFile, "all but c 1:7 r"); err == nil || !strings.Contains(err.Error(), "ends the denial of all devices only") {
		t.Errorf("from a list to exceptions over a child: %v", err)
	}
	if err := h.Write(root+"/a/b", DevicesFile, "all but c 1:7 r"); err == nil || !strings.Contains(err.Error(), "the cgroup above is denied all devices") {
		t.Errorf("exceptions below a list: %v", err)
	}
	if list, err := h.Read(root+"/a/b", "devices.list"); err != nil || list != "c 1:5 r" {
		t.Errorf("the child has %q %v", list, err)
	}
}

// Rules about single devices may come and go while there are cgroups below, and
// what is newly allowed reaches those that are ours and have no rules of their own:
// on v1 by our hand, on v2 because the kernel asks upwards.
func TestKernelDevicesReachBelow(t *testing.T) {
	for version, open := range map[int]func(*testing.T, string) (*Hierarchy, string){1: kernel, 2: unified} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			h, root := open(t, "devices")
			follows, own, below := root+"/follows", root+"/own", root+"/follows/below"
			make := func(dirs ...string) {
				t.Helper()
				for _, dir := range dirs {
					if err := h.Mkdir(dir); err != nil {
						t.Fatal(err)
					}
				}
			}
			opens := func(dir, want string) {
				t.Helper()
				if got := try(t, h, dir, "/dev/zero", "/dev/full"); got != want {
					t.Errorf("in %s a process opens %q, want %q", strings.TrimPrefix(dir, root), got, want)
				}
			}
			make(follows, below, own)
			rulesBecome(t, h, own, "all but c 1:7 rwm", "zero")
			rulesBecome(t, h, root, "all but c 1:5 rwm", "full")
			opens(below, "full")
			opens(own, "")
			rulesBecome(t, h, root, "all but b 8:* w", "zero full")
			opens(follows, "zero full")
			opens(below, "zero full")
			opens(own, "zero") // by its own rules, and no longer by those above
			rulesBecome(t, h, root, "all but c 1:7 rwm", "zero")
			opens(below, "zero")
			rulesBecome(t, h, root, AllDevices, "zero full")
			opens(below, "zero full")
			opens(own, "zero") // what both denied, it still does
		})
	}
}

// The same where all is denied but what is listed.
func TestKernelDevicesListReachesBelow(t *testing.T) {
	for version, open := range map[int]func(*testing.T, string) (*Hierarchy, string){1: kernel, 2: unified} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			h, root := open(t, "devices")
			rulesBecome(t, h, root, "c 1:5 rwm", "zero")
			child := root + "/child"
			if err := h.Mkdir(child); err != nil {
				t.Fatal(err)
			}
			for _, rules := range []string{"c 1:5 rwm, c 1:7 r", "c 1:7 r", AllDevices, "c 1:5 rwm"} {
				want := map[string]string{"c 1:5 rwm, c 1:7 r": "zero full", "c 1:7 r": "full", AllDevices: "zero full", "c 1:5 rwm": "zero"}[rules]
				rulesBecome(t, h, root, rules, want)
				if got := try(t, h, child, "/dev/zero", "/dev/full"); got != want {
					t.Errorf("with %q above, a process below opens %q, want %q", rules, got, want)
				}
			}
		})
	}
}

// One rule at a time, as commands and programs do it.
func TestKernelDevicesRuleByRule(t *testing.T) {
	for version, open := range map[int]func(*testing.T, string) (*Hierarchy, string){1: kernel, 2: unified} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			h, root := open(t, "devices")
			for _, c := range []struct {
				change      func(string, Rule) error
				rule, reads string
			}{
				{h.DenyDevice, "c 1:5 rwm", "all but c 1:5 rwm"},
				{h.DenyDevice, "c 1:7 w", "all but c 1:5 rwm, c 1:7 w"},
				{h.AllowDevice, "c 1:5 r", "all but c 1:5 wm, c 1:7 w"},
				{h.DenyDevice, "a", NoDevices},
				{h.AllowDevice, "c 1:3 rw", "c 1:3 rw"},
				{h.AllowDevice, "b 8:* r", "b 8:* r, c 1:3 rw"},
				{h.DenyDevice, "c 1:3 w", "b 8:* r, c 1:3 r"},
				{h.AllowDevice, "a *:* rwm", AllDevices},
			} {
				r, err := ParseRule(c.rule)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.change(root, r); err != nil {
					t.Fatal(err)
				}
				if got, err := h.Read(root, DevicesFile); err != nil || got != c.reads {
					t.Errorf("after %s: %q %v, want %q", c.rule, got, err, c.reads)
				}
			}
		})
	}
}

// TestAttachAndExit is the process that another test starts.
func TestAttachAndExit(t *testing.T) {
	dir := os.Getenv("CGATEST_ATTACH")
	if dir == "" {
		t.Skip("only as a child of TestKernelDevicesV2Program")
	}
	mount, root := filepath.Split(dir)
	h, err := OpenHierarchy(filepath.Clean(mount))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Write(root, DevicesFile, "c 1:5 rwm"); err != nil {
		t.Fatal(err)
	}
}

// v2 only: the program is one, it survives whoever attached it, and what is
// recorded counts only while that very program is attached.
func TestKernelDevicesV2Program(t *testing.T) {
	h, root := unified(t, "devices")
	cmd := exec.Command(os.Args[0], "-test.run=^TestAttachAndExit$", "-test.v")
	cmd.Env = append(os.Environ(), "CGATEST_ATTACH="+filepath.Join(h.Mount(), root))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, err := h.Read(root, DevicesFile); err != nil || got != "c 1:5 rwm" {
		t.Errorf("after the exit of who attached it: %q %v", got, err)
	}
	if got := try(t, h, root, "/dev/zero", "/dev/full"); got != "zero" {
		t.Errorf("after the exit of who attached it a process opens %q", got)
	}
	fd, err := h.openat(root, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	first, err := devicePrograms(fd)
	if err != nil || len(first) != 1 {
		t.Fatalf("programs %v %v", first, err)
	}
	if err := h.Write(root, DevicesFile, "c 1:7 rwm"); err != nil {
		t.Fatal(err)
	}
	second, err := devicePrograms(fd)
	if err != nil || len(second) != 1 || second[0] == first[0] {
		t.Errorf("programs %v, then %v %v", first, second, err)
	}
	// As if somebody else had put a program in the place of ours.
	stale := fmt.Sprintf("%d c 1:5 rwm", first[0])
	if err := unix.Fsetxattr(fd, devicesName, []byte(stale), 0); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Read(root, DevicesFile); err != nil || got != AllDevices {
		t.Errorf("with a program that is not ours: %q %v", got, err)
	}
	if err := h.Write(root, DevicesFile, AllDevices); err != nil {
		t.Fatal(err)
	}
	if left, err := devicePrograms(fd); err != nil || len(left) != 1 {
		t.Errorf("a program that is not ours was detached: %v %v", left, err)
	}
	rulesBecome(t, h, root, NoDevices, "")
	rulesBecome(t, h, root, AllDevices, "zero full")
	if left, err := devicePrograms(fd); err != nil || len(left) != 0 {
		t.Errorf("programs after all: %v %v", left, err)
	}
	if _, err := unix.Fgetxattr(fd, devicesName, nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("the record after all: %v", err)
	}
}
