// tree ROOT DIRS: cgroups below ROOT, DIRS lists them one a line, parents first.
//   build VALUE   mkdirat each, and write VALUE into its cpu.shares
//   mark VALUE    the same, and set an extended attribute on each, as the daemon marks what it made
//   mkdir         mkdirat each
//   audit         list everything (getdents, the link count tells a leaf) and read every cpu.shares
//   remove        rmdir each
// Answer: CPU ns, wall ns, cgroups.
#include "floor.h"
#include <sys/xattr.h>

static char **dirs;
static int n, root;

static long build(const char *value, int mark) {
	for (int i = 0; i < n; i++) {
		char file[8192];
		if (mkdirat(root, dirs[i], 0755) < 0)
			die(dirs[i]);
		if (mark) {
			// There is no setxattrat in this C library: through a descriptor, which costs what the daemon pays too.
			int fd = openat(root, dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd < 0 || fsetxattr(fd, "trusted.cgrouparchd", "1", 1, 0) < 0)
				die(dirs[i]);
			close(fd);
		}
		if (!value)
			continue;
		snprintf(file, sizeof file, "%s/cpu.shares", dirs[i]);
		int fd = openat(root, file, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, value, strlen(value)) < 0)
			die(file);
		close(fd);
	}
	return n;
}

static long audit(int dir, int leaf) {
	static char value[256];
	long count = 1;
	int fd = openat(dir, "cpu.shares", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, value, sizeof value) < 0)
		die("cpu.shares");
	close(fd);
	if (leaf)
		return count;
	char buf[65536];
	long got;
	while ((got = syscall(SYS_getdents64, dir, buf, sizeof buf)) > 0)
		for (long at = 0; at < got;) {
			struct dirent64 *e = (void *)(buf + at);
			at += e->d_reclen;
			if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
				continue;
			struct stat st;
			if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				die(e->d_name);
			if (st.st_nlink == 2) {
				char file[512];
				snprintf(file, sizeof file, "%s/cpu.shares", e->d_name);
				int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
				if (fd < 0 || read(fd, value, sizeof value) < 0)
					die(file);
				close(fd);
				count++;
				continue;
			}
			int below = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (below < 0)
				die(e->d_name);
			count += audit(below, 0);
			close(below);
		}
	return count;
}

int main(int argc, char **argv) {
	mortal();
	if (argc != 3 || (root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		die(argv[argc - 1]);
	dirs = lines(argv[2], &n);
	say("ready");
	for (;;) {
		char *line = command(), *value = strchr(line, ' ');
		if (value)
			*value++ = 0;
		long count = 0;
		if (!strcmp(line, "audit"))
			lseek(root, 0, SEEK_SET);
		int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		if (!strcmp(line, "build"))
			count = build(value, 0);
		else if (!strcmp(line, "mark"))
			count = build(value, 1);
		else if (!strcmp(line, "mkdir"))
			count = build(NULL, 0);
		else if (!strcmp(line, "audit"))
			count = audit(root, 0) - 1;
		else if (!strcmp(line, "remove"))
			for (int i = n - 1; i >= 0; i--)
				count += unlinkat(root, dirs[i], AT_REMOVEDIR) == 0;
		took(now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - wall, count);
	}
}
