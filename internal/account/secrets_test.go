package account

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

func TestHide(t *testing.T) {
	both := RedisOptions{Password: "abc", SentinelPassword: "xabcx"}
	long := RedisOptions{Password: strings.Repeat("s", 200)}
	for _, tc := range []struct {
		options    RedisOptions
		text, want string
	}{
		{RedisOptions{}, "ERR something", "ERR something"},
		{RedisOptions{}, "ERR unknown command `auth`, with args beginning with: `user`, `abc`, ", "ERR unknown command `auth`"},
		{long, "ERR unknown command 'auth', with args beginning with: '" + long.Password[:128] + "' ", "ERR unknown command 'auth'"},
		{both, "no user abc with xabcx", "no user *** with ***"},
		{RedisOptions{Password: "xabcx", SentinelPassword: "abc"}, "no user abc with xabcx", "no user *** with ***"},
		{RedisOptions{SentinelPassword: "abc"}, "no abc", "no ***"},
	} {
		if got := tc.options.secrets().hide(tc.text); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.text, got, tc.want)
		}
	}
}

// TestWriterPasswordEchoed: servers that do not know AUTH quote the password in their
// answer. It is in no status and no log, of ours and of the client library.
func TestWriterPasswordEchoed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		options RedisOptions
		args    []string // of the server
	}{
		{"AUTH", RedisOptions{Username: "arch", Password: "s3cret"}, []string{"--rename-command", "AUTH", ""}},
		{"AUTH and HELLO", RedisOptions{Password: "s3cret"}, []string{"--rename-command", "AUTH", "", "--rename-command", "HELLO", ""}},
		{"sentinel", RedisOptions{Mode: RedisSentinel, Master: "themaster", SentinelPassword: "s3cret"},
			[]string{"--rename-command", "AUTH", "", "--rename-command", "HELLO", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := testserver.Redis(t, tc.args...)
			var log testhost.Output
			o := tc.options
			o.Addrs, o.Expire, o.Log = []string{server.Addr()}, 300*time.Second, newTestLog(&log)
			w, stop := runWriter(t, o, historyOf(300, 1))
			eventually(t, "the refusal", func() bool {
				w.Wake()
				return strings.Contains(strings.ToLower(w.Status().Error), "err unknown command 'auth'")
			})
			s := w.Status()
			stop()
			if told := log.String(); strings.Contains(s.Error+s.LeaseError+told, "s3cret") || !strings.Contains(strings.ToLower(told), "'auth'") {
				t.Errorf("status %+v, log:\n%s", s, told)
			}
		})
	}
}

// TestLibraryLogHides: the client library logs errors of its own accord.
func TestLibraryLogHides(t *testing.T) {
	core, seen := observer.New(zapcore.DebugLevel)
	o := RedisOptions{SentinelPassword: "s3cret"}
	log := libraryLog{zap.New(core), o.secrets()}
	log.Printf(t.Context(), "sentinel: name=%q failed: %s", "m", errors.New("ERR unknown command 'auth', with args beginning with: 's3cret' "))
	log.Printf(t.Context(), "s3cret: %v", errors.New("s3cret"))
	var got []string
	for _, e := range seen.All() {
		got = append(got, e.ContextMap()["message"].(string))
	}
	if want := `sentinel: name="m" failed: ERR unknown command 'auth'|***: ***`; strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", got, want)
	}
}
