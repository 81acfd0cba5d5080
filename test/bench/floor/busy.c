// busy FILES: for each group of files, one a line and separated by blanks, a process that writes itself into each of them
// (cgroup.procs) and then works a moment ten times in a second, so that its cgroup's usage changes in every second.
// With no file but a number: so many processes that never rest.
#include "floor.h"

static volatile unsigned sink;

static void hog(void) {
	for (;;)
		sink++;
}

int main(int argc, char **argv) {
	mortal();
	int n = 0, hogs = argc == 2 ? atoi(argv[1]) : 0;
	char **groups = hogs ? NULL : lines(argv[argc - 1], &n);
	for (int i = 0; i < hogs; i++)
		if (fork() == 0) {
			mortal();
			hog();
		}
	for (int i = 0; i < n; i++) {
		if (fork() != 0)
			continue;
		mortal();
		for (char *file = strtok(groups[i], " "); file; file = strtok(NULL, " ")) {
			int fd = open(file, O_WRONLY);
			if (fd < 0 || write(fd, "0", 1) < 0)
				die(file);
			close(fd);
		}
		for (;;) {
			for (int k = 0; k < 20000; k++)
				sink++;
			usleep(100000);
		}
	}
	say("ready");
	for (;;)
		command();
}
