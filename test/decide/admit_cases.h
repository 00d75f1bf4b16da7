/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of admit.h: how stale the field is, whose mode is in force, and the bucket. */
#ifndef NITY_TEST_ADMIT_CASES_H
#define NITY_TEST_ADMIT_CASES_H

#include "expect.h"

static struct nity_posture posture_at(const struct node *node, __u64 now_ns)
{
	struct nity_posture posture;

	nity_posture(&posture, &node->field, &node->control[1], now_ns);
	return posture;
}

static void failsafe_thresholds(struct node *node)
{
	static const struct {
		__u64 age_ns;
		__u32 mode;
	} cases[] = {
		{ 0, NITY_FAILSAFE_NORMAL },
		{ 3 * SECOND - 1, NITY_FAILSAFE_NORMAL },
		{ 3 * SECOND, NITY_FAILSAFE_HOLD },
		{ 15 * SECOND - 1, NITY_FAILSAFE_HOLD },
		{ 15 * SECOND, NITY_FAILSAFE_FALLBACK },
		{ ~0ULL, NITY_FAILSAFE_FALLBACK },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		EXPECT(nity_failsafe(cases[i].age_ns, 3 * SECOND, 15 * SECOND) == cases[i].mode);
	for (size_t i = 0; i + 1 < COUNT(cases); i++)
		EXPECT(posture_at(node, 1000 * SECOND + cases[i].age_ns).failsafe_mode ==
		       cases[i].mode);
	/* Equal thresholds leave no room for HOLD. */
	EXPECT(nity_failsafe(SECOND - 1, SECOND, SECOND) == NITY_FAILSAFE_NORMAL);
	EXPECT(nity_failsafe(SECOND, SECOND, SECOND) == NITY_FAILSAFE_FALLBACK);
}

static void a_heartbeat_from_the_future_is_fresh(struct node *node)
{
	EXPECT(posture_at(node, 1000 * SECOND - 1).failsafe_mode == NITY_FAILSAFE_NORMAL);
	EXPECT(posture_at(node, 0).failsafe_mode == NITY_FAILSAFE_NORMAL);
}

static void a_stale_field_is_held(struct node *node)
{
	node->field.epoch = 4;
	EXPECT(posture_at(node, 1003 * SECOND - 1).epoch == 4);
	EXPECT(posture_at(node, 1003 * SECOND).epoch == 3);
	EXPECT(posture_at(node, 1015 * SECOND).epoch == 3);
}

static void fallback_opens_hard_to_soft(struct node *node)
{
	struct nity_rt_control *control = &node->control[1];

	control->admission_mode = NITY_ADMISSION_HARD;
	EXPECT(posture_at(node, 1015 * SECOND - 1).admission_mode == NITY_ADMISSION_HARD);
	EXPECT(posture_at(node, 1015 * SECOND).admission_mode == NITY_ADMISSION_SOFT);
	control->admission_mode = NITY_ADMISSION_SOFT;
	EXPECT(posture_at(node, 1015 * SECOND).admission_mode == NITY_ADMISSION_SOFT);
	control->admission_mode = NITY_ADMISSION_NORMAL;
	EXPECT(posture_at(node, 1015 * SECOND).admission_mode == NITY_ADMISSION_NORMAL);
}

static void an_override_wins_until_it_expires(struct node *node)
{
	struct nity_rt_control *control = &node->control[1];
	__u64 expiry_ns = 1030 * SECOND;

	for (__u32 agent = NITY_ADMISSION_NORMAL; agent <= NITY_ADMISSION_HARD; agent++) {
		for (__u32 own = NITY_ADMISSION_NORMAL; own <= NITY_ADMISSION_HARD; own++) {
			control->admission_mode = agent;
			control->override_word = expiry_ns | own;
			EXPECT(posture_at(node, 1000 * SECOND).admission_mode == own);
			/* Also over the opening of a dead agent's valve. */
			EXPECT(posture_at(node, expiry_ns - 1).admission_mode == own);
			node->field.last_agent_seen_ns = expiry_ns;
			EXPECT(posture_at(node, expiry_ns).admission_mode == agent);
			node->field.last_agent_seen_ns = 1000 * SECOND;
		}
	}
}

static void hard_refuses_and_soft_without_budget_does_not(struct node *node)
{
	node->control[1].admission_mode = NITY_ADMISSION_HARD;
	EXPECT(dial(node, 1) == 0);
	EXPECT(node->counters[NITY_REFUSED_HARD] == 1 && node->control[1].refused == 1);
	EXPECT(node->control[1].turns == 0);
	/* The other route's valve is its own. */
	EXPECT(dial(node, 2) != 0);
	node->control[1].admission_mode = NITY_ADMISSION_SOFT;
	for (int i = 0; i < 100; i++)
		EXPECT(dial(node, 1) != 0);
}

static int admitted_of(struct node *node, int dials)
{
	int admitted = 0;

	while (dials--)
		admitted += dial(node, 1) != 0;
	return admitted;
}

static void soft_uses_the_operators_budget_while_it_lasts(struct node *node)
{
	struct nity_rt_control *control = &node->control[1];

	control->admission_mode = NITY_ADMISSION_SOFT;
	control->token_ns = 10 * MS;
	control->burst_ns = 50 * MS;
	EXPECT(admitted_of(node, 20) == 5);
	EXPECT(node->counters[NITY_REFUSED_SOFT] == 15);

	node->model.now_ns += SECOND;
	control->override_word = (node->model.now_ns + SECOND) | NITY_ADMISSION_SOFT;
	control->override_token_ns = 10 * MS;
	control->override_burst_ns = 20 * MS;
	EXPECT(admitted_of(node, 20) == 2);
	node->model.now_ns += SECOND;
	EXPECT(admitted_of(node, 20) == 5);
}

static int tokens_of(__u64 *bucket, __u64 now, int tries)
{
	int taken = 0;

	while (tries--)
		taken += nity_take_token(bucket, now, 10 * MS, 50 * MS) == NITY_TOKEN_TAKEN;
	return taken;
}

static void bucket_gives_burst_then_rate(struct node *node)
{
	__u64 bucket = 0, now = 1000 * SECOND;
	int taken = 0;

	(void)node;
	EXPECT(tokens_of(&bucket, now, 20) == 5);
	EXPECT(tokens_of(&bucket, now + 10 * MS - 1, 1) == 0);
	for (int i = 0; i < 100; i++) {
		now += MS;
		taken += tokens_of(&bucket, now, 1);
	}
	EXPECT(taken == 10);
	/* Idle time saves up the burst and no more. */
	EXPECT(tokens_of(&bucket, now + 1000 * SECOND, 20) == 5);
}

/* Beside a bucket written the other way round, as a level that fills: the same answers. */
static void bucket_equals_a_filling_one(struct node *node)
{
	(void)node;
	for (int round = 0; round < 200; round++) {
		__u64 token_ns = 1 + random_below(20 * MS);
		__u64 burst_ns = token_ns * (1 + random_below(8)) + random_below(token_ns);
		__u64 bucket = 0, now = 1000 * SECOND, level = burst_ns;

		for (int i = 0; i < 500; i++) {
			__u64 idle = random_below(4) ? random_below(token_ns) :
						       random_below(2 * burst_ns);
			int taken;

			now += idle;
			level = level + idle > burst_ns ? burst_ns : level + idle;
			taken = nity_take_token(&bucket, now, token_ns, burst_ns) ==
				NITY_TOKEN_TAKEN;
			EXPECT(taken == (level >= token_ns));
			if (level >= token_ns)
				level -= token_ns;
		}
	}
}

#define TAKEN 300

/* In every window between two admissions, not only from the start. */
static void bucket_never_exceeds_burst_and_rate(struct node *node)
{
	(void)node;
	for (int round = 0; round < 50; round++) {
		__u64 token_ns = 1 + random_below(20 * MS), burst_ns = token_ns * random_below(10);
		__u64 taken_ns[TAKEN], bucket = 0, now = 1000 * SECOND;
		int taken = 0;

		for (int i = 0; i < 3000 && taken < TAKEN; i++) {
			now += random_below(8) ? random_below(token_ns) :
						 random_below(9 * burst_ns + 1);
			if (nity_take_token(&bucket, now, token_ns, burst_ns) == NITY_TOKEN_TAKEN)
				taken_ns[taken++] = now;
		}
		EXPECT((taken > 0) == (burst_ns > 0));
		for (int from = 0; from < taken; from++)
			for (int to = from; to < taken; to++)
				EXPECT((to - from + 1) * token_ns <=
				       burst_ns + taken_ns[to] - taken_ns[from]);
	}
}

/* More tries than tokens, by far more than contention can cost; all while racers overlap. */
#define RACE_TOKENS 1000000
#define RACE_TRIES 1000000

struct shared_bucket {
	__u64 bucket_ns;
	__u64 taken;
};

static void *drain(void *arg)
{
	struct shared_bucket *shared = arg;
	__u64 taken = 0;

	wait_for_racers();
	for (int i = 0; i < RACE_TRIES; i++)
		taken += nity_take_token(&shared->bucket_ns, SECOND, 10, 10 * RACE_TOKENS) ==
			 NITY_TOKEN_TAKEN;
	nity_add(&shared->taken, taken);
	return NULL;
}

static void bucket_is_exact_under_a_race(struct node *node)
{
	(void)node;
	/* A busy machine may run the racers one after the other: give them chances to meet. */
	for (int round = 0; round < 8; round++) {
		struct shared_bucket shared = { 0 };

		race(drain, &shared);
		EXPECT(shared.taken == RACE_TOKENS);
	}
}

static const struct test admit_tests[] = {
	{ "failsafe: the thresholds are half-open", failsafe_thresholds },
	{ "failsafe: a heartbeat from the future is fresh", a_heartbeat_from_the_future_is_fresh },
	{ "posture: a stale field is the held one", a_stale_field_is_held },
	{ "posture: FALLBACK opens a hard valve to soft", fallback_opens_hard_to_soft },
	{ "override: wins over every mode until its last nanosecond",
	  an_override_wins_until_it_expires },
	{ "admission: hard refuses, soft without a budget admits",
	  hard_refuses_and_soft_without_budget_does_not },
	{ "admission: the operator's budget lasts as long as the override",
	  soft_uses_the_operators_budget_while_it_lasts },
	{ "bucket: the burst, then the rate, and idleness saves no more",
	  bucket_gives_burst_then_rate },
	{ "bucket: the same answers as one that fills", bucket_equals_a_filling_one },
	{ "bucket: never more than burst and rate, in any window",
	  bucket_never_exceeds_burst_and_rate },
	{ "bucket: exact under a race", bucket_is_exact_under_a_race },
};

#endif
