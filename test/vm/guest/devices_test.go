package guest

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// opener is a process that opens devices when it is asked to.
type opener struct {
	*proc
	in  io.Writer
	out *bufio.Reader
}

// startOpener runs a shell that reads lines "MODE DEVICE" and answers each with the outcome. It opens nothing else.
func startOpener(t *testing.T) *opener {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `while read -r mode device; do
		case $mode in
		r) if (: <$device) 2>&-; then echo yes; else echo no; fi ;;
		w) if (: >$device) 2>&-; then echo yes; else echo no; fi ;;
		esac
	done`)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	return &opener{startProc(t, cmd), in, bufio.NewReader(out)}
}

// may asks for each of several "MODE DEVICE" and returns those that worked.
func (o *opener) may(questions ...string) string {
	o.t.Helper()
	var works []string
	for _, q := range questions {
		_, err := fmt.Fprintln(o.in, q)
		must(o.t, err)
		answer, err := o.out.ReadString('\n')
		must(o.t, err)
		if answer == "yes\n" {
			works = append(works, q)
		}
	}
	return strings.Join(works, ", ")
}

// TestDeviceRules: what the document allows is what a placed process can open, on v1 by the controller's lists and on v2 by a program of
// eBPF: it takes effect, survives the daemon however that ends, is known again by the next one, is replaced by an edit, and goes with
// the setting and with the cgroup.
func TestDeviceRules(t *testing.T) {
	need(t, "v1", "v2", "hybrid")
	h := newHost(t, "/cga")
	p := startOpener(t)
	h.pidFiles(map[string]int{"a": p.pid()})
	all := []string{"r /dev/null", "w /dev/null", "r /dev/zero", "w /dev/zero", "r /dev/full", "w /dev/full"}
	want := func(what string, works ...string) {
		t.Helper()
		eventually(t, what, func() error { return differ(strings.Join(works, ", "), p.may(all...)) })
	}
	rules := func(conf string) string { return `{"devices": {"sub_cgroup": {"a": {"conf": ` + conf + `}}}}` }

	if got := p.may(all...); got != strings.Join(all, ", ") {
		t.Fatalf("before anything, only %s", got)
	}
	h.document(rules(`{"deny": ["a"], "allow": ["c 1:3 rwm", "c 1:5 r"]}`))
	d := h.start()
	h.wantIn("devices", "a", p.pid())
	ruled := []string{"r /dev/null", "w /dev/null", "r /dev/zero"}
	want("deny and allow", ruled...)
	h.wantNoFaults()

	d.kill9()
	throughout(t, time.Second, "after kill -9", func() error { return differ(strings.Join(ruled, ", "), p.may(all...)) })
	h.cli("plan").wantStatus(t, 0) // the rules are known as what the document wants
	d = h.start()
	d.finish()
	throughout(t, time.Second, "after SIGTERM", func() error { return differ(strings.Join(ruled, ", "), p.may(all...)) })
	h.start()

	h.document(rules(`{"deny": ["a"], "allow": ["c 1:7 rw"]}`))
	want("an edit", "r /dev/full", "w /dev/full") // both programs on v2 would have to agree, if the first were still there
	h.document(rules(`{}`))
	want("the setting leaves the document", all...)
	h.document(rules(`{"deny": ["a"]}`))
	want("nothing at all")
	h.document(`{"devices": {}}`)
	want("the cgroup leaves the document", all...)
	h.wantNoFaults()
	h.cli("plan").wantStatus(t, 0)
}
