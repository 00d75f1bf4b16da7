/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of observe.h: one open count a flow, how each flow ended, and the books kept of it. */
#ifndef NITY_TEST_OBSERVE_CASES_H
#define NITY_TEST_OBSERVE_CASES_H

#include "expect.h"

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
	/* From 2^34 ns (17 s) on. */
	for (__u32 bit = 34; bit < 64; bit++) {
		EXPECT(nity_histogram_bucket(1ULL << bit) == NITY_HISTOGRAM_BUCKETS - 1);
		EXPECT(nity_histogram_bucket((1ULL << bit) - 1 + (1ULL << bit)) ==
		       NITY_HISTOGRAM_BUCKETS - 1);
	}
}

static __u64 ends_of(const struct nity_backend_counters *c)
{
	return c->refused + c->timed_out + c->unreachable + c->abandoned + c->reset + c->closed +
	       c->unsent;
}

/* Those that leave the flow open come first. */
enum { SYN, REPEATED, ESTABLISHED, END_RESET, END_ORDERLY, RELEASE, ACTIONS };

static void act(struct node *node, struct nity_model_socket *socket, int action)
{
	switch (action) {
	case SYN:
		nity_model_connecting(&node->model, socket);
		break;
	case REPEATED:
		nity_model_repeated(&node->model, socket);
		break;
	case ESTABLISHED:
		nity_model_established(&node->model, socket);
		break;
	case END_RESET:
		nity_model_ended(&node->model, socket, 1, 0, 0);
		break;
	case END_ORDERLY:
		nity_model_ended(&node->model, socket, 1, 0, 1);
		break;
	case RELEASE:
		nity_model_release(&node->model, socket, 0);
		break;
	}
}

/* The connect program alone: what TCP does then is told by the callbacks that follow. */
static __u32 dial_without_syn(struct node *node, struct nity_model_socket *socket)
{
	struct nity_model_address address = { VIP(1), htons(80) };

	EXPECT(nity_model_dial(&node->model, socket, &address) == 0);
	EXPECT(socket->flow.phase == NITY_FLOW_PICKED);
	return ntohl(address.address) - 0x7f000000u;
}

/*
 * Every sequence of four callbacks, in any order, repeated or missing. A flow whose SYN
 * was not sent when it ended says nothing of its backend.
 */
static void open_counts_never_leak(struct node *node)
{
	for (int code = 0; code < ACTIONS * ACTIONS * ACTIONS * ACTIONS; code++) {
		struct nity_model_socket socket = { .socket_cookie = 1, .netns_cookie = 1 };
		__u32 backend = dial_without_syn(node, &socket);
		struct nity_backend_counters before = node->counts[backend];
		const struct nity_backend_counters *counts = &node->counts[backend];
		struct nity_backend_clients clients = node->clients[backend];
		int settled = 0, sent = 0;

		EXPECT(node->live[backend].open == 1);
		for (int i = 0, rest = code; i < 4; i++, rest /= ACTIONS) {
			act(node, &socket, rest % ACTIONS);
			sent |= !settled &&
				(rest % ACTIONS == SYN || rest % ACTIONS == ESTABLISHED);
			settled |= rest % ACTIONS > ESTABLISHED;
			EXPECT(node->live[backend].open == !settled);
			EXPECT(ends_of(counts) - ends_of(&before) == (__u64)settled);
			if (sent)
				continue;
			EXPECT(counts->unsent - before.unsent == (__u64)settled);
			EXPECT(node->live[backend].failures == 0);
			EXPECT(!memcmp(&node->clients[backend], &clients, sizeof(clients)));
		}
		act(node, &socket, RELEASE);
		EXPECT(node->live[backend].open == 0);
		EXPECT(ends_of(counts) - ends_of(&before) == 1);
		EXPECT(counts->unsent - before.unsent == (__u64)!sent);
		node->live[backend].failures = node->live[backend].accuser_failures = 0;
	}
}

static void a_redial_settles_the_flow_before(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 first = node_dial(node, &socket, 1), second = node_dial(node, &socket, 1);

	EXPECT(first != second);
	EXPECT(node->live[first].open == 0 && node->live[second].open == 1);
	EXPECT(node->counts[first].abandoned == 1);
	/* One that is refused settles it too. */
	node->control[1].admission_mode = NITY_ADMISSION_HARD;
	EXPECT(node_dial(node, &socket, 1) == 0);
	EXPECT(node->live[second].open == 0 && node->counts[second].abandoned == 1);
}

static void an_established_flow_is_timed_once(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend = node_dial(node, &socket, 1);
	struct nity_backend_counters *counts = &node->counts[backend];
	__u32 histogram = 0;

	node->live[backend].failures = 1;
	node->model.now_ns += 3 * MS;
	nity_model_established(&node->model, &socket);
	node->model.now_ns += 3 * MS;
	nity_model_established(&node->model, &socket);
	EXPECT(counts->established == 1 && counts->connect_ns == 3 * MS);
	for (int i = 0; i < NITY_HISTOGRAM_BUCKETS; i++)
		histogram += counts->connect_histogram[i];
	EXPECT(histogram == 1);
	EXPECT(counts->connect_histogram[nity_histogram_bucket(3 * MS)] == 1);
	/* An answer clears the backend of what it failed before. */
	EXPECT(node->live[backend].failures == 0);
}

static void ends_are_told_apart(struct node *node)
{
	static const struct {
		int established;
		__u32 segments_in, retransmits;
		int orderly;
		enum nity_counter end;
		size_t at;
		__u32 failures;
	} cases[] = {
#define AT(field) offsetof(struct nity_backend_counters, field)
		{ 0, 1, 0, 0, NITY_ENDED_REFUSED, AT(refused), 1 },
		{ 0, 1, 3, 0, NITY_ENDED_REFUSED, AT(refused), 1 },
		{ 0, 0, 6, 0, NITY_ENDED_TIMED_OUT, AT(timed_out), 1 },
		{ 0, 0, 0, 0, NITY_ENDED_UNREACHABLE, AT(unreachable), 1 },
		{ 1, 9, 0, 0, NITY_ENDED_RESET, AT(reset), 0 },
		{ 1, 9, 0, 1, NITY_ENDED_CLOSED, AT(closed), 0 },
#undef AT
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct nity_model_socket socket = { .socket_cookie = 1 };
		__u64 before = node->counters[cases[i].end];
		__u32 backend = node_dial(node, &socket, 1);
		struct nity_backend_counters *counts = &node->counts[backend];

		memset(counts, 0, sizeof(*counts));
		if (cases[i].established)
			nity_model_established(&node->model, &socket);
		nity_model_ended(&node->model, &socket, cases[i].segments_in, cases[i].retransmits,
				 cases[i].orderly);
		EXPECT(node->counters[cases[i].end] == before + 1);
		EXPECT(*(__u64 *)((char *)counts + cases[i].at) == 1);
		EXPECT(ends_of(counts) == 1);
		EXPECT(node->live[backend].failures == cases[i].failures);
		node->live[backend].failures = node->live[backend].accuser_failures = 0;
	}
}

/* How long a client waits is its own affair: a timer of 1 ms is no failure of a backend. */
static void giving_up_is_no_failure(struct node *node)
{
	static const struct {
		__u64 waited_ns;
		__u32 unheard;
	} cases[] = {
		{ 0, 0 },
		{ NITY_PATIENCE_NS - 1, 0 },
		{ NITY_PATIENCE_NS, 1 },
		{ 100 * NITY_PATIENCE_NS, 1 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct nity_model_socket socket = { .socket_cookie = 1 };
		__u32 backend = node_dial(node, &socket, 1);
		struct nity_backend_counters *counts = &node->counts[backend];
		struct nity_lane *lane = &node->clients[backend].lane[socket.flow.lane];

		memset(counts, 0, sizeof(*counts));
		lane->failed = 0;
		node->model.now_ns += cases[i].waited_ns;
		nity_model_release(&node->model, &socket, 0);
		EXPECT(node->live[backend].failures == 0);
		EXPECT(node->live[backend].accuser_failures == 0);
		EXPECT(node->counters[NITY_ENDED_ABANDONED] == i + 1);
		EXPECT(counts->abandoned == 1 && counts->unheard == cases[i].unheard);
		EXPECT(lane->failed == cases[i].unheard);
		node->field.last_agent_seen_ns = node->model.now_ns;
	}
}

/* Not when the client's patience ends, nor TCP's: the second one makes a suspect. */
static void a_repeated_syn_is_a_failure_at_once(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend = node_dial(node, &socket, 1);
	struct nity_backend_live *live = &node->live[backend];
	__u32 client = socket.flow.client;

	nity_model_repeated(&node->model, &socket);
	EXPECT(live->failures == 1);
	EXPECT(nity_standing(&node->field, live, 0, client, node->model.now_ns) ==
	       NITY_STANDING_CLEAR);
	nity_model_repeated(&node->model, &socket);
	EXPECT(live->failures == 2);
	EXPECT(nity_standing(&node->field, live, 0, client, node->model.now_ns) ==
	       NITY_STANDING_SUSPECT);
	/* It is the end that is counted, once. */
	EXPECT(ends_of(&node->counts[backend]) == 0 && live->open == 1);
	EXPECT(node->clients[backend].lane[socket.flow.lane].failed == 0);
	nity_model_ended(&node->model, &socket, 0, 2, 0);
	EXPECT(node->counts[backend].timed_out == 1 && live->failures == 3);
	EXPECT(node->clients[backend].lane[socket.flow.lane].failed == 1);
	/* What is sent again of an established connection, or of one that is over, is none. */
	nity_model_repeated(&node->model, &socket);
	EXPECT(live->failures == 3);
	backend = node_dial(node, &socket, 1);
	nity_model_established(&node->model, &socket);
	nity_model_repeated(&node->model, &socket);
	EXPECT(node->live[backend].failures == 0);
}

/* TCP Fast Open sends its SYN with the first bytes, which may be long after connect(). */
static void connect_time_counts_from_the_syn(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend = dial_without_syn(node, &socket);

	node->model.now_ns += SECOND;
	nity_model_connecting(&node->model, &socket);
	EXPECT(socket.flow.phase == NITY_FLOW_CONNECTING);
	node->model.now_ns += 3 * MS;
	/* Only the first SYN counts. */
	nity_model_connecting(&node->model, &socket);
	nity_model_established(&node->model, &socket);
	EXPECT(node->counts[backend].connect_ns == 3 * MS);
	nity_model_connecting(&node->model, &socket);
	EXPECT(socket.flow.phase == NITY_FLOW_ESTABLISHED);
	nity_model_release(&node->model, &socket, 0);
	/* It waits for the network no longer than its SYN does. */
	backend = dial_without_syn(node, &socket);
	node->model.now_ns += NITY_PATIENCE_NS;
	nity_model_connecting(&node->model, &socket);
	nity_model_release(&node->model, &socket, 0);
	EXPECT(node->counts[backend].abandoned == 1 && node->counts[backend].unheard == 0);
	/* Opened ahead and never used. */
	backend = dial_without_syn(node, &socket);
	node->model.now_ns += NITY_PATIENCE_NS;
	nity_model_release(&node->model, &socket, 0);
	EXPECT(node->counts[backend].unsent == 1 && node->counts[backend].abandoned == 0);
	EXPECT(node->counters[NITY_ENDED_UNSENT] == 1);
}

#define FLOWS 64

/* At every instant the integral of `open`; when all is over, the sum of the durations. */
static void occupancy_is_the_integral_of_open(struct node *node)
{
	struct nity_model_socket sockets[FLOWS] = { 0 };
	struct nity_backend_live *live = &node->live[1];
	__u64 started_ns[FLOWS] = { 0 }, durations = 0, integral = 0;

	owners_fill(node->b[0].owner, 1);
	for (int step = 0; step < 2000; step++) {
		int i = random_below(FLOWS);
		__u64 passed = random_below(20 * MS);

		integral += live->open * passed;
		node->model.now_ns += passed;
		EXPECT(live->occupancy_ns + live->open * node->model.now_ns == integral);
		if (started_ns[i]) {
			nity_model_release(&node->model, &sockets[i], 0);
			durations += node->model.now_ns - started_ns[i];
			started_ns[i] = 0;
		} else if (step < 1900) {
			EXPECT(node_dial(node, &sockets[i], 1) == 1);
			started_ns[i] = node->model.now_ns;
			node->field.last_agent_seen_ns = node->model.now_ns;
		}
	}
	for (int i = 0; i < FLOWS; i++)
		if (started_ns[i]) {
			nity_model_release(&node->model, &sockets[i], 0);
			durations += node->model.now_ns - started_ns[i];
		}
	EXPECT(live->open == 0);
	EXPECT(live->occupancy_ns == durations && durations == integral);
}

static void old_generations_settle_nothing(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend = node_dial(node, &socket, 1);

	/* The index went to another endpoint while the socket lived. */
	node->backends[backend].generation++;
	node->live[backend].open = 3;
	nity_model_established(&node->model, &socket);
	nity_model_ended(&node->model, &socket, 1, 0, 0);
	nity_model_release(&node->model, &socket, 0);
	EXPECT(node->live[backend].open == 3);
	EXPECT(ends_of(&node->counts[backend]) == 0);
	EXPECT(node->counts[backend].established == 0);
	EXPECT(node->live[backend].failures == 0);
}

#define RACES 20000

struct shared_flows {
	struct nity_field_state *field;
	struct nity_flow flows[RACES];
	struct nity_backend_live live;
	struct nity_backend_counters counters;
	struct nity_lane lane;
	__u32 racers;
};

/* Each racer calls back in an order of its own. */
static void *settle_all(void *arg)
{
	static const struct nity_ending ending = { .segments_in = 1 };
	struct shared_flows *shared = arg;
	struct nity_ledger ledger = {
		.field = shared->field,
		.live = &shared->live,
		.counters = &shared->counters,
		.lane = &shared->lane,
	};
	__u32 racer = __sync_fetch_and_add(&shared->racers, 1);

	wait_for_racers();
	for (int i = 0; i < RACES; i++) {
		struct nity_flow *flow = &shared->flows[i];

		if ((racer + i) % 5 != 0)
			nity_observe_syn(flow, 2 * MS);
		if ((racer + i) % 3 == 0)
			nity_observe_established(flow, &ledger, 2 * MS);
		if ((racer + i) % 2)
			nity_observe_release(flow, &ledger, 2 * MS);
		else
			nity_observe_end(flow, &ledger, &ending, 2 * MS);
	}
	return NULL;
}

static void a_race_settles_each_flow_once(struct node *node)
{
	static struct shared_flows shared;

	for (int round = 0; round < 8; round++) {
		memset(&shared, 0, sizeof(shared));
		shared.field = &node->field;
		for (int i = 0; i < RACES; i++)
			nity_observe_open(&shared.flows[i], &shared.live, MS);
		race(settle_all, &shared);
		EXPECT(shared.live.open == 0);
		EXPECT(shared.live.occupancy_ns == RACES * MS);
		EXPECT(ends_of(&shared.counters) == RACES);
	}
}

static const struct test observe_tests[] = {
	{ "histogram: every edge", histogram_edges },
	{ "open counts: never leak, in any order of callbacks", open_counts_never_leak },
	{ "open counts: another dial on the socket settles the one before",
	  a_redial_settles_the_flow_before },
	{ "open counts: a race settles each flow once", a_race_settles_each_flow_once },
	{ "established: timed once, and clears the backend", an_established_flow_is_timed_once },
	{ "ends: told apart by what TCP saw", ends_are_told_apart },
	{ "abandoned: giving up is no failure, however late", giving_up_is_no_failure },
	{ "repeated: an unanswered SYN is a failure at once", a_repeated_syn_is_a_failure_at_once },
	{ "unsent: connect time counts from the SYN, and without one nothing does",
	  connect_time_counts_from_the_syn },
	{ "occupancy: the integral of the open count", occupancy_is_the_integral_of_open },
	{ "generation: an old flow settles nothing of a new endpoint",
	  old_generations_settle_nothing },
};

#endif
