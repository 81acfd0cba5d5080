package account

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cgrouparch/cgrouparch/internal/testhost"
	"github.com/cgrouparch/cgrouparch/internal/testserver"
)

// secureServer is a server with TLS that goes by the name localhost, and options that
// suit it: a user of its own, and the authority's certificate.
func secureServer(t *testing.T) (server *testserver.RedisServer, ca *testserver.Authority, o RedisOptions) {
	t.Helper()
	ca = testserver.NewAuthority(t)
	cert, key := ca.Issue(time.Hour, "localhost")
	server = testserver.RedisTLS(t, cert, key)
	server.Do("ACL", "SETUSER", "arch", "on", ">s3cret", "~test/*", "-@all", "+get", "+set", "+mget", "+del")
	o = optionsFor(server)
	o.TLS, o.roots, o.Addrs = true, ca.Pool(), []string{named(t, server.TLSAddr())}
	o.Username, o.Password = "arch", "s3cret"
	return server, ca, o
}

// named is the address by a name.
func named(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("localhost", port)
}

// TestWriterTLS: slots are written and read over TLS, by the sampler's goroutine too, also
// after the server has been restarted, has hung, or has another certificate.
func TestWriterTLS(t *testing.T) {
	t.Parallel()
	server, ca, o := secureServer(t)
	ring := historyOf(300, 1)
	w, stop := runWriter(t, o, ring)
	eventually(t, "a slot", written(w, 1))
	d := &delivery{server: server, ring: ring, writer: w, slot: 1}
	d.settled(t)
	if got, want := ask(t, NewService(ServiceOptions{Ring: NewRing(300), Writer: w, Now: at(2)}), `{"start_slot":1,"end_slot":1}`),
		`{"1":{"cpu":{"value":{"usage":1}}}}`; got != want {
		t.Errorf("read over TLS: %s, want %s", got, want)
	}
	again := func(what string) {
		t.Helper()
		d.settled(t)
		s := w.Status()
		if !s.Connected || s.Backlog != 0 || s.Lost != 0 {
			t.Errorf("%s: status %+v", what, s)
		}
	}

	server.Kill()
	d.add()
	d.deliver()
	eventually(t, "an error", func() bool { return w.Status().Error != "" })
	server.Start()
	server.Do("ACL", "SETUSER", "arch", "on", ">s3cret", "~test/*", "-@all", "+get", "+set", "+mget", "+del")
	again("restarted")

	server.Freeze()
	d.add()
	began := time.Now()
	d.deliver()
	if took := time.Since(began); took > 2*opTimeout { // a second exchange would take as long again
		t.Errorf("a frozen server held the caller up for %v", took)
	}
	server.Thaw()
	again("thawed")

	// Many servers read a renewed certificate without a restart. The next connection has it.
	cert, key := ca.Issue(time.Hour, "localhost")
	server.Do("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key)
	server.Do("CLIENT", "KILL", "USER", "arch")
	again("certificate renewed")
	stop()
	if got := server.Do("GET", "test/writer"); got != nil {
		t.Errorf("lease after the stop: %v, want none", got)
	}
}

// TestWriterTLSRefused: who is not the server that was named gets no slot and no password,
// and what to do is said, once.
func TestWriterTLSRefused(t *testing.T) {
	t.Parallel()
	server, ca, good := secureServer(t)
	show := func(cert, key string) { server.Do("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key) }
	for _, tc := range []struct {
		name   string
		change func(o *RedisOptions) // and the server
		want   []string              // in the status and the log
	}{
		{"another authority", func(o *RedisOptions) { o.roots = testserver.NewAuthority(t).Pool() },
			[]string{"certificate signed by unknown authority", "(add the authority's certificate to the host's, or name its file in SSL_CERT_FILE"}},
		{"another name", func(o *RedisOptions) { show(ca.Issue(time.Hour, "elsewhere", "192.0.2.1")) },
			[]string{"certificate is valid for elsewhere, not localhost", "(redis_url must call the server by a name in its certificate)"}},
		{"an address instead of the name", func(o *RedisOptions) {
			show(ca.Issue(time.Hour, "localhost"))
			o.Addrs = []string{server.TLSAddr()}
		}, []string{"cannot validate certificate for 127.0.0.1", "(redis_url must call the server by a name in its certificate)"}},
		{"an old certificate", func(o *RedisOptions) { show(ca.Issue(-time.Hour, "localhost")) },
			[]string{"certificate has expired", "(the server needs a new certificate, or"}},
		{"a certificate is asked of us", func(o *RedisOptions) {
			show(ca.Issue(time.Hour, "localhost"))
			server.Do("CONFIG", "SET", "tls-auth-clients", "yes")
		}, []string{"(if the server asks for a certificate: the daemon has none"}},
		{"no TLS there", func(o *RedisOptions) {
			server.Do("CONFIG", "SET", "tls-auth-clients", "no")
			o.Addrs = []string{named(t, server.Addr())}
		}, []string{"tls handshake: no answer for 300ms (if that port is not Redis's tls-port: redis:// in redis_url)"}},
		{"TLS is wanted", func(o *RedisOptions) { o.TLS = false }, []string{"(if that port wants TLS: rediss:// in redis_url)"}},
	} {
		t.Run(tc.name, func(t *testing.T) { // one after the other: they change the server
			var log testhost.Output
			o := good
			o.Log = newTestLog(&log)
			tc.change(&o)
			r := historyOf(300, 1)
			w, _ := runWriter(t, o, r)
			said := func() bool { return containsAll(w.Status().Error, tc.want) }
			eventually(t, strings.Join(tc.want, " "), said) // a busy machine may be slow to shake hands before
			r.appendSlot(2, time.Now(), numberLayout, number(2))
			eventually(t, "another try", func() bool { return w.Status().Backlog == 2 && said() })
			s := w.Status()
			told := 0
			for line := range strings.Lines(log.String()) {
				if containsAll(line, tc.want) {
					told++
				}
			}
			if s.Connected || s.Written != 0 || told != 1 || strings.Contains(log.String(), "s3cret") {
				t.Errorf("status %+v, %d lines with %q, log:\n%s", s, told, tc.want, log.String())
			}
			if got := ask(t, NewService(ServiceOptions{Ring: r, Writer: w, Now: at(2)}), `{}`); !strings.HasPrefix(got, `{"1":`) {
				t.Errorf("memory answers %s", got)
			}
		})
	}
	if got := server.Do("DBSIZE"); got != int64(0) {
		t.Errorf("%v keys were written", got)
	}
}

// containsAll says whether all of these are in the text.
func containsAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}

// TestWriterSecondCause: the log has what comes to light after the server has come up, not
// only that it was away.
func TestWriterSecondCause(t *testing.T) {
	t.Parallel()
	server, _, o := secureServer(t)
	server.Kill()
	var log testhost.Output
	o.TLS, o.Log = false, newTestLog(&log)
	o.Addrs = []string{server.TLSAddr()}
	runWriter(t, o, historyOf(300, 1))
	eventually(t, "that it is away", func() bool { return strings.Contains(log.String(), "connection refused") })
	server.Start()
	eventually(t, "that it wants TLS", func() bool { return strings.Contains(log.String(), "if that port wants TLS: rediss://") })
}
