package pidfiles

import (
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// settledAfter is how old a file's times have to be when it is read, so that whoever writes to it later gives it other
// ones: they go in steps of a kernel's tick, at most 10 ms (current_time in the kernel's fs/inode.c). coarselyAfter is the
// same where the file system has whole seconds only, or pairs of them.
const (
	settledAfter  = 200 * time.Millisecond
	coarselyAfter = 3 * time.Second
)

// settled reports whether a version was old enough when it was read.
func settled(v fileVersion, read time.Time) bool {
	after := settledAfter
	if v.ctime.Nsec == 0 && v.mtime.Nsec == 0 {
		after = coarselyAfter
	}
	return read.Sub(time.Unix(v.ctime.Unix())) >= after && read.Sub(time.Unix(v.mtime.Unix())) >= after
}

// keptClaims are pid files that were OK, so that they need not be judged again.
//
// A claim stays what it is while what it was concluded from does: the way to the file, which is walked again; the file,
// which has the same version; and the process, which is held by a pidfd and has not ended. All else cannot change: the
// content without the file's times, if these are old enough to tell (see settled); what the process is without its
// end; and whether it is too young for the file is settled once, see verdict. A file that is not root's is judged each
// time, because its owner must be that of the process, which can change that. Every everyListing'th time any file is judged
// as if it were new, which finds what was written through a shared mapping: that need not change the times, see mmap(2).
type keptClaims struct {
	limit  int
	young  bool // for tests: versions count as old enough
	byFile map[string]*keptClaim
	polls  []unix.PollFd
	ways   map[string]*walked // during one reading
}

type keptClaim struct {
	version fileVersion
	named   Ident
	held    *holding
	age     int // readings since it was judged
}

// A holding is a pidfd with several users.
type holding struct {
	fd   int
	uses atomic.Int32
}

// use returns a handle of its own for one more user.
func (h *holding) use() *handle {
	h.uses.Add(1)
	return &handle{fd: h.fd, of: h}
}

func (h *holding) release() {
	if h.uses.Add(-1) == 0 {
		_ = unix.Close(h.fd)
	}
}

// walked is the way to a directory.
type walked struct {
	fd  int
	way trail
	err error
}

// maxWalked bounds the directories that are open during a reading.
const maxWalked = 64

// begin begins a reading: claims of processes that have ended are dropped.
func (k *keptClaims) begin() {
	files := make([]string, 0, len(k.byFile))
	k.polls = k.polls[:0]
	for file, claim := range k.byFile {
		files = append(files, file)
		k.polls = append(k.polls, unix.PollFd{Fd: int32(claim.held.fd)})
	}
	if len(files) == 0 {
		return
	}
	ended(k.polls)
	for i, file := range files {
		if k.polls[i].Revents != 0 {
			k.drop(file)
		}
	}
}

// end ends a reading. used are the files that were asked about.
func (k *keptClaims) end(used map[string]bool) {
	for file := range k.byFile {
		if !used[file] {
			k.drop(file)
		}
	}
	k.leave()
}

// leave closes the directories of this reading.
func (k *keptClaims) leave() {
	for _, w := range k.ways {
		if w.err == nil {
			_ = unix.Close(w.fd)
		}
	}
	clear(k.ways)
}

// drop forgets a claim.
func (k *keptClaims) drop(file string) {
	if claim := k.byFile[file]; claim != nil {
		claim.held.release()
		delete(k.byFile, file)
	}
}

func (k *keptClaims) dropAll() {
	for file := range k.byFile {
		k.drop(file)
	}
}

// find returns what was kept of a file if that still holds.
func (k *keptClaims) find(file string, trust bool) *keptClaim {
	claim := k.byFile[file]
	if claim == nil {
		return nil
	}
	if claim.age++; claim.age >= everyListing || !k.same(file, claim.version, trust) {
		k.drop(file)
		return nil
	}
	return claim
}

// keep keeps a claim that was just judged OK, and shares its process. read is when the file began to be read.
func (k *keptClaims) keep(c *Claim, version fileVersion, trust bool, read time.Time) {
	switch {
	case len(k.byFile) >= k.limit || k.byFile[c.File] != nil:
		return
	case version.uid != 0 && !trust:
		return
	case !k.young && !settled(version, read):
		return
	case elsewhere(c.File):
		return
	}
	held := &holding{fd: c.process.fd}
	held.uses.Store(2)
	c.process.of = held
	// Different ages to begin with, so that not all are judged again in the same reading.
	k.byFile[c.File] = &keptClaim{
		version: version, named: Ident{PID: c.PID, Start: c.Start}, held: held, age: len(k.byFile) % everyListing,
	}
}

// elsewhere reports whether a file is on a file system that may answer for its times from a cache while another host, or
// a program, has written: these are asked again when the file is opened (close-to-open consistency, see nfs(5)).
func elsewhere(file string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(file, &fs); err != nil {
		return true
	}
	switch uint32(fs.Type) {
	case unix.NFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC:
		return true
	}
	return false
}

// same reports whether a file is the version that it was, and may still be trusted.
func (k *keptClaims) same(file string, version fileVersion, trust bool) bool {
	if trust {
		now, err := versionAt(unix.AT_FDCWD, file, 0)
		return err == nil && now == version
	}
	slash := strings.LastIndexByte(file, '/')
	if slash < 1 || slash == len(file)-1 {
		return false
	}
	w := k.walk(file[:slash])
	if w.err != nil {
		return false
	}
	now, err := versionAt(w.fd, file[slash+1:], unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || now != version {
		return false
	}
	found := entry{uid: now.uid, mode: now.mode, ino: now.ino, dev: now.dev, link: now.numberOfLinks}
	return found.kind() == unix.S_IFREG && distrust(found, w.way) == ""
}

// walk opens a directory as [openTrusted] does, once a reading.
func (k *keptClaims) walk(dir string) *walked {
	if w := k.ways[dir]; w != nil {
		return w
	}
	if len(k.ways) >= maxWalked {
		k.leave()
	}
	w := &walked{}
	w.fd, w.way, w.err = openTrusted(dir)
	if w.err == nil {
		here, err := look(w.fd)
		if err == nil && here.kind() != unix.S_IFDIR {
			err = unix.ENOTDIR
		}
		if err != nil {
			_ = unix.Close(w.fd)
			w.err = err
		}
		w.way.dirs = append(w.way.dirs, here)
	}
	k.ways[dir] = w
	return w
}
