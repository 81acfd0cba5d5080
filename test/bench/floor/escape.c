// escape: a process that was moved away from its cgroup forks.
//   away DIR           moves itself into the cgroup DIR
//   wait SUBSYSTEM PATH   forks, and looks at the child until it is in the cgroup PATH
//   move DIR           forks, and moves the child into the cgroup DIR itself: the floor
// Answer: the time since before the fork in ns (-1: not within 3 s), and when that was.
#include "floor.h"

// put moves a process.
static void put(const char *dir, pid_t pid) {
	char file[8192], text[32];
	snprintf(file, sizeof file, "%s/cgroup.procs", dir);
	int fd = open(file, O_WRONLY | O_CLOEXEC), len = snprintf(text, sizeof text, "%d", pid);
	if (fd < 0 || write(fd, text, len) != len)
		die(file);
	close(fd);
}

// in says whether a process is in a cgroup: ":SUBSYSTEM:PATH" is a line of /proc/PID/cgroup.
static int in(pid_t pid, const char *line) {
	static char text[65536];
	char file[64];
	snprintf(file, sizeof file, "/proc/%d/cgroup", pid);
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(file);
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	return strstr(text, line) != NULL;
}

int main(void) {
	mortal();
	say("ready");
	for (;;) {
		char *what = strtok(command(), " "), *path = strtok(NULL, " "), *rest = strtok(NULL, " "), line[8192];
		if (!strcmp(what, "away")) {
			put(path, getpid());
			took(0, 0, 0);
			continue;
		}
		int64_t begin = now(CLOCK_MONOTONIC), end;
		pid_t child = fork();
		if (child == 0) {
			mortal();
			for (;;)
				pause();
		}
		if (!strcmp(what, "move")) {
			put(path, child);
			end = now(CLOCK_MONOTONIC);
		} else {
			snprintf(line, sizeof line, ":%s:%s\n", path, rest);
			do {
				usleep(50);
				end = now(CLOCK_MONOTONIC);
			} while (!in(child, line) && end - begin < 3000000000LL);
		}
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		took(end - begin < 3000000000LL ? end - begin : -1, end, 0);
	}
}
