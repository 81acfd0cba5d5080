// timer OFFSET_MS: a bare thread that wakes OFFSET_MS after the start of each second of the wall clock.
// For each wake-up a line: how late it was, in ns.
#include "floor.h"

int main(int argc, char **argv) {
	mortal();
	long offset = argc == 2 ? atol(argv[1]) * 1000000 : 0;
	say("ready");
	for (;;) {
		struct timespec t;
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_sec += t.tv_nsec >= offset;
		t.tv_nsec = offset;
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
		printf("%lld\n", (long long)(now(CLOCK_REALTIME) - (t.tv_sec * 1000000000LL + t.tv_nsec)));
		fflush(stdout);
	}
}
