/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cases of decide.h: what the second choice compares, and how little others can
 * move with it in the bounded gear.
 */
#ifndef NITY_TEST_BOUNDED_CASES_H
#define NITY_TEST_BOUNDED_CASES_H

#include "expect.h"

#define TURNS 6144

/* Two backends with every second slot each, and a client whose lane is known. */
static void two_backends(struct node *node, __u32 gear)
{
	for (int slot = 0; slot < 64; slot++)
		node->b[0].owner[slot] = 1 + (slot & 1);
	node->control[1].gear = gear;
}

/* How many of so many turns meet the first backend; what is open stays what it was. */
static int first_of_two(struct node *node, int turns)
{
	__u32 open[] = { node->live[1].open, node->live[2].open };
	int met = 0;

	while (turns--) {
		met += dial(node, 1) == 1;
		node->live[1].open = open[0];
		node->live[2].open = open[1];
	}
	return met;
}

static __u32 own_lane(struct node *node)
{
	struct nity_model_socket socket = { .netns_cookie = 1 };

	node_dial(node, &socket, 1);
	nity_model_release(&node->model, &socket, 0);
	return socket.flow.lane;
}

/* Within a tenth of what a bound of one turn in so many lets move of half the picks. */
static int is_bounded(int met)
{
	int moved = TURNS / 2 - met, bound = TURNS / 2 / NITY_BOUNDED_TURNS;

	return moved * 10 >= bound * 9 && moved * 10 <= bound * 11;
}

/* Where every flow is measured, load is what waits for an answer; elsewhere what is open. */
static void load_is_what_waits_where_all_is_measured(struct node *node)
{
	two_backends(node, NITY_GEAR_TWIN);
	node->live[1].open = 1000;
	EXPECT(first_of_two(node, TURNS) == 0);
	node->field.latency = NITY_LATENCY_FIRST_BYTE;
	EXPECT(first_of_two(node, TURNS) == TURNS / 2);
	node->live[1].waiting = 1;
	EXPECT(first_of_two(node, TURNS) == 0);
	/* A sample of the flows says too little. */
	node->control[1].latency_mask = 1;
	node->live[1].open = 0;
	EXPECT(first_of_two(node, TURNS) == TURNS / 2);
}

static void others_move_a_bounded_part(struct node *node)
{
	__u32 lane = own_lane(node), other = (lane + 1) % NITY_LANES;

	two_backends(node, NITY_GEAR_BOUNDED);
	/* Nothing waits: the gear's exact shares. */
	EXPECT(first_of_two(node, TURNS) == TURNS / 2);
	/* Another client holds connections open. */
	node->live[1].open = 100000;
	EXPECT(is_bounded(first_of_two(node, TURNS)));
	/* Or leaves requests waiting. */
	node->live[1].open = 0;
	node->field.latency = NITY_LATENCY_FIRST_BYTE;
	node->live[1].waiting = node->live[1].lane_waiting[other] = 100000;
	EXPECT(is_bounded(first_of_two(node, TURNS)));
	/* At the other backend it moves as little the other way. */
	node->live[2].waiting = node->live[2].lane_waiting[other] = 200000;
	EXPECT(is_bounded(TURNS - first_of_two(node, TURNS)));
	node->control[1].gear = NITY_GEAR_TWIN;
	EXPECT(first_of_two(node, TURNS) == TURNS);
}

/* Several of the client's own requests that wait here and none there move all: nobody else can bring it about. */
static void the_clients_own_excess_moves_all(struct node *node)
{
	static const struct {
		__u32 first, second, first_slots, second_slots;
		int moves;
	} cases[] = {
		{ NITY_EXCESS, 0, 32, 32, 1 },
		{ NITY_EXCESS - 1, 0, 32, 32, 0 },
		/* Where some wait at the other too, it is the protocol. */
		{ 6, 1, 32, 32, 0 },
		{ 303, 1, 32, 32, 0 },
		{ ~0u, 0, 1u << 20, 1u << 20, 1 },
		{ ~0u, ~0u, 1u << 20, 1u << 20, 0 },
	};
	__u32 lane = own_lane(node);

	two_backends(node, NITY_GEAR_BOUNDED);
	node->field.latency = NITY_LATENCY_FIRST_BYTE;
	for (size_t i = 0; i < COUNT(cases); i++) {
		node->live[1].lane_waiting[lane] = cases[i].first;
		node->live[2].lane_waiting[lane] = cases[i].second;
		node->backends[1].slots[1] = cases[i].first_slots;
		node->backends[2].slots[1] = cases[i].second_slots;
		/* In the free turns all that wait are compared, and those agree. */
		node->live[1].waiting = cases[i].moves ? ~0u : 0;
		EXPECT(first_of_two(node, TURNS) == (cases[i].moves ? 0 : TURNS / 2));
	}
}

static const struct test bounded_tests[] = {
	{ "load: what waits where all is measured, else what is open",
	  load_is_what_waits_where_all_is_measured },
	{ "bounded: others move one turn in so many at most", others_move_a_bounded_part },
	{ "bounded: the client's own excess moves all", the_clients_own_excess_moves_all },
};

#endif
