/* The wall clock, SHIFTED_CLOCK_MS milliseconds off. Clocks that only measure how long something takes are left alone. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long long shift_ms(void) {
    const char *text = getenv("SHIFTED_CLOCK_MS");
    return text ? atoll(text) : 0;
}

static void shift(long *seconds, long *parts, long parts_per_ms) {
    long long ms = shift_ms(), whole = ms / 1000;
    long rest = (long)(ms % 1000) * parts_per_ms;
    *seconds += (long)whole;
    *parts += rest;
    if (*parts < 0) {
        *parts += 1000 * parts_per_ms;
        *seconds -= 1;
    } else if (*parts >= 1000 * parts_per_ms) {
        *parts -= 1000 * parts_per_ms;
        *seconds += 1;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(&now->tv_sec, &now->tv_nsec, 1000000);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact))
        return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (place)
        *place = exact.tv_sec;
    return exact.tv_sec;
}
