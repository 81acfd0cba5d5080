package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// In the scripts `exec cga` is the binary with a configuration that names a real ZooKeeper and a prefix of the script's own, and
// `exec st N COMMAND` insists on the exit status N.
const (
	cgaScript = "#!/bin/sh\nexec %s \"$@\" --config %s\n"
	stScript  = "#!/bin/sh\nwant=$1; shift\n\"$@\"\ngot=$?\n[ $got = $want ] || { echo \"exit status $got, want $want\" >&2; exit 1; }\n"
)

// TestConfScripts: the commands that read and change the document, as people type them.
func TestConfScripts(t *testing.T) {
	needBinary(t)
	zk := testserver.ZooKeeper(t)
	var scripts atomic.Int32
	testscript.Run(t, testscript.Params{
		Dir: "testdata/conf",
		Setup: func(env *testscript.Env) error {
			prefix := fmt.Sprintf("/script/%d", scripts.Add(1))
			config := filepath.Join(env.WorkDir, "c.toml")
			text := fmt.Sprintf("zk_host = %q\nzk_prefix = %q\nzk_auth_data = [%q]\nconf_history = 3\n", zk.Addr(), prefix, identity)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				return err
			}
			bin := filepath.Join(env.WorkDir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			for name, script := range map[string]string{"cga": fmt.Sprintf(cgaScript, binary, config), "st": stScript} {
				if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
					return err
				}
			}
			env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
			env.Setenv("SUDO_USER", "ann")
			env.Setenv("PREFIX", prefix)
			env.Setenv("CGROUPARCHD", binary)
			env.Setenv(markerEnv, runID)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// zkput FILE: somebody writes the document by other means.
			"zkput": func(ts *testscript.TestScript, _ bool, args []string) {
				zk.Client(identity).Put(ts.Getenv("PREFIX")+"/arch_conf", ts.ReadFile(args[0]))
			},
		},
	})
}
