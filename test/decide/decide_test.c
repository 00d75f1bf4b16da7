// SPDX-License-Identifier: GPL-2.0
/* The decision core, case by case. Speaks TAP. */
#include "plane.h"

static int failures_here;
static int tests_run;
static int tests_failed;

#define EXPECT(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
			failures_here++;                                                           \
		}                                                                                  \
	} while (0)

static __u64 cookies = 1;

static __u32 dial(struct node *node, __u32 route)
{
	struct nity_model_socket socket = { .socket_cookie = cookies++, .netns_cookie = 1 };

	return node_dial(node, &socket, route);
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

	(void)node;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		EXPECT(nity_failsafe(cases[i].age_ns, 3 * SECOND, 15 * SECOND) == cases[i].mode);
}

static void posture_reads_time_and_override(struct node *node)
{
	struct nity_posture posture;
	struct nity_rt_control *control = &node->control[1];

	node->field.epoch = 4;
	nity_posture(&posture, &node->field, control, 1000 * SECOND);
	EXPECT(posture.epoch == 4);
	/* A heartbeat from the future is fresh. */
	nity_posture(&posture, &node->field, control, 900 * SECOND);
	EXPECT(posture.failsafe_mode == NITY_FAILSAFE_NORMAL);
	nity_posture(&posture, &node->field, control, 1004 * SECOND);
	EXPECT(posture.failsafe_mode == NITY_FAILSAFE_HOLD && posture.epoch == 3);

	control->admission_mode = NITY_ADMISSION_HARD;
	nity_posture(&posture, &node->field, control, 1004 * SECOND);
	EXPECT(posture.admission_mode == NITY_ADMISSION_HARD);
	nity_posture(&posture, &node->field, control, 1020 * SECOND);
	EXPECT(posture.admission_mode == NITY_ADMISSION_SOFT);

	control->override_word = ((1030 * SECOND) & ~3ULL) | NITY_ADMISSION_HARD;
	nity_posture(&posture, &node->field, control, 1020 * SECOND);
	EXPECT(posture.admission_mode == NITY_ADMISSION_HARD);
	control->admission_mode = NITY_ADMISSION_NORMAL;
	nity_posture(&posture, &node->field, control, 1030 * SECOND);
	EXPECT(posture.admission_mode == NITY_ADMISSION_NORMAL);
}

static void bucket_gives_burst_then_rate(struct node *node)
{
	__u64 bucket = 0, now = 1000 * SECOND;
	int taken = 0;

	(void)node;
	for (int i = 0; i < 20; i++)
		taken += nity_take_token(&bucket, now, 10 * MS, 50 * MS) == NITY_TOKEN_TAKEN;
	EXPECT(taken == 5);
	for (int i = 0; i < 100; i++) {
		now += MS;
		taken += nity_take_token(&bucket, now, 10 * MS, 50 * MS) == NITY_TOKEN_TAKEN;
	}
	EXPECT(taken == 15);
	/* Idle time saves up the burst and no more. */
	now += 1000 * SECOND;
	taken = 0;
	for (int i = 0; i < 20; i++)
		taken += nity_take_token(&bucket, now, 10 * MS, 50 * MS) == NITY_TOKEN_TAKEN;
	EXPECT(taken == 5);
}

static void histogram_edges(struct node *node)
{
	(void)node;
	EXPECT(nity_histogram_bucket(0) == 0);
	EXPECT(nity_histogram_bucket(1023) == 0);
	for (__u32 i = 1; i < NITY_HISTOGRAM_BUCKETS - 1; i++) {
		__u64 start = 1ULL << (NITY_HISTOGRAM_SHIFT + i - 1);

		EXPECT(nity_histogram_bucket(start) == i);
		EXPECT(nity_histogram_bucket(2 * start - 1) == i);
	}
	EXPECT(nity_histogram_bucket(1ULL << 41) == 31);
	EXPECT(nity_histogram_bucket(1ULL << 50) == 31);
	EXPECT(nity_histogram_bucket(~0ULL) == 31);
}

static void gear_gives_exact_shares(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	for (int i = 0; i < 3 * 64; i++)
		met[dial(node, 1)]++;
	for (int i = 1; i <= 4; i++)
		EXPECT(met[i] == 48);
}

static void twin_prefers_the_idler(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	node->control[1].gear = NITY_GEAR_TWIN;
	node->live[1].open = 1000;
	for (int i = 0; i < 256; i++)
		met[dial(node, 1)]++;
	/* Both draws must fall on the busy one: 1 in 16. */
	EXPECT(met[1] > 0 && met[1] < 40);
	EXPECT(node->counters[NITY_PICKED_TWIN] > 32);
}

static void twin_weighs_by_slot_share(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	node->control[1].gear = NITY_GEAR_TWIN;
	/* 1 is twice as large and holds twice as much: it is not the busier one. */
	for (int i = 1; i <= 4; i++) {
		node->live[i].open = i == 1 ? 20000 : 10000;
		node->backends[i].slots[1] = i == 1 ? 32 : 16;
	}
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] >= 12);
}

static void twin_never_lets_the_isolated_in(struct node *node)
{
	int met = 0;

	node->control[1].gear = NITY_GEAR_TWIN;
	node->backends[2].state = NITY_BACKEND_ISOLATED;
	/* It owns no slot of the gear but many of the twin's ring: it must not win. */
	for (int slot = 0; slot < 64; slot += 2)
		node->b[0].owner[slot] = 1;
	for (int slot = 1; slot < 64; slot += 2)
		node->b[0].owner[slot] = 2;
	node->live[1].open = 1000;
	for (int i = 0; i < 64; i++) {
		/* Only even turns draw 1 first. */
		node->control[1].turns = 2 * i;
		met += dial(node, 1) == 2;
	}
	EXPECT(met == 0);
}

static void boundary_is_never_crossed(struct node *node)
{
	static const struct {
		__u32 owner;
		enum nity_counter reason;
	} cases[] = {
		{ 5, NITY_REFUSED_BOUNDARY },
		{ 12, NITY_REFUSED_BOUNDARY },
		{ TEST_BACKENDS, NITY_REFUSED_BOUNDARY },
		{ ~0u, NITY_REFUSED_BOUNDARY },
		{ NITY_NONE, NITY_REFUSED_INCOMPLETE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		__u64 before = node->counters[cases[i].reason];

		for (int slot = 0; slot < 64; slot++)
			node->b[0].owner[slot] = cases[i].owner;
		EXPECT(dial(node, 1) == 0);
		EXPECT(node->counters[cases[i].reason] == before + 1);
	}
	EXPECT(node->counts[5].picks == 0);
}

static void suspects_are_passed_over(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	node->live[1].failures = 2;
	node->live[1].suspect_until_ns = 1001 * SECOND;
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 0 && met[0] == 0);
	/* Its time is over: one connect tries it, and until that ends no other does. */
	node->model.now_ns = 1001 * SECOND;
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 1);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PROBED] == 1);
}

static void suspicion_never_empties_a_route(struct node *node)
{
	for (int i = 1; i <= 4; i++) {
		node->live[i].failures = 5;
		node->live[i].suspect_until_ns = 2000 * SECOND;
	}
	for (int i = 0; i < 16; i++)
		EXPECT(dial(node, 1) != 0);
	EXPECT(node->control[1].turns == 16 * NITY_DRAWS);
}

static void suspicion_doubles_boundedly(struct node *node)
{
	EXPECT(nity_suspicion_ns(&node->field, 2) == SECOND);
	EXPECT(nity_suspicion_ns(&node->field, 3) == 2 * SECOND);
	EXPECT(nity_suspicion_ns(&node->field, 5) == 8 * SECOND);
	EXPECT(nity_suspicion_ns(&node->field, 5000) == 8 * SECOND);
}

static void retired_go_to_the_fallback_set(struct node *node)
{
	node->backends[1].state = NITY_BACKEND_RETIRED;
	for (int slot = 0; slot < 64; slot++) {
		node->b[0].owner[slot] = 1;
		node->fallback[0].owner[slot] = 2 + slot % 3;
	}
	for (int i = 0; i < 16; i++)
		EXPECT(dial(node, 1) >= 2);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 16);
}

static void incoherent_table_goes_to_the_fallback_set(struct node *node)
{
	node->field.table_epoch[1] = 0;
	EXPECT(dial(node, 1) != 0);
	node->field.table_epoch[1] = 5;
	EXPECT(dial(node, 1) != 0);
	EXPECT(node->counters[NITY_NOTED_REWRITTEN] == 2);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 2);
}

static void no_range_and_no_backends(struct node *node)
{
	node->control[1].slot_range[1] = 0;
	EXPECT(dial(node, 1) != 0);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 1);
	node->control[1].fallback_range = 0;
	EXPECT(dial(node, 1) == 0);
	EXPECT(node->counters[NITY_REFUSED_NO_BACKENDS] == 1);
}

static void fallback_is_the_flows_own(struct node *node)
{
	int seen[TEST_BACKENDS] = { 0 };

	node->model.now_ns = 1100 * SECOND;
	for (__u64 cookie = 1; cookie <= 64; cookie++) {
		struct nity_model_socket once = { .socket_cookie = cookie, .netns_cookie = 7 };
		struct nity_model_socket again = { .socket_cookie = cookie, .netns_cookie = 7 };
		__u32 first = node_dial(node, &once, 1);

		EXPECT(first && first == node_dial(node, &again, 1));
		seen[first]++;
	}
	for (int i = 1; i <= 4; i++)
		EXPECT(seen[i] > 0);
}

static void recall_honours_only_what_still_holds(struct node *node)
{
	struct nity_model_socket socket = { .netns_cookie = 9 };
	__u32 first, met;

	node->control[1].affinity_seconds = 60;
	first = node_dial(node, &socket, 1);
	for (int i = 0; i < 8; i++)
		EXPECT(node_dial(node, &socket, 1) == first);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 8);
	/* The index was given to another endpoint: the memory is not of it. */
	node->backends[first].generation++;
	met = node_dial(node, &socket, 1);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 8);
	node->backends[met].state = NITY_BACKEND_ISOLATED;
	node_dial(node, &socket, 1);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 8);
}

static void untouched_when_it_is_not_ours(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	struct nity_model_address address = { VIP(1), htons(81) };

	EXPECT(nity_model_connect(&node->model, &socket, &address) == 0);
	EXPECT(address.address == VIP(1) && address.port == htons(81));
	EXPECT(!socket.has_flow);
	for (int i = 0; i < NITY_MAX_COUNTERS; i++)
		EXPECT(node->counters[i] == 0);
}

enum { ESTABLISHED, END_RESET, END_ORDERLY, RELEASE, ACTIONS };

/* Every sequence of up to four callbacks, in any order, repeated or missing. */
static void open_counts_never_leak(struct node *node)
{
	for (int code = 0; code < ACTIONS * ACTIONS * ACTIONS * ACTIONS; code++) {
		struct nity_model_socket socket = { .socket_cookie = 1, .netns_cookie = 1 };
		__u32 backend = node_dial(node, &socket, 1);
		__u64 ends = 0;

		EXPECT(node->live[backend].open == 1);
		for (int i = 0, rest = code; i < 4; i++, rest /= ACTIONS) {
			switch (rest % ACTIONS) {
			case ESTABLISHED:
				nity_model_established(&node->model, &socket);
				break;
			case END_RESET:
				nity_model_ended(&node->model, &socket, 1, 0, 0);
				break;
			case END_ORDERLY:
				nity_model_ended(&node->model, &socket, 1, 0, 1);
				break;
			case RELEASE:
				nity_model_release(&node->model, &socket);
				break;
			}
			EXPECT(node->live[backend].open <= 1);
		}
		nity_model_release(&node->model, &socket);
		EXPECT(node->live[backend].open == 0);
		for (int i = 1; i <= 4; i++) {
			struct nity_backend_counters *c = &node->counts[i];

			ends += c->picks - c->refused - c->timed_out - c->unreachable -
				c->abandoned - c->reset - c->closed;
			node->live[i].failures = 0;
		}
		EXPECT(ends == 0);
	}
}

static void ends_are_told_apart(struct node *node)
{
	static const struct {
		int established;
		__u32 segments_in, retransmits;
		int orderly;
		enum nity_counter end;
		__u32 failures;
	} cases[] = {
		{ 0, 1, 0, 0, NITY_ENDED_REFUSED, 1 },	 { 0, 1, 3, 0, NITY_ENDED_REFUSED, 1 },
		{ 0, 0, 6, 0, NITY_ENDED_TIMED_OUT, 1 }, { 0, 0, 0, 0, NITY_ENDED_UNREACHABLE, 1 },
		{ 1, 9, 0, 0, NITY_ENDED_RESET, 0 },	 { 1, 9, 0, 1, NITY_ENDED_CLOSED, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nity_model_socket socket = { .socket_cookie = 1 };
		__u64 before = node->counters[cases[i].end];
		__u32 backend = node_dial(node, &socket, 1);

		if (cases[i].established)
			nity_model_established(&node->model, &socket);
		nity_model_ended(&node->model, &socket, cases[i].segments_in, cases[i].retransmits,
				 cases[i].orderly);
		EXPECT(node->counters[cases[i].end] == before + 1);
		EXPECT(node->live[backend].failures == cases[i].failures);
		node->live[backend].failures = 0;
	}
}

static void impatience_is_no_failure(struct node *node)
{
	struct nity_model_socket quick = { .socket_cookie = 1 }, patient = { .socket_cookie = 2 };
	__u32 backend = node_dial(node, &quick, 1);

	nity_model_release(&node->model, &quick);
	EXPECT(node->live[backend].failures == 0);
	backend = node_dial(node, &patient, 1);
	node->model.now_ns += NITY_SYN_PATIENCE_NS;
	nity_model_release(&node->model, &patient);
	EXPECT(node->live[backend].failures == 1);
	EXPECT(node->counters[NITY_ENDED_ABANDONED] == 2);
}

static void occupancy_is_the_integral_of_open(struct node *node)
{
	struct nity_model_socket first = { .socket_cookie = 1 }, second = { .socket_cookie = 2 };
	__u64 from;

	for (int slot = 0; slot < 64; slot++)
		node->b[0].owner[slot] = 1;
	from = node->live[1].occupancy_ns;
	node_dial(node, &first, 1);
	node->model.now_ns += 5 * MS;
	node_dial(node, &second, 1);
	node->model.now_ns += 7 * MS;
	nity_model_release(&node->model, &first);
	node->model.now_ns += 2 * MS;
	/* One still open: 12 + 9 ms so far. */
	EXPECT(node->live[1].occupancy_ns + node->live[1].open * node->model.now_ns - from ==
	       21 * MS);
	nity_model_release(&node->model, &second);
	EXPECT(node->live[1].occupancy_ns - from == 21 * MS);
}

static void old_generations_settle_nothing(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend = node_dial(node, &socket, 1);

	/* The index went to another endpoint while the socket lived. */
	node->backends[backend].generation++;
	node->live[backend].open = 3;
	nity_model_release(&node->model, &socket);
	EXPECT(node->live[backend].open == 3);
}

static const struct {
	const char *name;
	void (*run)(struct node *node);
} tests[] = {
	{ "failsafe: the thresholds are half-open", failsafe_thresholds },
	{ "posture: held epoch when stale, override above all", posture_reads_time_and_override },
	{ "bucket: the burst, then the rate, and idleness saves no more",
	  bucket_gives_burst_then_rate },
	{ "histogram: every edge", histogram_edges },
	{ "gear: exact shares", gear_gives_exact_shares },
	{ "twin: the idler of two wins", twin_prefers_the_idler },
	{ "twin: open connections count by slot share", twin_weighs_by_slot_share },
	{ "twin: never an isolated backend", twin_never_lets_the_isolated_in },
	{ "boundary: no slot leads out of the route", boundary_is_never_crossed },
	{ "suspects: passed over, then tried by one", suspects_are_passed_over },
	{ "suspects: never all of them, in three draws", suspicion_never_empties_a_route },
	{ "suspects: suspicion doubles, boundedly", suspicion_doubles_boundedly },
	{ "retired: the fallback set takes over", retired_go_to_the_fallback_set },
	{ "coherence: a table that is not its epoch's is not used",
	  incoherent_table_goes_to_the_fallback_set },
	{ "empty: no range falls back, no backends refuses", no_range_and_no_backends },
	{ "fallback: the same flow, the same backend", fallback_is_the_flows_own },
	{ "recall: only the same, admissible endpoint", recall_honours_only_what_still_holds },
	{ "not ours: untouched and uncounted", untouched_when_it_is_not_ours },
	{ "open counts: never leak, in any order of callbacks", open_counts_never_leak },
	{ "ends: told apart by what TCP saw", ends_are_told_apart },
	{ "abandoned: a failure only after patience", impatience_is_no_failure },
	{ "occupancy: the integral of the open count", occupancy_is_the_integral_of_open },
	{ "generation: an old flow settles nothing of a new endpoint",
	  old_generations_settle_nothing },
};

int main(void)
{
	static struct node node;

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		failures_here = 0;
		node_init(&node);
		tests[i].run(&node);
		tests_failed += failures_here > 0;
		printf("%s %d - %s\n", failures_here ? "not ok" : "ok", ++tests_run, tests[i].name);
	}
	return tests_failed > 0;
}
