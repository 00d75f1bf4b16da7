/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of decide.h as whole decisions: which slot a connect draws, and whose it may be. */
#ifndef NITY_TEST_PICK_CASES_H
#define NITY_TEST_PICK_CASES_H

#include "expect.h"

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

static void gear_gives_exact_shares(struct node *node)
{
	static const __u32 shares[] = { 1, 5, 26, 32 };
	/* Where the turn's lower and its whole word run over, too. */
	static const __u64 starts[] = { 0, 17, (1ULL << 32) - 40, ~0ULL - 70 };

	for (__u32 i = 0, slot = 0; i < COUNT(shares); i++)
		for (__u32 n = 0; n < shares[i]; n++)
			node->b[0].owner[slot++ * 37 % 64] = 1 + i;
	for (size_t start = 0; start < COUNT(starts); start++) {
		__u32 met[TEST_BACKENDS] = { 0 };

		node->control[1].turns = starts[start];
		for (int i = 0; i < 3 * 64; i++)
			met[dial(node, 1)]++;
		for (__u32 i = 0; i < COUNT(shares); i++)
			EXPECT(met[1 + i] == 3 * shares[i]);
	}
	EXPECT(node->counters[NITY_PICKED_GEAR] == COUNT(starts) * 3 * 64);
}

static void a_flip_changes_the_table_at_once(struct node *node)
{
	owners_fill(node->a[0].owner, 2);
	owners_fill(node->b[0].owner, 1);
	EXPECT(dial(node, 1) == 1);
	node->field.table_epoch[0] = 4;
	node->field.epoch = 4;
	EXPECT(dial(node, 1) == 2);
	/* No heartbeat has confirmed it: it goes stale with the flip undone. */
	node->model.now_ns += 3 * SECOND;
	EXPECT(dial(node, 1) == 1);
	EXPECT(node->counters[NITY_NOTED_HOLD] == 1 && node->counters[NITY_NOTED_REWRITTEN] == 0);
	node->field.held_epoch = 4;
	node->field.last_agent_seen_ns = node->model.now_ns;
	EXPECT(dial(node, 1) == 2);
}

static void twin_prefers_the_idler(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	node->control[1].gear = NITY_GEAR_TWIN;
	node->live[1].open = 1000;
	for (int i = 0; i < 256; i++)
		met[dial(node, 1)]++;
	/* Its twin is always another's slot. */
	EXPECT(met[1] == 0);
	EXPECT(node->counters[NITY_PICKED_TWIN] > 32);
}

/* 1 and 2 are the two draws of one turn. Returns which wins. */
static __u32 twin_of(struct node *node)
{
	__u64 turn = 0;

	/* The twin draws by the turn: seek one whose second draw is an odd slot, the first even. */
	while (!((nity_mix(turn + 1) >> 32) & 1))
		turn += 2;
	for (int slot = 0; slot < 64; slot++)
		node->b[0].owner[slot] = 1 + (slot & 1);
	node->control[1].gear = NITY_GEAR_TWIN;
	node->control[1].turns = turn;
	return dial(node, 1);
}

static void twin_weighs_by_slot_share(struct node *node)
{
	static const struct {
		__u32 open, slots, twin_open, twin_slots, winner;
	} cases[] = {
		/* Equals: the gear's own draw. */
		{ 0, 16, 0, 16, 1 },
		{ 10, 16, 10, 16, 1 },
		{ 10, 16, 9, 16, 2 },
		{ 9, 16, 10, 16, 1 },
		/* Twice as large and holding twice as much: equals. */
		{ 20, 32, 10, 16, 1 },
		{ 10, 16, 20, 32, 1 },
		{ 21, 32, 10, 16, 1 },
		{ 22, 32, 10, 16, 2 },
		{ 19, 32, 10, 16, 1 },
		/* A slot more wins no tie, and a slot less loses to no connection. */
		{ 1, 13, 1, 14, 1 },
		{ 1, 14, 0, 13, 2 },
		/* Products past 32 bits. */
		{ ~0u, 1u << 20, ~0u - 1, 1u << 20, 2 },
		{ 1u << 31, 2, 1u << 31, 4, 2 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		node->live[1].open = cases[i].open;
		node->live[2].open = cases[i].twin_open;
		node->backends[1].slots[1] = cases[i].slots;
		node->backends[2].slots[1] = cases[i].twin_slots;
		EXPECT(twin_of(node) == cases[i].winner);
	}
}

static void twin_admits_nobody_by_the_back_door(struct node *node)
{
	node->live[1].open = 1000;
	EXPECT(twin_of(node) == 2);
	node->backends[2].state = NITY_BACKEND_DEGRADED;
	EXPECT(twin_of(node) == 1);
	node->backends[2].state = NITY_BACKEND_ISOLATED;
	node->live[2].suspect_until_ns = node->model.now_ns + SECOND;
	EXPECT(twin_of(node) == 1);
	node->live[2].suspect_until_ns = 0;
	node->backends[2].state = NITY_BACKEND_RETIRED;
	EXPECT(twin_of(node) == 1);
	/* A twin beyond the boundary is no twin, and no reason to refuse. */
	node->backends[2].state = NITY_BACKEND_FREE;
	EXPECT(twin_of(node) == 1);
	node->backends[2].state = NITY_BACKEND_HEALTHY;
	node->backends[2].route = HANDLE(2);
	EXPECT(twin_of(node) == 1);
	node->backends[2].route = HANDLE(1);
	make_suspect(node, 2);
	EXPECT(twin_of(node) == 1);
	/* Nor does a suspect whose time is over get its probe here. */
	node->live[2].suspect_until_ns = 0;
	EXPECT(twin_of(node) == 1);
	EXPECT(node->live[2].suspect_until_ns == 0);
}

static void twin_replaces_a_suspect_however_busy(struct node *node)
{
	node->live[2].open = 1000;
	make_suspect(node, 1);
	EXPECT(twin_of(node) == 2);
	EXPECT(node->counters[NITY_PICKED_TWIN] == 1);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PASSED] == 1);
}

/* The agent's drip is due: the second draw may take it, so that it is tried in time. */
static void twin_tries_an_isolated_one_that_is_due(struct node *node)
{
	node->backends[2].state = NITY_BACKEND_ISOLATED;
	node->live[2].drip_ns = SECOND;
	/* However busy it is. */
	node->live[2].open = 1000;
	EXPECT(twin_of(node) == 2);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PROBED] == 1);
	EXPECT(node->live[2].suspect_until_ns == node->model.now_ns + SECOND);
	EXPECT(twin_of(node) == 1);
}

/* A claimed probe that went to another would leave the suspect untried for as long again. */
static void twin_leaves_a_probe_alone(struct node *node)
{
	make_suspect(node, 1);
	node->live[1].suspect_until_ns = 0;
	node->live[1].open = 1000;
	EXPECT(twin_of(node) == 1);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PROBED] == 1);
}

static const struct {
	__u32 owner;
	enum nity_counter reason;
} strangers[] = {
	{ 5, NITY_REFUSED_BOUNDARY }, /* the other route's */
	{ 12, NITY_REFUSED_BOUNDARY }, /* FREE */
	{ TEST_BACKENDS, NITY_REFUSED_BOUNDARY },
	{ ~0u, NITY_REFUSED_BOUNDARY },
	{ NITY_NONE, NITY_REFUSED_INCOMPLETE },
};

static void boundary_is_never_crossed(struct node *node)
{
	/* FREE, though its other words say that it is ours. */
	node->backends[12].route = HANDLE(1);
	for (int lost = 0; lost < 2; lost++) {
		for (size_t i = 0; i < COUNT(strangers); i++) {
			__u64 before = node->counters[strangers[i].reason];

			owners_fill(node->b[0].owner, strangers[i].owner);
			owners_fill(node->fallback[0].owner, strangers[i].owner);
			EXPECT(dial(node, 1) == 0);
			EXPECT(node->counters[strangers[i].reason] == before + 1);
		}
		lose_the_agent(node);
	}
	for (int i = 0; i < TEST_BACKENDS; i++)
		EXPECT(node->counts[i].picks == 0 && node->live[i].open == 0);
}

/* What a wrong allocator did: route 1's index is opened for another, whose backends fill its slots. */
static void an_index_given_out_twice_serves_its_last_holder_alone(struct node *node)
{
	__u32 other = 4u << NITY_ROUTE_INDEX_BITS | 1;

	node->control[1].handle = other;
	for (int i = 1; i <= 4; i++)
		node->backends[i].route = other;
	for (int lost = 0; lost < 2; lost++) {
		EXPECT(dial(node, 1) == 0);
		EXPECT(node->counters[NITY_REFUSED_BOUNDARY] == 1 + (__u64)lost);
		lose_the_agent(node);
	}
	/* Nor are its refusals the other's. */
	EXPECT(node->control[1].refused == 0 && node->control[1].turns == 0);
	nity_hash_update(&node->routes,
			 &(struct nity_route_key){ VIP(1), htons(80), IPPROTO_TCP, 0 }, &other, 0);
	EXPECT(dial(node, 1) != 0);
}

static void ranges_outside_the_map_are_refused(struct node *node)
{
	node->control[1].slot_range[1] = (__u64)64 << 32 | TEST_SLOTS;
	EXPECT(dial(node, 1) == 0);
	node->control[1].slot_range[1] = (__u64)64 << 32 | (__u32)-NITY_SLOTS_PER_PAGE;
	EXPECT(dial(node, 1) == 0);
	lose_the_agent(node);
	node->control[1].fallback_range = (__u64)64 << 32 | TEST_SLOTS;
	EXPECT(dial(node, 1) == 0);
	EXPECT(node->counters[NITY_REFUSED_BOUNDARY] == 3);
}

static void incoherent_table_goes_to_the_fallback_set(struct node *node)
{
	/* Being written, completed for the next epoch, left from the one before. */
	static const __u64 epochs[] = { 0, 5, 1 };

	owners_fill(node->b[0].owner, 1);
	owners_fill(node->fallback[0].owner, 2);
	for (size_t i = 0; i < COUNT(epochs); i++) {
		node->field.table_epoch[1] = epochs[i];
		EXPECT(dial(node, 1) == 2);
		EXPECT(node->counters[NITY_NOTED_REWRITTEN] == i + 1);
	}
	/* What a slot said meanwhile is no reason to refuse. */
	owners_fill(node->b[0].owner, NITY_NONE);
	EXPECT(dial(node, 1) == 2);
	node->field.epoch = 2;
	EXPECT(dial(node, 1) != 0);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 4);
	EXPECT(node->counters[NITY_PICKED_GEAR] == 1);
}

static void the_retired_are_passed_over(struct node *node)
{
	int met[TEST_BACKENDS] = { 0 };

	node->backends[1].state = NITY_BACKEND_RETIRED;
	for (int i = 0; i < 64; i++)
		met[dial(node, 1)]++;
	EXPECT(met[0] == 0 && met[1] == 0);
	EXPECT(node->counters[NITY_PICKED_GEAR] == 64);
}

static void retired_tables_go_to_the_fallback_set(struct node *node)
{
	node->backends[1].state = NITY_BACKEND_RETIRED;
	owners_fill(node->b[0].owner, 1);
	for (int slot = 0; slot < 64; slot++)
		node->fallback[0].owner[slot] = 2 + slot % 3;
	for (int i = 0; i < 16; i++)
		EXPECT(dial(node, 1) >= 2);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 16);
	/* Nothing else is left: a retired backend is better than nobody. */
	owners_fill(node->fallback[0].owner, 1);
	EXPECT(dial(node, 1) == 1);
}

static void no_range_and_no_backends(struct node *node)
{
	node->control[1].slot_range[1] = 0;
	EXPECT(dial(node, 1) != 0);
	EXPECT(node->counters[NITY_PICKED_FALLBACK] == 1);
	node->control[1].fallback_range = 0;
	EXPECT(dial(node, 1) == 0);
	EXPECT(node->counters[NITY_REFUSED_NO_BACKENDS] == 1);
	/* A route index that no control word belongs to. */
	nity_hash_update(&node->routes,
			 &(struct nity_route_key){ VIP(1), htons(80), IPPROTO_TCP, 0 },
			 &(__u32){ TEST_ROUTES }, 0);
	EXPECT(dial(node, 1) == 0);
	EXPECT(node->counters[NITY_REFUSED_INCOMPLETE] == 1);
}

static const struct test pick_tests[] = {
	{ "not ours: untouched and uncounted", untouched_when_it_is_not_ours },
	{ "gear: exact shares, wherever the turn stands", gear_gives_exact_shares },
	{ "flip: at once, and undone by staleness", a_flip_changes_the_table_at_once },
	{ "twin: the idler of two wins", twin_prefers_the_idler },
	{ "twin: open connections count by slot share", twin_weighs_by_slot_share },
	{ "twin: no isolated, retired, suspect or foreign one",
	  twin_admits_nobody_by_the_back_door },
	{ "twin: replaces a suspect however busy it is", twin_replaces_a_suspect_however_busy },
	{ "twin: tries an isolated one that is due", twin_tries_an_isolated_one_that_is_due },
	{ "twin: leaves a claimed probe alone", twin_leaves_a_probe_alone },
	{ "boundary: no slot leads out of the route", boundary_is_never_crossed },
	{ "boundary: an index given out twice serves its last holder alone",
	  an_index_given_out_twice_serves_its_last_holder_alone },
	{ "boundary: no range leads out of the map", ranges_outside_the_map_are_refused },
	{ "coherence: a table that is not its epoch's is not used",
	  incoherent_table_goes_to_the_fallback_set },
	{ "retired: passed over", the_retired_are_passed_over },
	{ "retired: the fallback set takes over", retired_tables_go_to_the_fallback_set },
	{ "empty: no range falls back, no backends refuses", no_range_and_no_backends },
};

#endif
