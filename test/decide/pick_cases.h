/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of decide.h, most of them as whole decisions: which backend a connect meets. */
#ifndef NITY_TEST_PICK_CASES_H
#define NITY_TEST_PICK_CASES_H

#include "expect.h"

static void make_suspect(struct node *node, __u32 backend)
{
	node->live[backend].failures = 2;
	node->live[backend].suspect_until_ns = 2000 * SECOND;
}

/* Leaves the heartbeat behind by long enough for FALLBACK. */
static void lose_the_agent(struct node *node)
{
	node->model.now_ns += 100 * SECOND;
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
		{ 21, 32, 10, 16, 2 },
		{ 19, 32, 10, 16, 1 },
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
	node->backends[2].route = 2;
	EXPECT(twin_of(node) == 1);
	node->backends[2].route = 1;
	make_suspect(node, 2);
	EXPECT(twin_of(node) == 1);
	/* Nor does a suspect whose time is over get its probe here. */
	node->live[2].suspect_until_ns = 0;
	EXPECT(twin_of(node) == 1);
	EXPECT(node->live[2].suspect_until_ns == 0);
}

/* Whatever door a connect comes by, an isolated backend is tried once in its drip. */
static void isolation_is_metered_by_the_drip(struct node *node)
{
	__u64 start = node->model.now_ns;
	int tried = 0;

	node->backends[1].state = NITY_BACKEND_ISOLATED;
	node->live[1].drip_ns = 2 * SECOND;
	node->live[1].suspect_until_ns = start + SECOND;
	for (int gear = NITY_GEAR_SINGLE; gear <= NITY_GEAR_TWIN; gear++) {
		node->control[1].gear = gear;
		for (int i = 0; i < 1000; i++) {
			node->model.now_ns += 5 * MS;
			node->field.last_agent_seen_ns = node->model.now_ns;
			tried += dial(node, 1) == 1;
		}
	}
	/* At 1, 3, 5, 7 and 9 s of the ten. */
	EXPECT(tried == 5);
	/* A dead agent's judgement does not outlive its field. */
	lose_the_agent(node);
	tried = 0;
	for (int i = 0; i < 256; i++)
		tried += dial(node, 1) == 1;
	EXPECT(tried > 10);
}

static void twin_replaces_a_suspect_however_busy(struct node *node)
{
	node->live[2].open = 1000;
	make_suspect(node, 1);
	EXPECT(twin_of(node) == 2);
	EXPECT(node->counters[NITY_PICKED_TWIN] == 1);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PASSED] == 1);
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
	node->backends[12].route = 1;
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
	for (__u32 gear = NITY_GEAR_SINGLE; gear <= NITY_GEAR_TWIN; gear++) {
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
	struct shared_probe shared = { .field = &node->field, .live.failures = 2 };

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
	node->backends[backend].route = 2;
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

static const struct test pick_tests[] = {
	{ "not ours: untouched and uncounted", untouched_when_it_is_not_ours },
	{ "gear: exact shares, wherever the turn stands", gear_gives_exact_shares },
	{ "flip: at once, and undone by staleness", a_flip_changes_the_table_at_once },
	{ "twin: the idler of two wins", twin_prefers_the_idler },
	{ "twin: open connections count by slot share", twin_weighs_by_slot_share },
	{ "twin: no isolated, retired, suspect or foreign one",
	  twin_admits_nobody_by_the_back_door },
	{ "isolation: metered by the drip, until the field is lost",
	  isolation_is_metered_by_the_drip },
	{ "twin: replaces a suspect however busy it is", twin_replaces_a_suspect_however_busy },
	{ "twin: leaves a claimed probe alone", twin_leaves_a_probe_alone },
	{ "boundary: no slot leads out of the route", boundary_is_never_crossed },
	{ "boundary: no range leads out of the map", ranges_outside_the_map_are_refused },
	{ "suspects: passed over, in the fallback set too", suspects_are_passed_over },
	{ "suspects: never all of them, in three draws", suspicion_never_empties_a_route },
	{ "suspects: nobody draws a fourth time", nobody_draws_a_fourth_time },
	{ "suspects: one that is due is tried by one", a_due_suspect_is_tried_by_one },
	{ "suspects: a race gives one probe a time", a_race_gives_one_probe_a_time },
	{ "suspects: suspicion doubles, boundedly", suspicion_doubles_boundedly },
	{ "retired: passed over", the_retired_are_passed_over },
	{ "retired: the fallback set takes over", retired_tables_go_to_the_fallback_set },
	{ "coherence: a table that is not its epoch's is not used",
	  incoherent_table_goes_to_the_fallback_set },
	{ "empty: no range falls back, no backends refuses", no_range_and_no_backends },
	{ "fallback: the same flow, the same backend", fallback_is_the_flows_own },
	{ "fallback: a bound source is the flow", fallback_knows_a_bound_source },
	{ "recall: only the same, admissible endpoint", recall_honours_only_what_still_holds },
	{ "recall: affinity expires, and is of one route", affinity_expires_and_is_of_one_route },
};

#endif
