package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReload(t *testing.T) {
	parsed := func(text string) *Config {
		t.Helper()
		d, err := parse("f.toml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		return &d.Config
	}
	old := parsed("zk_host = 'h'\nprotected_cgroup = ['a']\nredis_ip = 'r'")
	next := parsed("zk_host = 'other'\nprotected_cgroup = ['b']\nprotect_system_cgroups = false\npid_file_check = 'off'\nlog_level = 'debug'\n" +
		"redis_ip = 's'\nredis_expire_time = 5\nget_cgroup_pid_file = ['c']\n[cgroup_pid_files]\nx = ['/y']")
	got, restart := old.Reload(next)
	want := *next
	want.ZKHost, want.Redis, want.HistoryTime = old.ZKHost, old.Redis, old.HistoryTime
	if diff := cmp.Diff(&want, got, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"redis_expire_time", "redis_ip, redis_port, redis_url or redis_prefix", "zk_host"}, restart); diff != "" {
		t.Errorf("what needs a restart (-want +got):\n%s", diff)
	}
	if same, restart := old.Reload(parsed("zk_host = 'h'\nprotected_cgroup = ['a']\nredis_ip = 'r'")); len(restart) > 0 || cmp.Diff(old, same, compareConfig) != "" {
		t.Errorf("of the same file: %v", restart)
	}
}

// TestEveryFieldHasAKey: what needs a restart can be named.
func TestEveryFieldHasAKey(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name, _, _ := strings.Cut(strings.ReplaceAll(keyOf(f.Name), ",", " "), " ")
		if f.Name == "File" || f.Name == "PidFileStrict" {
			continue
		}
		if !slices.ContainsFunc(Keys, func(k Key) bool { return k.Name == name }) {
			t.Errorf("field %s: no key %q", f.Name, name)
		}
	}
}
