package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCredentials(t *testing.T) {
	tests := []struct {
		name        string
		file        string
		credentials map[string]string
		flags       map[string]string
		auth        []Auth
		password    string
		err         string
	}{
		{name: "none", file: "zk_host = 'h'"},
		{name: "both", file: "zk_host = 'h'",
			credentials: map[string]string{"cgrouparchd.zk_auth": "digest:u:p\n", "cgrouparchd.redis_url": "redis://:secret@r:1/2\n", "other": "x"},
			auth:        []Auth{{"digest", "u:p"}}, password: "secret"},
		{name: "flag wins", file: "zk_host = 'h'", credentials: map[string]string{"cgrouparchd.redis_url": "redis://:secret@r:1/2"},
			flags: map[string]string{"redis_ip": "127.0.0.1"}},
		{name: "the file has it too", file: "redis_ip = '127.0.0.1'", credentials: map[string]string{"cgrouparchd.redis_url": "redis://:secret@r:1/2"},
			err: "credential cgrouparchd.redis_url"},
		{name: "bad", credentials: map[string]string{"cgrouparchd.zk_auth": "nonsense"}, err: "cgrouparchd.zk_auth:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.credentials {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
					t.Fatal(err)
				}
			}
			// Others may read the file: the secret is not in it.
			path := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(path, []byte(tt.file), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Setenv("CREDENTIALS_DIRECTORY", dir)
			c, err := Load(path, true, tt.flags)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "secret") {
					t.Fatalf("error %v, want one that contains %q and no secret", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.auth, c.ZKAuth); diff != "" {
				t.Errorf("zk_auth (-want +got):\n%s", diff)
			}
			if got := c.Redis.Password.Reveal(); got != tt.password {
				t.Errorf("password %q, want %q", got, tt.password)
			}
		})
	}
}
