/* SPDX-License-Identifier: GPL-2.0 */
/* What a case is, how it says that something is not so, and how cases run: as TAP. */
#ifndef NITY_TEST_EXPECT_H
#define NITY_TEST_EXPECT_H

#include <pthread.h>
#include <sched.h>

#include "plane.h"

struct test {
	const char *name;
	void (*run)(struct node *node);
};

static int failures_here;

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
			failures_here++;                                                           \
		}                                                                                  \
	} while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* SplitMix64 from a fixed seed: random cases that are the same in every run. */
static __u64 random_state;

static __u64 random_below(__u64 bound)
{
	random_state += 0x9e3779b97f4a7c15ULL;
	return nity_mix(random_state) % bound;
}

#define RACERS 4

static pthread_barrier_t race_start;

/* A racer's first call: nobody begins before all are there. */
static void wait_for_racers(void)
{
	pthread_barrier_wait(&race_start);
}

/* Runs `run` on several threads that start together; what they share is `shared`. */
static void race(void *(*run)(void *), void *shared)
{
	pthread_t threads[RACERS];

	if (pthread_barrier_init(&race_start, NULL, RACERS))
		abort();
	for (int i = 0; i < RACERS; i++)
		if (pthread_create(&threads[i], NULL, run, shared))
			abort();
	for (int i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&race_start);
}

/* Waits until so many are there, so that what they do next does race. */
static void meet_at(__u32 *there, __u32 parties)
{
	__sync_fetch_and_add(there, 1);
	for (int tries = 0; nity_read(*there) < parties; tries++)
		if (tries > 100)
			sched_yield();
}

/* Returns how many failed; each test gets a fresh node. */
static int run_tests(const struct test *tests, size_t count, int number)
{
	static struct node node;
	int failed = 0;

	for (size_t i = 0; i < count; i++) {
		failures_here = 0;
		random_state = 1;
		node_init(&node);
		tests[i].run(&node);
		failed += failures_here > 0;
		printf("%s %d - %s\n", failures_here ? "not ok" : "ok", number++, tests[i].name);
		/* A sanitizer's abort loses what is not written. */
		fflush(stdout);
	}
	return failed;
}

#endif
