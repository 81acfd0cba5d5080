// procs: what the kernel asks of a placement pass.
//   scan            list /proc and read the stat of every process, and find descendants by their parents
//   move FILE PIDS  write each pid of the file PIDS into FILE, in one burst
// Answer: CPU ns, wall ns, processes.
#include "floor.h"

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

// scan gives the number of processes that have a parent in the list: finding it for each is what descending needs.
static long scan(void) {
	static int pids[1 << 20], parents[1 << 20];
	static char buf[1 << 16], text[1024];
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	long got, found = 0;
	while ((got = syscall(SYS_getdents64, proc, buf, sizeof buf)) > 0)
		for (long at = 0; at < got;) {
			struct dirent64 *e = (void *)(buf + at);
			at += e->d_reclen;
			if (e->d_name[0] < '0' || e->d_name[0] > '9')
				continue;
			char file[300];
			snprintf(file, sizeof file, "%s/stat", e->d_name);
			int fd = openat(proc, file, O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				continue;
			ssize_t len = read(fd, text, sizeof text - 1);
			close(fd);
			if (len <= 0)
				continue;
			text[len] = 0;
			char *end = strrchr(text, ')'); // proc_pid_stat(5): the name may hold anything
			pids[n] = atoi(e->d_name);
			parents[n++] = atoi(end + 4);
		}
	close(proc);
	for (int i = 0; i < n; i++) // /proc lists pids in ascending order
		found += bsearch(&parents[i], pids, n, sizeof *pids, compare) != NULL;
	return found;
}

static long move(const char *file, char **pids, int n) {
	long moved = 0;
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		die(file);
	for (int i = 0; i < n; i++)
		moved += write(fd, pids[i], strlen(pids[i])) > 0;
	close(fd);
	return moved;
}

int main(void) {
	mortal();
	say("ready");
	for (;;) {
		char *what = strtok(command(), " "), *file = strtok(NULL, " "), *list = strtok(NULL, " ");
		int n = 0;
		char **pids = list ? lines(list, &n) : NULL;
		int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		long count = !strcmp(what, "scan") ? scan() : move(file, pids, n);
		took(now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - wall, count);
	}
}
