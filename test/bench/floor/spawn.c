// spawn N GROUP: N processes that sleep, in trees of GROUP processes in which each has at most ten children.
// Answer: one line "LEADER PID..." for each tree, then "ready". They end with this program.
#include "floor.h"

static int group, out;

// grow is the process at place i of its tree. The pids go through a pipe: a line of it is written as a whole (pipe(7)).
static void grow(int i, int tree) {
	char line[64];
	int len, c;
born:
	mortal();
	len = snprintf(line, sizeof line, "%d %d %d\n", tree, i, getpid());
	if (write(out, line, len) != len)
		_exit(1);
	for (c = 10 * i + 1; c <= 10 * i + 10 && c < group; c++)
		if (fork() == 0) {
			i = c;
			goto born;
		}
	for (;;)
		pause();
}

int main(int argc, char **argv) {
	mortal();
	if (argc != 3)
		return 1;
	int n = atoi(argv[1]), ends[2];
	group = atoi(argv[2]);
	int *pids = calloc(n, sizeof *pids);
	if (pipe(ends) < 0)
		die("pipe");
	out = ends[1];
	for (int tree = 0; tree < n / group; tree++)
		if (fork() == 0) {
			close(ends[0]);
			grow(0, tree);
		}
	close(ends[1]);
	FILE *in = fdopen(ends[0], "r");
	int tree, i, pid;
	for (int k = 0; k < n / group * group; k++)
		if (fscanf(in, "%d %d %d", &tree, &i, &pid) == 3)
			pids[tree * group + i] = pid;
	for (tree = 0; tree < n / group; tree++) {
		for (i = 0; i < group; i++)
			printf(i ? " %d" : "%d", pids[tree * group + i]);
		puts("");
	}
	say("ready");
	for (;;)
		command();
}
