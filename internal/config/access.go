package config

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkAccess refuses a file that others can write, since it may name
// commands that we run as root, and one with a secret that others can read.
// Others are everybody, and the members of a group that is neither root's nor
// our own: a package's usual 0640 root:root is fine. The secret is the name of
// a key, "" for a file without.
func checkAccess(name string, info fs.FileInfo, secret string) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return nil // a pipe: whoever made it decides who reads it
	}
	mode := info.Mode().Perm()
	if stat.Gid == 0 || int(stat.Gid) == os.Getegid() {
		mode &^= 0o070
	}
	if mode&0o022 != 0 {
		return fmt.Errorf("%s: others can write it (mode %04o): chmod go-w %s", name, info.Mode().Perm(), name)
	}
	if secret == "" {
		return nil
	}
	if mode&0o044 != 0 {
		return fmt.Errorf("%s: holds a secret (%s) and others can read it (mode %04o): chmod 600 %s", name, secret, info.Mode().Perm(), name)
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: holds a secret (%s) and belongs to user %d: chown root %s", name, secret, stat.Uid, name)
	}
	return nil
}
