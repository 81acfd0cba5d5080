// Package cgfs is the only code that touches a cgroup filesystem: it finds the
// mounted hierarchies, reads and writes their files beneath one kept directory,
// reports what others change there, and holds the tables that say what each
// controller's settings and counters are called.
//
// Sources: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the Linux
// kernel, mountinfo in proc_pid_mountinfo(5), openat2(2), inotify(7).
package cgfs
