/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cases of observe.h, decide.h and flow.h: who dials, in which lane its evidence is
 * kept, and that what one client alone saw decides for that client alone.
 */
#ifndef NITY_TEST_CLIENT_CASES_H
#define NITY_TEST_CLIENT_CASES_H

#include "expect.h"

/* A small number names a user: the client that it is in its only network namespace. */
static __u32 named(__u32 client)
{
	return client < 0x10000 ? client << 16 | 1 : client;
}

static void fail(struct node *node, __u32 backend, __u32 client, int times)
{
	while (times--)
		nity_observe_failure(&node->field, &node->live[backend], named(client),
				     node->model.now_ns);
}

static enum nity_standing stands(const struct node *node, __u32 backend, __u32 client)
{
	return nity_standing(&node->field, &node->live[backend], 0, named(client),
			     node->model.now_ns);
}

/* How many of 64 dials of a user met `backend`; each ends well. */
static int met_by(struct node *node, __u32 user, __u32 backend)
{
	int met = 0;

	for (int i = 0; i < 64; i++) {
		struct nity_model_socket socket = { .user = user, .socket_cookie = i };

		met += node_dial(node, &socket, 1) == backend;
		nity_model_release(&node->model, &socket, 0);
	}
	return met;
}

/* Connects of a user to `backend` that are refused. */
static void be_refused(struct node *node, __u32 user, __u32 backend, int times)
{
	__u32 owners[NITY_SLOTS_PER_PAGE];

	memcpy(owners, node->b[0].owner, sizeof(owners));
	owners_fill(node->b[0].owner, backend);
	while (times--) {
		struct nity_model_socket socket = { .user = user };

		EXPECT(node_dial(node, &socket, 1) == backend);
		nity_model_ended(&node->model, &socket, 1, 0, 0);
	}
	memcpy(node->b[0].owner, owners, sizeof(owners));
}

static void one_clients_suspicion_is_its_own(struct node *node)
{
	be_refused(node, 1, 1, 2);
	EXPECT(node->live[1].failures == 2 && node->live[1].suspect_until_ns == 0);
	EXPECT(met_by(node, 1, 1) == 0);
	EXPECT(met_by(node, 2, 1) == 16);
	/* However often it fails: ten thousand refusals are still one client's. */
	node->live[2].failures = 0;
	fail(node, 1, node->live[1].accuser, 10000);
	EXPECT(met_by(node, 2, 1) == 16 && node->live[1].suspect_until_ns == 0);
	/* Nor in the fallback set. */
	lose_the_agent(node);
	EXPECT(met_by(node, 2, 1) > 0);
}

static void two_clients_make_it_everybodys(struct node *node)
{
	be_refused(node, 1, 1, 1);
	be_refused(node, 2, 1, 1);
	for (__u32 user = 1; user <= 3; user++)
		EXPECT(met_by(node, user, 1) == 0);
	EXPECT(node->live[1].suspect_until_ns == node->model.now_ns + SECOND);
	/* Doubled with what both of them saw. */
	be_refused(node, 1, 1, 1);
	EXPECT(node->live[1].suspect_until_ns == node->model.now_ns + 2 * SECOND);
	/* When its time is over one of them tries it, whoever comes first. */
	node->model.now_ns += 2 * SECOND;
	EXPECT(met_by(node, 3, 1) == 1 && met_by(node, 2, 1) == 0);
	EXPECT(node->live[1].suspect_until_ns == node->model.now_ns + 2 * SECOND);
}

/* Two clients are not enough: what both of them saw must reach the threshold. */
static void two_clients_below_the_threshold_do_not(struct node *node)
{
	node->field.suspect_after = 3;
	fail(node, 1, 7, 1);
	fail(node, 1, 8, 1);
	for (__u32 client = 7; client <= 9; client++)
		EXPECT(stands(node, 1, client) == NITY_STANDING_CLEAR);
	EXPECT(node->live[1].suspect_until_ns == 0);
	fail(node, 1, 7, 1);
	for (__u32 client = 7; client <= 9; client++)
		EXPECT(stands(node, 1, client) == NITY_STANDING_SUSPECT);
}

static void anothers_success_clears_all_but_the_accuser(struct node *node)
{
	fail(node, 1, 7, 2);
	fail(node, 1, 8, 2);
	for (__u32 client = 7; client <= 9; client++)
		EXPECT(stands(node, 1, client) == NITY_STANDING_SUSPECT);
	nity_observe_success(&node->live[1], named(9));
	EXPECT(stands(node, 1, 9) == NITY_STANDING_CLEAR);
	EXPECT(stands(node, 1, 7) == NITY_STANDING_CLEAR);
	EXPECT(stands(node, 1, 8) == NITY_STANDING_SUSPECT);
	/* What was cleared does not count towards the next: one more is not two clients'. */
	fail(node, 1, 8, 3);
	EXPECT(stands(node, 1, 9) == NITY_STANDING_CLEAR);
	nity_observe_success(&node->live[1], named(8));
	for (__u32 client = 7; client <= 9; client++)
		EXPECT(stands(node, 1, client) == NITY_STANDING_CLEAR);
	EXPECT(node->live[1].failures == 0 && node->live[1].accuser_failures == 0);
}

static void a_client_that_recovers_begins_anew(struct node *node)
{
	fail(node, 1, 7, 1);
	nity_observe_success(&node->live[1], named(7));
	fail(node, 1, 7, 1);
	EXPECT(stands(node, 1, 7) == NITY_STANDING_CLEAR);
	EXPECT(node->live[1].accusers == 1);
	fail(node, 1, 7, 1);
	EXPECT(stands(node, 1, 7) == NITY_STANDING_SUSPECT);
	EXPECT(stands(node, 1, 8) == NITY_STANDING_CLEAR);
}

static void the_accusers_time_is_its_own(struct node *node)
{
	__u64 now = node->model.now_ns;

	fail(node, 1, 7, 2);
	EXPECT(node->live[1].accuser_until_ns == now + SECOND);
	fail(node, 1, 7, 1);
	EXPECT(node->live[1].accuser_until_ns == now + 2 * SECOND);
	fail(node, 1, 7, 100);
	EXPECT(node->live[1].accuser_until_ns == now + 8 * SECOND);
	/* Meanwhile others succeed, and then one of them fails by itself. */
	nity_observe_success(&node->live[1], named(9));
	fail(node, 1, 8, 1);
	nity_observe_success(&node->live[1], named(9));
	fail(node, 1, 8, 1);
	EXPECT(node->live[1].accuser == named(8) && node->live[1].accusers == 1);
	EXPECT(node->live[1].accuser_until_ns == now + SECOND);
	/* Nor does what ended with a success of its own. */
	fail(node, 1, 8, 100);
	nity_observe_success(&node->live[1], named(8));
	fail(node, 1, 8, 2);
	EXPECT(node->live[1].accuser_until_ns == now + SECOND);
}

static void a_probe_of_the_accuser_is_its_own(struct node *node)
{
	be_refused(node, 1, 1, 2);
	node->model.now_ns += SECOND;
	EXPECT(met_by(node, 1, 1) == 1);
	EXPECT(node->counters[NITY_NOTED_SUSPECT_PROBED] == 1);
	EXPECT(node->live[1].suspect_until_ns == 0);
	EXPECT(node->live[1].accuser_until_ns == node->model.now_ns + SECOND);
	EXPECT(met_by(node, 2, 1) == 16);
}

static void suspicion_after_one_failure_or_never(struct node *node)
{
	node->field.suspect_after = 1;
	fail(node, 1, 7, 1);
	EXPECT(stands(node, 1, 7) == NITY_STANDING_SUSPECT);
	EXPECT(stands(node, 1, 8) == NITY_STANDING_CLEAR);
	fail(node, 1, 8, 1);
	EXPECT(stands(node, 1, 9) == NITY_STANDING_SUSPECT);
	/* 0 switches suspicion off. */
	node->field.suspect_after = 0;
	for (__u32 client = 7; client < 17; client++) {
		fail(node, 1, client, 10);
		EXPECT(stands(node, 1, client) == NITY_STANDING_CLEAR);
	}
	EXPECT(stands(node, 1, 8) == NITY_STANDING_CLEAR);
}

/* One user makes as many network namespaces as it likes, where user namespaces let it. */
static void one_users_namespaces_are_no_two_witnesses(struct node *node)
{
	__u32 first = named(7), second = first + 2;

	fail(node, 1, first, 5);
	fail(node, 1, second, 5);
	fail(node, 1, first, 5);
	EXPECT(stands(node, 1, first) == NITY_STANDING_SUSPECT);
	EXPECT(stands(node, 1, 8) == NITY_STANDING_CLEAR);
	EXPECT(node->live[1].accusers == 1);
}

/* The agent may have isolated it for longer than the kernel would. */
static void a_longer_time_stands(struct node *node)
{
	node->live[1].suspect_until_ns = 2000 * SECOND;
	fail(node, 1, 7, 1);
	fail(node, 1, 8, 1);
	EXPECT(node->live[1].suspect_until_ns == 2000 * SECOND);
}

static void a_client_is_a_user_in_a_network_namespace(struct node *node)
{
	static const struct {
		__u64 netns;
		__u32 user;
	} clients[] = { { 1, 0 }, { 1, 1 }, { 1, 65534 }, { 2, 0 }, { 2, 1 }, { 3, 0 } };
	__u32 ids[COUNT(clients)];

	for (size_t i = 0; i < COUNT(clients); i++) {
		for (__u64 cookie = 1; cookie <= 3; cookie++) {
			struct nity_model_socket socket = {
				.socket_cookie = cookie,
				.netns_cookie = clients[i].netns,
				.user = clients[i].user,
			};

			/* Neither the socket nor the port it binds makes another of it. */
			socket.sk.src_port = cookie;
			node_dial(node, &socket, 1);
			EXPECT(cookie == 1 || socket.flow.client == ids[i]);
			ids[i] = socket.flow.client;
		}
		EXPECT(ids[i] != 0);
		for (size_t other = 0; other < i; other++)
			EXPECT(ids[other] != ids[i]);
	}
}

static __u32 lane_of_user(struct node *node, __u64 netns, __u32 user)
{
	struct nity_model_socket socket = { .netns_cookie = netns, .user = user };

	EXPECT(node_dial(node, &socket, 1) != 0);
	nity_model_release(&node->model, &socket, 0);
	return socket.flow.lane;
}

/* Whatever their identifiers are. */
static void the_first_clients_get_lanes_of_their_own(struct node *node)
{
	for (__u64 netns = 0; netns < 32; netns++) {
		__u32 lanes[NITY_LANES], seen = 0;

		node_init(node);
		/* The dial that takes a lane is in it already. */
		for (__u32 user = 0; user < NITY_LANES; user++) {
			lanes[user] = lane_of_user(node, netns, user);
			seen |= 1u << lanes[user];
		}
		EXPECT(seen == (1u << NITY_LANES) - 1);
		for (int times = 0; times < 3; times++) {
			for (__u32 user = 0; user < NITY_LANES; user++)
				EXPECT(lane_of_user(node, netns, user) == lanes[user]);
			/* Further ones share, each always the same. */
			for (__u32 user = NITY_LANES; user < 20; user++) {
				__u32 lane = lane_of_user(node, netns, user);

				EXPECT(lane < NITY_LANES);
				EXPECT(lane == lane_of_user(node, netns, user));
			}
		}
		/* The agent frees one that is idle: the next that has none gets it and keeps it. */
		node->control[1].clients[lanes[2]] = 0;
		EXPECT(lane_of_user(node, netns, 100) == lanes[2]);
		EXPECT(lane_of_user(node, netns, 100) == lanes[2]);
		EXPECT(lane_of_user(node, netns, 1) == lanes[1]);
		/* Lanes are a route's own. */
		for (int i = 0; i < NITY_LANES; i++)
			EXPECT(node->control[2].clients[i] == 0);
	}
}

static void each_lane_keeps_its_own_books(struct node *node)
{
	node->field.latency = NITY_LATENCY_FIRST_BYTE;
	owners_fill(node->b[0].owner, 1);
	for (__u32 user = 0; user < NITY_LANES; user++) {
		struct nity_model_socket socket = { .user = user };
		const struct nity_lane *lane;

		node->field.last_agent_seen_ns = node->model.now_ns;
		EXPECT(node_dial(node, &socket, 1) == 1);
		lane = &node->clients[1].lane[socket.flow.lane];
		nity_model_established(&node->model, &socket);
		nity_model_sent(&node->model, &socket, 0, 0);
		EXPECT(lane->established == 1 && lane->first_waiting == 1);
		EXPECT(lane->first_since_ns == node->model.now_ns);
		EXPECT(node->live[1].lane_waiting[socket.flow.lane] == 1);
		if (user % 2) {
			node->model.now_ns += MS << user;
			nity_model_received(&node->model, &socket, 1, 'H');
		}
		nity_model_release(&node->model, &socket, 0);
		EXPECT(lane->answered == user % 2 && lane->unserved == !(user % 2));
		EXPECT(lane->answered_log == (user % 2 ? nity_quarter_octaves(MS << user) : 0));
		EXPECT(lane->first_waiting == 0 && lane->first_since_ns == 0);
		EXPECT(lane->failed == 0);
		be_refused(node, user, 1, 3);
		EXPECT(lane->failed == 3 && lane->established == 1);
		node->live[1].failures = node->live[1].accuser_failures = 0;
	}
}

#define LANE_RACES 20000

struct shared_lanes {
	struct nity_rt_control controls[LANE_RACES];
	/* How many are at each, so that they do race. */
	__u32 there[LANE_RACES];
	__u32 racers;
	/* Racers are so many clients. */
	__u32 clients;
	__u32 outside;
};

static void *find_lanes(void *arg)
{
	struct shared_lanes *shared = arg;
	/* All of them have the same lane by their hash. */
	__u32 client =
		NITY_LANES * (1 + __sync_fetch_and_add(&shared->racers, 1) % shared->clients);

	wait_for_racers();
	for (int i = 0; i < LANE_RACES; i++) {
		meet_at(&shared->there[i], RACERS);
		if (lane_of(&shared->controls[i], client) >= NITY_LANES)
			__sync_fetch_and_add(&shared->outside, 1);
	}
	return NULL;
}

static void a_race_for_a_lane_is_harmless(struct node *node)
{
	static struct shared_lanes shared;

	(void)node;
	for (__u32 clients = 1; clients <= RACERS; clients++) {
		memset(&shared, 0, sizeof(shared));
		shared.clients = clients;
		race(find_lanes, &shared);
		EXPECT(shared.outside == 0);
		for (int i = 0; i < LANE_RACES; i++) {
			struct nity_rt_control *control = &shared.controls[i];
			__u32 taken = 0;

			/* Whoever lost gets another the next time. */
			for (__u32 i = 1; i <= clients; i++) {
				__u32 client = NITY_LANES * i;

				EXPECT(control->clients[lane_of(control, client)] == client);
			}
			/* Nobody holds two. */
			for (int lane = 0; lane < NITY_LANES; lane++)
				taken += control->clients[lane] != 0;
			EXPECT(taken == clients);
		}
	}
}

/* What is remembered of a network namespace counts for those of its users that it serves. */
static void the_accuser_alone_is_not_sent_back(struct node *node)
{
	struct nity_model_socket mine = { .user = 1, .netns_cookie = 9 };
	struct nity_model_socket other = { .user = 2, .netns_cookie = 9 };
	__u32 backend;

	node->control[1].affinity_seconds = 60;
	backend = node_dial(node, &mine, 1);
	fail(node, backend, mine.flow.client, 2);
	EXPECT(node_dial(node, &other, 1) == backend);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 1);
	EXPECT(node_dial(node, &mine, 1) != backend);
	EXPECT(node->counters[NITY_PICKED_AFFINITY] == 1);
}

static const struct test client_tests[] = {
	{ "suspects: by one client, for that client alone", one_clients_suspicion_is_its_own },
	{ "suspects: by two clients, for everybody", two_clients_make_it_everybodys },
	{ "suspects: not by two clients below the threshold",
	  two_clients_below_the_threshold_do_not },
	{ "suspects: another's success clears all but the accuser",
	  anothers_success_clears_all_but_the_accuser },
	{ "suspects: a client that recovers begins anew", a_client_that_recovers_begins_anew },
	{ "suspects: the accuser's time is its own", the_accusers_time_is_its_own },
	{ "suspects: the accuser's probe is its own", a_probe_of_the_accuser_is_its_own },
	{ "suspects: not by the network namespaces of one user",
	  one_users_namespaces_are_no_two_witnesses },
	{ "suspects: after one failure, or never", suspicion_after_one_failure_or_never },
	{ "suspects: a longer time stands", a_longer_time_stands },
	{ "suspects: the accuser alone is not sent back by affinity",
	  the_accuser_alone_is_not_sent_back },
	{ "clients: a user in a network namespace", a_client_is_a_user_in_a_network_namespace },
	{ "lanes: the first clients get their own, further ones share",
	  the_first_clients_get_lanes_of_their_own },
	{ "lanes: each keeps its own books", each_lane_keeps_its_own_books },
	{ "lanes: a race for one is harmless", a_race_for_a_lane_is_harmless },
};

#endif
