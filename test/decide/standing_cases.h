/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cases of decide.h: how a backend stands (isolated or suspect), and what
 * a flow meets that is not drawn by the gear: the fallback set, and what is remembered.
 */
#ifndef NITY_TEST_STANDING_CASES_H
#define NITY_TEST_STANDING_CASES_H

#include "expect.h"

/* Whatever door a connect comes by, an isolated backend is tried once in its drip. */
static void isolation_is_metered_by_the_drip(struct node *node)
{
	__u64 start = node->model.now_ns;
	int tried = 0;

	node->backends[1].state = NITY_BACKEND_ISOLATED;
	node->live[1].drip_ns = 2 * SECOND;
	node->live[1].suspect_until_ns = start + SECOND;
	for (int gear = NITY_GEAR_SINGLE; gear <= NITY_GEAR_BOUNDED; gear++) {
		node->control[1].gear = gear;
		for (int i = 0; i < 1000; i++) {
			node->model.now_ns += 5 * MS;
			node->field.last_agent_seen_ns = node->model.now_ns;
			tried += dial(node, 1) == 1;
		}
	}
	/* At 1, 3, 5, 7, 9, 11 and 13 s of the fifteen. */
	EXPECT(tried == 7);
	/* A dead agent's judgement does not outlive its field. */
	lose_the_agent(node);
	tried = 0;
	for (int i = 0; i < 256; i++)
		tried += dial(node, 1) == 1;
	EXPECT(tried > 10);
}

static void suspects_are_passed_over(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	make_suspect(node, 1);
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 0 && met[0] == 0);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PASSED] > 0);
	lose_the_agent(node);
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 0 && met[0] == 0);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 64);
}

static void suspicion_never_empties_a_route(struct node *node)
{
	for (int i = 1; i <= 4; i++)
		make_suspect(node, i);
	for (__u32 gear = NITY_GEAR_SINGLE; gear <= NITY_GEAR_BOUNDED; gear++) {
		node->control[1].gear = gear;
		node->control[1].turns = 0;
		for (int i = 0; i < 16; i++)
			EXPECT(dial(node, 1) != 0);
		EXPECT(node->control[1].turns == 16 * NITY_DRAWS);
	}
	lose_the_agent(node);
	for (int i = 0; i < 16; i++)
		EXPECT(dial(node, 1) != 0);
	/* Nobody was passed over in the end. */
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PASSED] == 0);
}

/* Three suspects in a row end the search, though the fourth slot's owner is clear. */
static void nobody_draws_a_fourth_time(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	make_suspect(node, 1);
	for (int slot = 0; slot < 64; slot++)
		node->b[0].owner[slot] = node->fallback[0].owner[slot] = slot % 4 ? 1 : 2;
	for (int turn = 0; turn < 64; turn++) {
		node->control[1].turns = turn;
		EXPECT(dial(node, 1) == (turn % 4 == 1 ? 1 : 2));
	}
	lose_the_agent(node);
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] > 0 && met[2] > met[1] && met[1] + met[2] == 64);
}

static void a_due_suspect_is_tried_by_one(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	make_suspect(node, 1);
	node->live[1].suspect_until_ns = node->model.now_ns;
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 1);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PROBED] == 1);
	/* Nothing came of it: after the next suspicion it is tried once more. */
	node->model.now_ns += SECOND - 1;
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 1);
	node->model.now_ns++;
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[1] == 2);
}

struct shared_probe {
	struct nity_field_state *field;
	struct nity_backend_live live;
	__u64 claimed;
};

static void *claim_all(void *arg)
{
	struct shared_probe *shared = arg;

	wait_for_racers();
	for (__u64 now = 0; now < 100 * SECOND; now += MS)
		if (nity_claim_probe(shared->field, &shared->live, 0, now))
			nity_add(&shared->claimed, 1);
	return NULL;
}

static void a_race_gives_one_probe_a_time(struct node *node)
{
	struct shared_probe shared = { .field = &node->field,
				       .live = { .failures = 2, .accusers = 2 } };

	race(claim_all, &shared);
	/* Racers' clocks differ by more than CPUs' do, so a claim may push the next one back. */
	EXPECT(shared.claimed > 0 && shared.claimed <= 100);
}

static void suspicion_doubles_boundedly(struct node *node)
{
	EXPECT(nity_suspicion_ns(&node->field, 2) == SECOND);
	EXPECT(nity_suspicion_ns(&node->field, 3) == 2 * SECOND);
	EXPECT(nity_suspicion_ns(&node->field, 5) == 8 * SECOND);
	for (__u32 failures = 5; failures < 5000; failures++)
		EXPECT(nity_suspicion_ns(&node->field, failures) == 8 * SECOND);
	EXPECT(nity_suspicion_ns(&node->field, ~0u) == 8 * SECOND);
	/* A success between the two reads leaves fewer than the threshold: still bounded. */
	EXPECT(nity_suspicion_ns(&node->field, 0) <= 8 * SECOND);
}

static void fallback_is_the_flows_own(struct node *node)
{
	int seen[TEST_BACKENDS] = { 0 };

	lose_the_agent(node);
	for (__u32 cookie = 1; cookie <= 64; cookie++) {
		struct nity_model_socket once = { .socket_cookie = cookie, .netns_cookie = 7 };
		struct nity_model_socket again = once;
		__u32 first = node_dial(node, &once, 1);

		/* What the gear does meanwhile, and which epoch it was, is no matter. */
		node->control[1].turns += 5;
		node->field.held_epoch ^= 1;
		node->model.now_ns += MS;
		EXPECT(first && first == node_dial(node, &again, 1));
		seen[first]++;
	}
	for (int i = 1; i <= 4; i++)
		EXPECT(seen[i] > 0);
	EXPECT(seen[0] == 0 && node->counters[NITY_PICKED_FALLBACK] == 128);
}

/* A client that binds its own source is the same flow on another socket. */
static void fallback_knows_a_bound_source(struct node *node)
{
	lose_the_agent(node);
	for (__u32 port = 1; port <= 64; port++) {
		struct nity_model_socket once = { .socket_cookie = port, .netns_cookie = 7 };
		struct nity_model_socket again = { .socket_cookie = 1000, .netns_cookie = 7 };

		once.sk.src_port = again.sk.src_port = port;
		/* Without its conntrack entry, which would answer first. */
		node->conntrack.used = 0;
		EXPECT(node_dial(node, &once, 1) == node_dial(node, &again, 1));
	}
	node->conntrack.used = 0;
}

enum memory { AFFINITY, CONNTRACK };

/* A client that dials twice with `change` made in between; whether it was recalled. */
static int recalled(struct node *node, enum memory memory,
		    void (*change)(struct node *node, __u32 backend))
{
	enum nity_counter by = memory == AFFINITY ? NITY_PICKED_AFFINITY : NITY_PICKED_CONNTRACK;
	struct nity_model_socket socket = { .netns_cookie = 9 };
	__u32 first, second;

	node_init(node);
	node->control[1].affinity_seconds = memory == AFFINITY ? 60 : 0;
	socket.sk.src_port = memory == CONNTRACK ? 700 : 0;
	first = node_dial(node, &socket, 1);
	if (change)
		change(node, first);
	second = node_dial(node, &socket, 1);
	EXPECT(second != 0);
	EXPECT((second == first) == (node->counters[by] == 1));
	return second == first;
}

static void reuse_index(struct node *node, __u32 backend)
{
	node->backends[backend].generation++;
}

static void give_away(struct node *node, __u32 backend)
{
	node->backends[backend].route = HANDLE(2);
}

static void set_degraded(struct node *node, __u32 backend)
{
	node->backends[backend].state = NITY_BACKEND_DEGRADED;
}

static void set_isolated(struct node *node, __u32 backend)
{
	node->backends[backend].state = NITY_BACKEND_ISOLATED;
}

static void set_retired(struct node *node, __u32 backend)
{
	node->backends[backend].state = NITY_BACKEND_RETIRED;
}

static void make_due(struct node *node, __u32 backend)
{
	make_suspect(node, backend);
	node->live[backend].suspect_until_ns = 0;
}

static void recall_honours_only_what_still_holds(struct node *node)
{
	for (enum memory memory = AFFINITY; memory <= CONNTRACK; memory++) {
		EXPECT(recalled(node, memory, NULL));
		EXPECT(recalled(node, memory, set_degraded));
		/* The gear's next draw is another backend, so a failed recall moves on. */
		EXPECT(!recalled(node, memory, reuse_index));
		EXPECT(!recalled(node, memory, give_away));
		EXPECT(!recalled(node, memory, set_isolated));
		EXPECT(!recalled(node, memory, set_retired));
		EXPECT(!recalled(node, memory, make_suspect));
		/* A probe is for the gear to give. */
		EXPECT(!recalled(node, memory, make_due));
	}
}

static void affinity_expires_and_is_of_one_route(struct node *node)
{
	struct nity_model_socket socket = { .netns_cookie = 9 };
	__u32 first;

	node->control[1].affinity_seconds = node->control[2].affinity_seconds = 60;
	first = node_dial(node, &socket, 1);
	EXPECT(node_dial(node, &socket, 2) > 4);
	node->model.now_ns += 60 * SECOND - 1;
	EXPECT(node_dial(node, &socket, 1) == first);
	/* That dial began the time anew. */
	node->model.now_ns += 60 * SECOND - 1;
	EXPECT(node_dial(node, &socket, 1) == first);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 2);
	node->model.now_ns += 60 * SECOND;
	node_dial(node, &socket, 1);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 2);
}

static const struct test standing_tests[] = {
	{ "isolation: metered by the drip, until the field is lost",
	  isolation_is_metered_by_the_drip },
	{ "suspects: passed over, in the fallback set too", suspects_are_passed_over },
	{ "suspects: never all of them, in three draws", suspicion_never_empties_a_route },
	{ "suspects: nobody draws a fourth time", nobody_draws_a_fourth_time },
	{ "suspects: one that is due is tried by one", a_due_suspect_is_tried_by_one },
	{ "suspects: a race gives one probe a time", a_race_gives_one_probe_a_time },
	{ "suspects: suspicion doubles, boundedly", suspicion_doubles_boundedly },
	{ "fallback: the same flow, the same backend", fallback_is_the_flows_own },
	{ "fallback: a bound source is the flow", fallback_knows_a_bound_source },
	{ "recall: only the same, admissible endpoint", recall_honours_only_what_still_holds },
	{ "recall: affinity expires, and is of one route", affinity_expires_and_is_of_one_route },
};

#endif
