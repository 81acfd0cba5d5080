// poke: changes things behind somebody's back and sees when they are put back.
//   value FILE BAD GOOD    write BAD into FILE and wait until it holds GOOD again
//   remove DIR GOOD        remove the cgroup DIR and wait until it is there again with GOOD in its cpu.shares
//   await FILE GOOD        wait until FILE holds GOOD
// Answer: the time it took in ns (-1: not within 3 s), and when it was seen by the monotonic clock. It waits by inotify, asleep.
#include "floor.h"
#include <libgen.h>
#include <poll.h>
#include <sys/inotify.h>

static int holds(const char *file, const char *good) {
	char text[64] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	return len > 0 && atol(text) == atol(good);
}

// settle waits for any event and looks, until the file is good. With eager it looks without a pause once the file exists: a
// cgroup that was made a moment ago is not watched yet.
static int settle(int in, const char *file, const char *good, int eager, int64_t until) {
	char buf[4096] __attribute__((aligned(8)));
	while (!holds(file, good)) {
		int64_t left = (until - now(CLOCK_MONOTONIC)) / 1000000;
		if (left <= 0)
			return 0;
		struct pollfd p = {in, POLLIN, 0};
		if (poll(&p, 1, eager && access(file, F_OK) == 0 ? 0 : (int)left) > 0 && read(in, buf, sizeof buf) < 0)
			return 0;
	}
	return 1;
}

int main(void) {
	mortal();
	say("ready");
	for (;;) {
		char *what = strtok(command(), " "), *path = strtok(NULL, " "), *bad = NULL, file[8192], watch[8192];
		int removing = !strcmp(what, "remove");
		if (!strcmp(what, "value"))
			bad = strtok(NULL, " ");
		char *good = strtok(NULL, " ");
		snprintf(file, sizeof file, removing ? "%s/cpu.shares" : "%s", path);
		snprintf(watch, sizeof watch, "%s", path);
		int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (inotify_add_watch(in, dirname(watch), removing ? IN_CREATE : IN_MODIFY) < 0)
			die(path);
		if (!strcmp(what, "await"))
			say("watching");
		int fd = bad ? open(file, O_WRONLY | O_CLOEXEC) : -1;
		int64_t begin = now(CLOCK_MONOTONIC);
		if (removing && rmdir(path) < 0)
			die(path);
		if (bad && write(fd, bad, strlen(bad)) < 0)
			die(file);
		int done = settle(in, file, good, removing, begin + 3000000000LL);
		int64_t end = now(CLOCK_MONOTONIC);
		if (fd >= 0)
			close(fd);
		close(in);
		took(done ? end - begin : -1, end, 0);
	}
}
