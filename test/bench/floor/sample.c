// sample FILES: keeps every file open and, for each line on standard input, reads all of them once with pread.
// Answer: CPU ns, wall ns, files read.
#include "floor.h"

int main(int argc, char **argv) {
	mortal();
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	int n;
	char **files = lines(argv[argc - 1], &n);
	int *fds = malloc(n * sizeof *fds);
	for (int i = 0; i < n; i++)
		if ((fds[i] = open(files[i], O_RDONLY | O_CLOEXEC)) < 0)
			die(files[i]);
	char buf[65536];
	say("ready");
	for (;;) {
		command();
		int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		long got = 0;
		for (int i = 0; i < n; i++)
			got += pread(fds[i], buf, sizeof buf, 0) > 0;
		took(now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - wall, got);
	}
}
