/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The memories of a flow: the socket's own, and the two that outlive it. It says
 * who a flow is, recalls what it was given, and settles it when it is over.
 */
#ifndef NITY_FLOW_H
#define NITY_FLOW_H

#include "access.h"

/* The books of the flow's backend, unless its index has been given to another. */
static __always_inline int ledger_of(struct nity_ledger *ledger, const struct nity_flow *flow)
{
	__u32 index = flow->backend;
	struct nity_backend *backend = nity_backend_at(index);
	struct nity_backend_clients *clients;

	if (!backend || backend->generation != flow->generation)
		return 0;
	clients = bpf_map_lookup_elem(&backend_clients, &index);
	if (!clients)
		return 0;
	ledger->field = field_at();
	ledger->live = nity_live_at(index);
	ledger->counters = bpf_map_lookup_elem(&backend_counters, &index);
	ledger->lane = &clients->lane[flow->lane & (NITY_LANES - 1)];
	return ledger->field && ledger->live && ledger->counters;
}

/* `left`: the backend had sent its FIN before the client let go. */
static __always_inline void release_flow(struct nity_flow *flow, int left)
{
	struct nity_ledger ledger;
	enum nity_counter end;
	__u64 now_ns;

	if (nity_read(flow->phase) == NITY_FLOW_SETTLED || !ledger_of(&ledger, flow))
		return;
	now_ns = bpf_ktime_get_ns();
	end = nity_observe_release(flow, &ledger, now_ns);
	nity_observe_unanswered(flow, &ledger, left, now_ns);
	if (end != NITY_COUNTERS)
		count(end);
}

/*
 * Settles the flow that the socket had before it dialled again. Not static: the verifier
 * walks a global function once, and not in each state in which a decision may come here,
 * so that it walks 39,000 instructions and not 180,000. A new socket never calls it.
 */
__noinline int release_earlier(struct nity_flow *flow)
{
	if (flow)
		release_flow(flow, 0);
	return 0;
}

/* One connect() to an address that is ours. */
struct nity_dial {
	struct bpf_sock_addr *ctx;
	struct nity_route_key address;
	/* What the client bound itself before it dialled; 0 for nothing. */
	__be16 source_port;
};

/*
 * A source that the client bound itself outlives the socket (NFS reconnects from
 * its reserved port and must meet its old server); otherwise the socket is the
 * flow.
 */
static __always_inline __u64 nity_flow_key(struct nity_dial *dial, __u32 route)
{
	__u64 own = dial->source_port ? (__u64)dial->ctx->sk->src_ip4 << 16 | dial->source_port :
					bpf_get_socket_cookie(dial->ctx);

	return nity_mix(bpf_get_netns_cookie(dial->ctx) ^ (__u64)route << 32) ^ own;
}

/*
 * A client is a user in a network namespace: neither can be changed without
 * privilege, as a process, a port or a cgroup can. Only a user namespace lets one user
 * make network namespaces of its own, and these have the user in common.
 */
static __always_inline __u32 client_of(struct nity_dial *dial)
{
	__u64 user = bpf_get_current_uid_gid() & 0xffffffff;
	__u64 within = nity_mix(bpf_get_netns_cookie(dial->ctx) ^ user << 32);

	/* Never 0, which is nobody; the upper half is the user's. */
	return nity_client_user(nity_mix(user + 1)) | (within & 0xffff) | 1;
}

/*
 * The first lanes go to the first clients; those that come later share them. The search
 * has no early way out: each would be a state of its own for the verifier, carried
 * through the whole decision.
 */
static __always_inline __u32 lane_of(struct nity_rt_control *control, __u32 client)
{
	__u32 lane = client & (NITY_LANES - 1), found = 0, at = lane;
	/* Read once: two CPUs that dial for one client must not find different lanes free. */
	__u32 there[NITY_LANES];

#pragma GCC unroll 4
	for (int i = 0; i < NITY_LANES; i++) {
		/* All ones where the lane is the client's: branches would be states again. */
		__u32 mine;

		there[i] = nity_read(control->clients[i]);
		mine = (__u32)(((__u64)(there[i] ^ client) - 1) >> 32);
		lane = (lane & ~mine) | (i & mine);
		found |= mine;
	}
	/* A client that is new takes a free lane, and is found there the next time. */
	if (!found) {
#pragma GCC unroll 4
		for (int i = 0; i < NITY_LANES; i++) {
			__u32 free = (__u32)(((__u64)there[i] - 1) >> 32);

			at = (at & ~free) | (i & free);
		}
		if (!__sync_val_compare_and_swap(&control->clients[at & (NITY_LANES - 1)], 0,
						 client))
			lane = at;
	}
	return lane & (NITY_LANES - 1);
}

static __always_inline void conntrack_key(struct nity_conntrack_key *key, struct nity_dial *dial)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns_cookie = bpf_get_netns_cookie(dial->ctx);
	key->source = dial->ctx->sk->src_ip4;
	key->vip = dial->address.vip;
	key->source_port = dial->source_port;
	key->vip_port = dial->address.port;
	key->protocol = dial->address.protocol;
}

/* Step 4: affinity, then conntrack. */
static __always_inline enum nity_counter recall(struct nity_pick *pick,
						const struct nity_field_state *field,
						const struct nity_rt_control *control,
						struct nity_dial *dial, __u32 route, __u64 now_ns)
{
	if (control->affinity_seconds) {
		struct nity_affinity_key key = { .netns_cookie = bpf_get_netns_cookie(dial->ctx),
						 .route = route };
		struct nity_affinity *known = bpf_map_lookup_elem(&affinity, &key);

		if (known && now_ns < known->expires_ns &&
		    nity_recall(pick, field, route, known->backend, known->generation, now_ns))
			return NITY_PICKED_AFFINITY;
	}
	if (dial->source_port) {
		struct nity_conntrack_key key;
		struct nity_conntrack *known;

		conntrack_key(&key, dial);
		known = bpf_map_lookup_elem(&conntrack, &key);
		if (known &&
		    nity_recall(pick, field, route, known->backend, known->generation, now_ns))
			return NITY_PICKED_CONNTRACK;
	}
	return NITY_COUNTERS;
}

#define NITY_SECOND_NS 1000000000ULL

/* Step 8, the memories that outlive the socket. Nothing is written that is already equal. */
static __always_inline void remember(const struct nity_pick *pick,
				     const struct nity_rt_control *control, struct nity_dial *dial,
				     __u32 route, const struct nity_posture *posture)
{
	__u64 now_ns = posture->now_ns;

	if (control->affinity_seconds) {
		struct nity_affinity_key key = { .netns_cookie = bpf_get_netns_cookie(dial->ctx),
						 .route = route };
		struct nity_affinity fresh = {
			.backend = pick->index,
			.generation = pick->backend->generation,
			.expires_ns = now_ns + control->affinity_seconds * NITY_SECOND_NS,
		};
		struct nity_affinity *known = bpf_map_lookup_elem(&affinity, &key);

		/* The timeout counts from the last connection; a second's grain is enough. */
		if (!known || known->backend != fresh.backend ||
		    known->generation != fresh.generation ||
		    known->expires_ns + NITY_SECOND_NS < fresh.expires_ns)
			bpf_map_update_elem(&affinity, &key, &fresh, BPF_ANY);
	}
	if (dial->source_port) {
		struct nity_conntrack_key key;
		struct nity_conntrack fresh = {
			.backend = pick->index,
			.generation = pick->backend->generation,
			.epoch = posture->epoch,
			.last_seen_ns = now_ns,
		};
		struct nity_conntrack *known;

		conntrack_key(&key, dial);
		known = bpf_map_lookup_elem(&conntrack, &key);
		if (!known || known->backend != fresh.backend ||
		    known->generation != fresh.generation ||
		    known->last_seen_ns + NITY_SECOND_NS < now_ns)
			bpf_map_update_elem(&conntrack, &key, &fresh, BPF_ANY);
	}
}

/* The socket's own memory. It exists from here until the socket is freed. */
static __always_inline struct nity_flow *track(struct nity_dial *dial, const struct nity_pick *pick,
					       __u32 route, const struct nity_posture *posture,
					       int measured)
{
	struct nity_flow *flow =
		bpf_sk_storage_get(&sk_flow, dial->ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!flow)
		return 0;
	/* A connect retried on the same socket: its last flow is over. */
	if (nity_read(flow->phase) != NITY_FLOW_SETTLED)
		release_earlier(flow);
	flow->vip = dial->address.vip;
	flow->vip_port = dial->address.port;
	flow->address = pick->backend->address;
	flow->port = pick->backend->port;
	flow->route = route;
	flow->backend = pick->index;
	flow->generation = pick->backend->generation;
	flow->client = pick->client;
	flow->lane = pick->lane;
	flow->slot = pick->slot;
	flow->epoch = posture->epoch;
	flow->request_ns = 0;
	flow->skip = 0;
	flow->exchange = measured ? NITY_EXCHANGE_NONE : NITY_EXCHANGE_UNMEASURED;
	nity_observe_open(flow, pick->live, posture->now_ns);
	return flow;
}

#endif
