package zkconf_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cgrouparch/cgrouparch/internal/zkconf"
)

func TestParseHosts(t *testing.T) {
	tests := []struct {
		in     string
		hosts  []string
		chroot string
		err    string
	}{
		{in: "127.0.0.1:2181,1.2.3.4:2182", hosts: []string{"1.2.3.4:2182", "127.0.0.1:2181"}},
		{in: " b , a:1 ,, b\n", hosts: []string{"a:1", "b:2181"}},
		{in: "a/", hosts: []string{"a:2181"}},
		{in: "a:1,b:2/prod//x/ \n", hosts: []string{"a:1", "b:2"}, chroot: "/prod/x"},
		{in: "::1,[::2],[::3]:99", hosts: []string{"[::1]:2181", "[::2]:2181", "[::3]:99"}},
		{in: "fe80::1%eth0,[fe80::2%1]:5", hosts: []string{"[fe80::1%eth0]:2181", "[fe80::2%1]:5"}},
		{in: "", err: "no host"},
		{in: "/x", err: "no host"},
		{in: ",", err: "no host"},
		{in: "a:0", err: "port"},
		{in: "a:65536", err: "port"},
		{in: "a:x", err: "port"},
		{in: "a:", err: "port"},
		{in: ":2181", err: "not a name"},
		{in: "a b:1", err: "not a name"},
		{in: "[", err: "not a name"},
		{in: "[a]", err: "not a name"},
		{in: "[a:b]:1", err: "not a name"},
		{in: "a:1:2", err: "too many colons"},
		{in: "a/..", err: "chroot"},
		{in: "a/x\x00", err: "control character"},
	}
	for _, tt := range tests {
		hosts, chroot, err := zkconf.ParseHosts(tt.in)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: error %v, want %q", tt.in, err, tt.err)
			continue
		}
		if diff := cmp.Diff(tt.hosts, hosts); diff != "" || chroot != tt.chroot {
			t.Errorf("%q: chroot %q, want %q; hosts (-want +got):\n%s", tt.in, chroot, tt.chroot, diff)
		}
	}
}

func FuzzParseHosts(f *testing.F) {
	f.Add("127.0.0.1:2181, b/prod")
	f.Add("[::1]:2,::3/x//y")
	f.Fuzz(func(t *testing.T, s string) {
		hosts, chroot, err := zkconf.ParseHosts(s)
		if err != nil {
			return
		}
		again, chroot2, err := zkconf.ParseHosts(strings.Join(hosts, ",") + chroot)
		if err != nil || chroot2 != chroot || !cmp.Equal(hosts, again) {
			t.Errorf("%q: %q %q, and of that %q %q %v", s, hosts, chroot, again, chroot2, err)
		}
	})
}

func TestNodePath(t *testing.T) {
	for _, tt := range []struct{ chroot, prefix, want string }{
		{"", "", "/arch_conf"},
		{"", "/", "/arch_conf"},
		{"", "cgrouparch", "/cgrouparch/arch_conf"},
		{"/prod", "/a/b/", "/prod/a/b/arch_conf"},
		{"", "/a/../b", ""},
		{"", "a\nb", ""},
	} {
		got, err := zkconf.NodePath(tt.chroot, tt.prefix)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("NodePath(%q, %q) = %q, %v; want %q", tt.chroot, tt.prefix, got, err, tt.want)
		}
	}
}

func TestAuthDataHidesItsSecret(t *testing.T) {
	list := []zkconf.AuthData{{Scheme: "digest", Auth: "super:123456"}}
	encoded, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		string(encoded), fmt.Sprint(list), fmt.Sprintf("%v %+v %#v %s %q %x", list, list, list, list, list, list),
		fmt.Sprintf("%+v", struct{ A zkconf.AuthData }{list[0]}),
	} {
		if strings.Contains(text, "123456") || strings.Contains(text, fmt.Sprintf("%x", "123456")) || !strings.Contains(text, "digest:***") {
			t.Errorf("printed as %s", text)
		}
	}
}

func TestSameCluster(t *testing.T) {
	zk := func(path string, hosts ...string) zkconf.Origin {
		return zkconf.Origin{Kind: zkconf.KindZooKeeper, Hosts: hosts, Path: path}
	}
	file := func(path string) zkconf.Origin { return zkconf.Origin{Kind: zkconf.KindFile, Path: path} }
	tests := []struct {
		name string
		a, b zkconf.Origin
		want bool
	}{
		{"equal", zk("/x/arch_conf", "a:1"), zk("/x/arch_conf", "a:1"), true},
		{"ensemble has grown", zk("/x/arch_conf", "a:1", "b:1"), zk("/x/arch_conf", "b:1", "c:1"), true},
		{"other hosts", zk("/x/arch_conf", "a:1"), zk("/x/arch_conf", "b:1"), false},
		{"other port", zk("/x/arch_conf", "a:1"), zk("/x/arch_conf", "a:2"), false},
		{"other path", zk("/x/arch_conf", "a:1"), zk("/y/arch_conf", "a:1"), false},
		{"hosts not known yet", zk("/x/arch_conf"), zk("/chroot/x/arch_conf", "a:1"), true},
		{"hosts not known, other path", zk("/x/arch_conf"), zk("/y/arch_conf", "a:1"), false},
		{"file", file("/a"), file("/a"), true},
		{"other file", file("/a"), file("/b"), false},
		{"other kind", file("/a"), zk("/a"), false},
		{"nothing", zkconf.Origin{}, file("/a"), false},
	}
	for _, tt := range tests {
		if got := tt.a.SameCluster(tt.b); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
		if got := tt.b.SameCluster(tt.a); got != tt.want {
			t.Errorf("%s, reversed: %t", tt.name, got)
		}
	}
}

func TestZooKeeperOrigin(t *testing.T) {
	known := &zkconf.ZooKeeper{Hosts: "b, a:1/prod", Prefix: "cg"}
	want := zkconf.Origin{Kind: "zookeeper", Hosts: []string{"a:1", "b:2181"}, Path: "/prod/cg/arch_conf"}
	if diff := cmp.Diff(want, known.Origin()); diff != "" {
		t.Errorf("origin of static hosts (-want +got):\n%s", diff)
	}
	if got := want.String(); got != "zookeeper a:1,b:2181/prod/cg/arch_conf" {
		t.Errorf("printed as %q", got)
	}
}
