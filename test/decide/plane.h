/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A small node for the tests of the decision core: the model's memory, one route
 * or two, and a linear hash map. It includes the model whole, so the pure parts
 * of decide.h can be called too.
 */
#ifndef NITY_TEST_PLANE_H
#define NITY_TEST_PLANE_H

#include <stdio.h>
#include <stdlib.h>

#include "../../bpf/model/model.c"

#define TEST_SLOTS 128
#define TEST_ROUTES 4
#define TEST_BACKENDS 16
#define TEST_HASH 64
#define US 1000ULL
#define MS 1000000ULL
#define SECOND 1000000000ULL

struct nity_hash {
	uint32_t key_size, value_size, used;
	struct {
		_Alignas(8) unsigned char key[32];
		_Alignas(8) unsigned char value[32];
	} entries[TEST_HASH];
};

void *nity_hash_lookup(struct nity_hash *hash, const void *key)
{
	for (uint32_t i = 0; i < hash->used; i++)
		if (!memcmp(hash->entries[i].key, key, hash->key_size))
			return hash->entries[i].value;
	return NULL;
}

int nity_hash_update(struct nity_hash *hash, const void *key, const void *value, uint64_t flags)
{
	unsigned char *known = nity_hash_lookup(hash, key);

	(void)flags;
	if (!known) {
		if (hash->used == TEST_HASH)
			return -E2BIG;
		memcpy(hash->entries[hash->used].key, key, hash->key_size);
		known = hash->entries[hash->used++].value;
	}
	memcpy(known, value, hash->value_size);
	return 0;
}

struct node {
	struct nity_model model;
	struct nity_field_state field;
	struct nity_trace trace;
	struct nity_slot_page a[TEST_SLOTS / NITY_SLOTS_PER_PAGE];
	struct nity_slot_page b[TEST_SLOTS / NITY_SLOTS_PER_PAGE];
	struct nity_slot_page fallback[TEST_SLOTS / NITY_SLOTS_PER_PAGE];
	struct nity_rt_control control[TEST_ROUTES];
	struct nity_backend backends[TEST_BACKENDS];
	struct nity_backend_live live[TEST_BACKENDS];
	struct nity_backend_counters counts[TEST_BACKENDS];
	struct nity_backend_clients clients[TEST_BACKENDS];
	uint64_t counters[NITY_MAX_COUNTERS];
	struct nity_hash routes, conntrack, affinity;
};

/* Indices that were given out before: what holds only the index of a route fails. */
#define HANDLE(route) (3u << NITY_ROUTE_INDEX_BITS | (route))
#define VIP(route) htonl(0x7f600000u + (route))
#define ADDRESS(backend) htonl(0x7f000000u + (backend))

/*
 * Two routes of four backends each (1 to 4, 5 to 8), 64 slots a route dealt out
 * in turn, both tables complete, the heartbeat fresh at now = 1000 s.
 */
static void node_init(struct node *node)
{
	static const __u32 sizes[3][2] = {
		{ sizeof(struct nity_route_key), sizeof(__u32) },
		{ sizeof(struct nity_conntrack_key), sizeof(struct nity_conntrack) },
		{ sizeof(struct nity_affinity_key), sizeof(struct nity_affinity) },
	};
	struct nity_hash *hashes[3] = { &node->routes, &node->conntrack, &node->affinity };

	memset(node, 0, sizeof(*node));
	for (int i = 0; i < 3; i++) {
		hashes[i]->key_size = sizes[i][0];
		hashes[i]->value_size = sizes[i][1];
	}
	node->model = (struct nity_model){
		.field_state = &node->field,
		.trace = &node->trace,
		.slot_table_a = node->a,
		.slot_table_b = node->b,
		.fallback = node->fallback,
		.rt_control = node->control,
		.backends = node->backends,
		.backend_live = node->live,
		.backend_counters = node->counts,
		.backend_clients = node->clients,
		.counters = node->counters,
		.slot_pages = TEST_SLOTS / NITY_SLOTS_PER_PAGE,
		.fallback_pages = TEST_SLOTS / NITY_SLOTS_PER_PAGE,
		.routes_max = TEST_ROUTES,
		.backends_max = TEST_BACKENDS,
		.routes = &node->routes,
		.conntrack = &node->conntrack,
		.affinity = &node->affinity,
		.now_ns = 1000 * SECOND,
	};
	node->field = (struct nity_field_state){
		.epoch = 3,
		.held_epoch = 3,
		.table_epoch = { 2, 3 },
		.last_agent_seen_ns = 1000 * SECOND,
		.hold_after_ns = 3 * SECOND,
		.fallback_after_ns = 15 * SECOND,
		.suspect_ns = SECOND,
		.suspect_after = 2,
		.suspect_doublings = 3,
		/* Somebody listens, to everything. */
		.trace_until_ns = ~0ULL,
	};
	for (__u32 route = 1; route <= 2; route++) {
		struct nity_route_key key = { VIP(route), htons(80), IPPROTO_TCP, 0 };
		__u64 range = (__u64)64 << 32 | (route - 1) * 64;
		__u32 handle = HANDLE(route);

		nity_hash_update(&node->routes, &key, &handle, 0);
		node->control[route].handle = handle;
		node->control[route].slot_range[0] = range;
		node->control[route].slot_range[1] = range;
		node->control[route].fallback_range = range;
		for (__u32 slot = 0; slot < 64; slot++) {
			__u32 owner = (route - 1) * 4 + 1 + slot % 4;

			node->a[route - 1].owner[slot] = owner;
			node->b[route - 1].owner[slot] = owner;
			node->fallback[route - 1].owner[slot] = owner;
		}
	}
	for (__u32 i = 1; i <= 8; i++)
		node->backends[i] = (struct nity_backend){
			.address = ADDRESS(i),
			.port = htons(9000),
			.state = NITY_BACKEND_HEALTHY,
			.route = HANDLE(i <= 4 ? 1u : 2u),
			.generation = 1,
			.slots = { 16, 16 },
		};
}

/* The backend that a new socket's connect to `route` meets; 0 when it is refused. */
static __u32 node_dial(struct node *node, struct nity_model_socket *socket, __u32 route)
{
	struct nity_model_address address = { VIP(route), htons(80) };

	if (nity_model_connect(&node->model, socket, &address))
		return 0;
	return ntohl(address.address) - 0x7f000000u;
}

/* A client that dials once, from a socket like no other. */
static __attribute__((unused)) __u32 dial(struct node *node, __u32 route)
{
	static __u64 cookies = 1;
	struct nity_model_socket socket = { .socket_cookie = cookies++, .netns_cookie = 1 };

	return node_dial(node, &socket, route);
}

/* What the sockets say of the requests that wait at one backend; its live words must say the same. */
struct waiting {
	__u32 waiting;
	__u32 first_waiting;
	__u64 since_ns;
	__u64 first_since_ns;
	__u32 lane_waiting[NITY_LANES];
	__u32 lane_first_waiting[NITY_LANES];
	__u64 lane_first_since_ns[NITY_LANES];
};

static void waiting_by_sockets(const struct node *node, const struct nity_model_socket *sockets,
			       int count, struct waiting by_backend[TEST_BACKENDS])
{
	memset(by_backend, 0, TEST_BACKENDS * sizeof(*by_backend));
	for (int i = 0; i < count; i++) {
		const struct nity_flow *flow = &sockets[i].flow;
		struct waiting *waiting = &by_backend[flow->backend];

		if (!flow->request_ns || flow->exchange == NITY_EXCHANGE_UNMEASURED ||
		    flow->generation != node->backends[flow->backend].generation)
			continue;
		waiting->waiting++;
		waiting->lane_waiting[flow->lane]++;
		waiting->since_ns += flow->request_ns;
		if (flow->exchange != NITY_EXCHANGE_FIRST)
			continue;
		waiting->first_waiting++;
		waiting->first_since_ns += flow->request_ns;
		waiting->lane_first_waiting[flow->lane]++;
		waiting->lane_first_since_ns[flow->lane] += flow->request_ns;
	}
}

static int waiting_agrees(const struct nity_backend_live *live,
			  const struct nity_backend_clients *clients, const struct waiting *waiting)
{
	for (int i = 0; i < NITY_LANES; i++)
		if (live->lane_waiting[i] != waiting->lane_waiting[i] ||
		    clients->lane[i].first_waiting != waiting->lane_first_waiting[i] ||
		    clients->lane[i].first_since_ns != waiting->lane_first_since_ns[i])
			return 0;
	return live->waiting == waiting->waiting && live->waiting_since_ns == waiting->since_ns &&
	       live->first_waiting == waiting->first_waiting &&
	       live->first_since_ns == waiting->first_since_ns;
}

static __attribute__((unused)) int nobody_waits(const struct node *node, __u32 backend)
{
	return waiting_agrees(&node->live[backend], &node->clients[backend],
			      &(struct waiting){ 0 });
}

static __attribute__((unused)) void owners_fill(__u32 *owners, __u32 owner)
{
	for (int slot = 0; slot < NITY_SLOTS_PER_PAGE; slot++)
		owners[slot] = owner;
}

/* Suspect for everybody: two clients saw it fail. */
static __attribute__((unused)) void make_suspect(struct node *node, __u32 backend)
{
	node->live[backend].failures = 2;
	node->live[backend].accusers = 2;
	node->live[backend].accuser_failures = 1;
	node->live[backend].suspect_until_ns = 2000 * SECOND;
}

/* Leaves the heartbeat behind by long enough for FALLBACK. */
static __attribute__((unused)) void lose_the_agent(struct node *node)
{
	node->model.now_ns += 100 * SECOND;
}

#endif
