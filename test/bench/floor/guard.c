// guard ROOT DIRS VALUE: watches every cgroup of DIRS below ROOT by inotify and puts back what somebody changes: a cpu.shares that
// is not VALUE is written, a cgroup that is removed is made again.
#include "floor.h"
#include <sys/inotify.h>

static char **dirs;
static int n, root, in, *watches;

static void watch(int i) {
	char path[64 + 4096];
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", root, dirs[i]);
	watches[i] = inotify_add_watch(in, path, IN_MODIFY | IN_ONLYDIR);
}

static void set(int i, const char *value) {
	char file[8192];
	snprintf(file, sizeof file, "%s/cpu.shares", dirs[i]);
	int fd = openat(root, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
	close(fd);
}

static int differs(int i, const char *value) {
	char file[8192], text[64] = "";
	snprintf(file, sizeof file, "%s/cpu.shares", dirs[i]);
	int fd = openat(root, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	return len > 0 && atol(text) != atol(value);
}

int main(int argc, char **argv) {
	mortal();
	if (argc != 4 || (root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		die(argv[argc - 1]);
	dirs = lines(argv[2], &n);
	watches = malloc(n * sizeof *watches);
	in = inotify_init1(IN_CLOEXEC);
	int top = inotify_add_watch(in, argv[1], IN_DELETE | IN_ONLYDIR);
	for (int i = 0; i < n; i++)
		watch(i);
	say("ready");
	static char buf[1 << 16] __attribute__((aligned(8)));
	for (;;) {
		ssize_t got = read(in, buf, sizeof buf);
		for (ssize_t at = 0; at < got;) {
			struct inotify_event *e = (void *)(buf + at);
			at += sizeof *e + e->len;
			for (int i = 0; i < n; i++) {
				if (e->wd == top && (e->mask & IN_DELETE) && !strcmp(e->name, dirs[i])) {
					if (mkdirat(root, dirs[i], 0755) == 0) {
						set(i, argv[3]);
						watch(i);
					}
					break;
				}
				if (e->wd == watches[i] && (e->mask & IN_MODIFY)) {
					if (!strcmp(e->name, "cpu.shares") && differs(i, argv[3]))
						set(i, argv[3]);
					break;
				}
			}
		}
	}
}
