/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of connects that are only observed: what is judged of backends is not acted upon. */
#ifndef NITY_TEST_OBSERVED_CASES_H
#define NITY_TEST_OBSERVED_CASES_H

#include "expect.h"

#define OBSERVED_DIALS 6400

static int refused_of(const struct node *node)
{
	int refused = 0;

	for (int i = NITY_REFUSED_HARD; i <= NITY_REFUSED_BOUNDARY; i++)
		refused += node->counters[i];
	return refused;
}

/* A route whose agent has isolated 1, whose kernel suspects 2 and whose 3 is full of work. */
static void judge_the_route(struct node *node)
{
	node->control[1].gear = NITY_GEAR_TWIN;
	node->backends[1].state = NITY_BACKEND_ISOLATED;
	node->live[1].drip_ns = SECOND;
	node->live[1].suspect_until_ns = 2000 * SECOND;
	make_suspect(node, 2);
	node->live[3].open = 1000;
}

static void observed_connects_meet_everybody(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	judge_the_route(node);
	node->control[1].observed_percent = 100;
	for (int i = 0; i < OBSERVED_DIALS; i++)
		met[dial(node, 1)]++;
	for (int i = 1; i <= 4; i++)
		EXPECT(met[i] == OBSERVED_DIALS / 4);
	EXPECT(node->counters[NITY_PICKED_TWIN] == 0);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PASSED] == 0);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PROBED] == 0);
	/* Nothing was claimed: who enforces later finds the probe as it was. */
	EXPECT(node->live[1].suspect_until_ns == 2000 * SECOND);
}

static void half_of_the_connects_are_observed(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	node->backends[1].state = NITY_BACKEND_ISOLATED;
	node->live[1].drip_ns = SECOND;
	node->live[1].suspect_until_ns = 2000 * SECOND;
	node->control[1].observed_percent = 50;
	for (int i = 0; i < OBSERVED_DIALS; i++)
		met[dial(node, 1)]++;
	/*
	 * Who passes it takes the next slot too, so that a round of 64 slots serves 56
	 * connects, 8 of them by the backend: a seventh, and a tenth of it for chance.
	 */
	EXPECT(met[1] > OBSERVED_DIALS / 7 * 9 / 10);
	EXPECT(met[1] < OBSERVED_DIALS / 7 * 11 / 10);
}

static void an_observed_connect_passes_the_agents_valve(struct node *node)
{
	static const __u32 modes[] = { NITY_ADMISSION_SOFT, NITY_ADMISSION_HARD };

	node->control[1].observed_percent = 100;
	node->control[1].token_ns = SECOND;
	node->control[1].burst_ns = SECOND;
	for (size_t i = 0; i < COUNT(modes); i++) {
		node->control[1].admission_mode = modes[i];
		for (int n = 0; n < 100; n++)
			EXPECT(dial(node, 1));
	}
	EXPECT(refused_of(node) == 0);
	EXPECT(node->control[1].bucket_ns == 0);
}

/* Each refusal counts towards the next lot: who is refused for ever would draw no other. */
static void a_closed_valve_refuses_only_who_is_not_observed(struct node *node)
{
	node->control[1].observed_percent = 30;
	node->control[1].admission_mode = NITY_ADMISSION_HARD;
	for (int i = 0; i < OBSERVED_DIALS; i++)
		dial(node, 1);
	EXPECT(refused_of(node) > OBSERVED_DIALS * 65 / 100);
	EXPECT(refused_of(node) < OBSERVED_DIALS * 75 / 100);
}

static void an_override_stands_for_observed_connects(struct node *node)
{
	node->control[1].observed_percent = 100;
	node->control[1].override_word = (2000 * SECOND & ~3ULL) | NITY_ADMISSION_HARD;
	EXPECT(dial(node, 1) == 0);
	EXPECT(node->counters[NITY_REFUSED_HARD] == 1);
	node->model.now_ns = 2001 * SECOND;
	node->field.last_agent_seen_ns = node->model.now_ns;
	EXPECT(dial(node, 1) != 0);
}

static void an_affinity_outlasts_what_is_judged(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1, .netns_cookie = 7 };
	__u32 first;

	node->control[1].affinity_seconds = 60;
	node->control[1].observed_percent = 100;
	first = node_dial(node, &socket, 1);
	make_suspect(node, first);
	node->backends[first].state = NITY_BACKEND_ISOLATED;
	EXPECT(node_dial(node, &socket, 1) == first);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 1);
	/* What has left the route is nobody's any more, observed or not. */
	node->backends[first].state = NITY_BACKEND_RETIRED;
	EXPECT(node_dial(node, &socket, 1) != first);
}

static void retired_backends_are_passed_over_all_the_same(struct node *node)
{
	node->control[1].observed_percent = 100;
	node->backends[1].state = NITY_BACKEND_RETIRED;
	for (int i = 0; i < 64; i++)
		EXPECT(dial(node, 1) > 1);
}

static void fallback_serves_observed_connects(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	judge_the_route(node);
	node->control[1].observed_percent = 100;
	node->control[1].admission_mode = NITY_ADMISSION_HARD;
	lose_the_agent(node);
	for (int i = 0; i < 400; i++)
		met[dial(node, 1)]++;
	for (int i = 1; i <= 4; i++)
		EXPECT(met[i] > 0);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 400);
}

static const struct test observed_tests[] = {
	{ "observed: equal shares, whatever is judged", observed_connects_meet_everybody },
	{ "observed: half of the connects, by lot", half_of_the_connects_are_observed },
	{ "observed: the agent's valve is open", an_observed_connect_passes_the_agents_valve },
	{ "observed: a closed valve refuses the others",
	  a_closed_valve_refuses_only_who_is_not_observed },
	{ "observed: an operator's override stands", an_override_stands_for_observed_connects },
	{ "observed: an affinity outlasts what is judged", an_affinity_outlasts_what_is_judged },
	{ "observed: a retired backend is passed over",
	  retired_backends_are_passed_over_all_the_same },
	{ "observed: FALLBACK serves as ever", fallback_serves_observed_connects },
};

#endif
