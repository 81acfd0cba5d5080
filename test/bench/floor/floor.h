// What the floor programs share. Each does the least work that the kernel allows for a job, speaks lines on its standard
// input and output, and ends with its standard input, or with the process that started it.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// now reads a clock in nanoseconds. CLOCK_PROCESS_CPUTIME_ID counts all threads (clock_gettime(2)).
static inline int64_t now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline void die(const char *what) {
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

// mortal ends this process with its parent (prctl(2), PR_SET_PDEATHSIG).
static inline void mortal(void) { prctl(PR_SET_PDEATHSIG, SIGKILL); }

// lines reads a file of one path a line.
static inline char **lines(const char *file, int *n) {
	FILE *f = fopen(file, "r");
	if (!f)
		die(file);
	char **list = NULL, *line = NULL;
	size_t size = 0;
	ssize_t len;
	for (*n = 0; (len = getline(&line, &size, f)) > 0; (*n)++) {
		line[strcspn(line, "\n")] = 0;
		list = realloc(list, (*n + 1) * sizeof *list);
		list[*n] = strdup(line);
	}
	fclose(f);
	return list;
}

// command reads the next line from standard input; it ends the program at the end of it.
static inline char *command(void) {
	static char line[65536];
	if (!fgets(line, sizeof line, stdin))
		exit(0);
	line[strcspn(line, "\n")] = 0;
	return line;
}

static inline void say(const char *text) {
	puts(text);
	fflush(stdout);
}

static inline void took(int64_t cpu, int64_t wall, long count) {
	printf("%lld %lld %ld\n", (long long)cpu, (long long)wall, count);
	fflush(stdout);
}
