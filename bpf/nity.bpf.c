// SPDX-License-Identifier: GPL-2.0
/*
 * The entry points: fetch what a decision needs, call decide.h, apply what it
 * says. Only UAPI headers and helpers, so that the object also loads on a
 * kernel without BTF of its own.
 */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "maps.h"
#include "observe.h"

#define NITY_CONTINUE 1
#define NITY_REFUSE 0

static __always_inline __u32 *owner_in(struct nity_slot_page *page, __u32 slot)
{
	return page ? &page->owner[slot % NITY_SLOTS_PER_PAGE] : 0;
}

static __always_inline __u32 *nity_slot_at(__u32 table, __u32 slot)
{
	__u32 page = slot / NITY_SLOTS_PER_PAGE;

	if (table)
		return owner_in(bpf_map_lookup_elem(&slot_table_b, &page), slot);
	return owner_in(bpf_map_lookup_elem(&slot_table_a, &page), slot);
}

static __always_inline __u32 *nity_fallback_at(__u32 slot)
{
	__u32 page = slot / NITY_SLOTS_PER_PAGE;

	return owner_in(bpf_map_lookup_elem(&fallback, &page), slot);
}

static __always_inline struct nity_backend *nity_backend_at(__u32 backend)
{
	return bpf_map_lookup_elem(&backends, &backend);
}

static __always_inline struct nity_backend_live *nity_live_at(__u32 backend)
{
	return bpf_map_lookup_elem(&backend_live, &backend);
}

static __always_inline struct nity_field_state *field_at(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&field_state, &only);
}

static __always_inline void count(enum nity_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		*value += 1;
}

/* What settling a flow needs, unless its backend's index has been given to another. */
struct nity_ledger {
	struct nity_field_state *field;
	struct nity_backend_live *live;
	struct nity_backend_counters *counters;
};

static __always_inline int ledger_of(struct nity_ledger *ledger, const struct nity_flow *flow)
{
	__u32 index = flow->backend;
	struct nity_backend *backend = nity_backend_at(index);

	if (!backend || backend->generation != flow->generation)
		return 0;
	ledger->field = field_at();
	ledger->live = nity_live_at(index);
	ledger->counters = bpf_map_lookup_elem(&backend_counters, &index);
	return ledger->field && ledger->live && ledger->counters;
}

static __always_inline void release_flow(struct nity_flow *flow)
{
	struct nity_ledger ledger;
	enum nity_counter end;

	if (nity_read(flow->phase) == NITY_FLOW_SETTLED || !ledger_of(&ledger, flow))
		return;
	end = nity_observe_release(ledger.field, flow, ledger.live, ledger.counters,
				   bpf_ktime_get_ns());
	if (end != NITY_COUNTERS)
		count(end);
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
					       __u32 route, const struct nity_posture *posture)
{
	struct nity_flow *flow =
		bpf_sk_storage_get(&sk_flow, dial->ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!flow)
		return 0;
	/* A connect retried on the same socket: its last flow is over. */
	release_flow(flow);
	flow->vip = dial->address.vip;
	flow->vip_port = dial->address.port;
	flow->address = pick->backend->address;
	flow->port = pick->backend->port;
	flow->route = route;
	flow->backend = pick->index;
	flow->generation = pick->backend->generation;
	flow->slot = pick->slot;
	flow->epoch = posture->epoch;
	nity_observe_open(flow, pick->live, posture->now_ns);
	return flow;
}

static __always_inline void sample(struct nity_dial *dial, const struct nity_pick *pick,
				   const struct nity_posture *posture, __u32 route, __u64 turn)
{
	struct nity_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count(NITY_NOTED_EVENT_LOST);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = posture->now_ns;
	event->socket_cookie = bpf_get_socket_cookie(dial->ctx);
	event->netns_cookie = bpf_get_netns_cookie(dial->ctx);
	event->epoch = posture->epoch;
	event->route = route;
	event->backend = pick->index;
	event->slot = pick->slot;
	event->turn = turn;
	event->vip = dial->address.vip;
	event->vip_port = dial->address.port;
	event->outcome = pick->outcome;
	event->failsafe_mode = posture->failsafe_mode;
	event->admission_mode = posture->admission_mode;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void note(const struct nity_posture *posture, const struct nity_pick *pick)
{
	if (posture->failsafe_mode == NITY_FAILSAFE_HOLD)
		count(NITY_NOTED_HOLD);
	else if (posture->failsafe_mode == NITY_FAILSAFE_FALLBACK)
		count(NITY_NOTED_FALLBACK);
	if (pick->suspects_passed)
		count(NITY_NOTED_SUSPECT_PASSED);
	if (pick->suspects_probed)
		count(NITY_NOTED_SUSPECT_PROBED);
	if (pick->rewritten)
		count(NITY_NOTED_REWRITTEN);
}

/* Steps 2 to 7 for a dialled address that is ours. */
static __always_inline void decide(struct nity_pick *pick, struct nity_posture *posture,
				   const struct nity_field_state *field,
				   struct nity_rt_control *control, struct nity_dial *dial,
				   __u32 route)
{
	nity_posture(posture, field, control, bpf_ktime_get_ns());
	pick->outcome = nity_admit(control, posture);
	if (pick->outcome != NITY_COUNTERS)
		return;
	pick->outcome = recall(pick, field, control, dial, route, posture->now_ns);
	if (pick->outcome != NITY_COUNTERS)
		return;
	nity_pick(pick, field, control, posture, dial, route);
}

/* Returns the decision; on a pick, *backend says where to rewrite to. */
static __always_inline int serve(struct nity_dial *dial, __u32 route, struct nity_backend **backend)
{
	struct nity_field_state *field = field_at();
	struct nity_rt_control *control = bpf_map_lookup_elem(&rt_control, &route);
	struct nity_backend_counters *backend_count;
	struct bpf_sock *sk = dial->ctx->sk;
	struct nity_posture posture = { 0 };
	struct nity_pick pick = { 0 };
	struct nity_flow *earlier;
	__u64 turn;

	if (!field || !control || !sk) {
		count(NITY_REFUSED_INCOMPLETE);
		bpf_set_retval(-ECONNREFUSED);
		return NITY_REFUSE;
	}
	dial->source_port = bpf_htons(sk->src_port);

	decide(&pick, &posture, field, control, dial, route);
	count(pick.outcome);
	note(&posture, &pick);

	if (nity_refused(pick.outcome) || !pick.backend || !pick.live) {
		earlier = bpf_sk_storage_get(&sk_flow, sk, 0, 0);
		if (earlier)
			release_flow(earlier);
		turn = __sync_fetch_and_add(&control->refused, 1);
		if (!(turn & field->sample_mask))
			sample(dial, &pick, &posture, route, turn);
		bpf_set_retval(-ECONNREFUSED);
		return NITY_REFUSE;
	}

	turn = __sync_fetch_and_add(&control->picks, 1);
	backend_count = bpf_map_lookup_elem(&backend_counters, &pick.index);
	if (backend_count)
		nity_add(&backend_count->picks, 1);
	if (!track(dial, &pick, route, &posture))
		count(NITY_NOTED_UNTRACKED);
	remember(&pick, control, dial, route, &posture);
	if (!(turn & field->sample_mask))
		sample(dial, &pick, &posture, route, turn);
	*backend = pick.backend;
	return NITY_CONTINUE;
}

SEC("cgroup/connect4")
int nity_connect4(struct bpf_sock_addr *ctx)
{
	struct nity_dial dial = {
		.ctx = ctx,
		.address = {
			.vip = ctx->user_ip4,
			.port = ctx->user_port,
			.protocol = ctx->protocol,
		},
	};
	__u32 *route = bpf_map_lookup_elem(&routes, &dial.address);
	struct nity_backend *backend = 0;

	if (!route)
		return NITY_CONTINUE;
	if (serve(&dial, *route, &backend) == NITY_REFUSE || !backend)
		return NITY_REFUSE;
	ctx->user_ip4 = backend->address;
	ctx->user_port = backend->port;
	return NITY_CONTINUE;
}

/* Java and Go dial IPv4 from AF_INET6 sockets, as ::ffff:a.b.c.d. */
SEC("cgroup/connect6")
int nity_connect6(struct bpf_sock_addr *ctx)
{
	struct nity_dial dial = { .ctx = ctx };
	struct nity_backend *backend = 0;
	__u32 *route;

	if (ctx->user_ip6[0] || ctx->user_ip6[1] || ctx->user_ip6[2] != bpf_htonl(0xffff))
		return NITY_CONTINUE;
	dial.address.vip = ctx->user_ip6[3];
	dial.address.port = ctx->user_port;
	dial.address.protocol = ctx->protocol;
	route = bpf_map_lookup_elem(&routes, &dial.address);
	if (!route)
		return NITY_CONTINUE;
	if (serve(&dial, *route, &backend) == NITY_REFUSE || !backend)
		return NITY_REFUSE;
	ctx->user_ip6[3] = backend->address;
	ctx->user_port = backend->port;
	return NITY_CONTINUE;
}

/* The peer that the client dialled, as long as it asks about the backend it got. */
static __always_inline struct nity_flow *flow_of_peer(struct bpf_sock_addr *ctx, __be32 address)
{
	struct nity_flow *flow;

	if (!ctx->sk)
		return 0;
	flow = bpf_sk_storage_get(&sk_flow, ctx->sk, 0, 0);
	if (!flow || flow->address != address || flow->port != ctx->user_port)
		return 0;
	return flow;
}

SEC("cgroup/getpeername4")
int nity_getpeername4(struct bpf_sock_addr *ctx)
{
	struct nity_flow *flow = flow_of_peer(ctx, ctx->user_ip4);

	if (flow) {
		ctx->user_ip4 = flow->vip;
		ctx->user_port = flow->vip_port;
	}
	return NITY_CONTINUE;
}

SEC("cgroup/getpeername6")
int nity_getpeername6(struct bpf_sock_addr *ctx)
{
	struct nity_flow *flow;

	if (ctx->user_ip6[0] || ctx->user_ip6[1] || ctx->user_ip6[2] != bpf_htonl(0xffff))
		return NITY_CONTINUE;
	flow = flow_of_peer(ctx, ctx->user_ip6[3]);
	if (flow) {
		ctx->user_ip6[3] = flow->vip;
		ctx->user_port = flow->vip_port;
	}
	return NITY_CONTINUE;
}

static __always_inline void established(struct nity_flow *flow)
{
	struct nity_ledger ledger;

	if (!ledger_of(&ledger, flow))
		return;
	nity_observe_established(flow, ledger.live, ledger.counters, bpf_ktime_get_ns());
	count(NITY_NOTED_ESTABLISHED);
}

/* States that a connection passes only after a FIN each way. */
static __always_inline int said_goodbye(__u32 state)
{
	return state == BPF_TCP_FIN_WAIT2 || state == BPF_TCP_TIME_WAIT ||
	       state == BPF_TCP_LAST_ACK || state == BPF_TCP_CLOSING;
}

static __always_inline void ended(struct bpf_sock_ops *ctx, struct nity_flow *flow)
{
	__u64 bytes_sent = ctx->bytes_acked, bytes_received = ctx->bytes_received;
	struct nity_ledger ledger;
	enum nity_counter end;

	/* The client closed first, and there is nothing left to write down. */
	if (nity_read(flow->phase) == NITY_FLOW_SETTLED && !bytes_sent && !bytes_received)
		return;
	if (!ledger_of(&ledger, flow))
		return;
	if (bytes_sent)
		nity_add(&ledger.counters->bytes_sent, bytes_sent);
	if (bytes_received)
		nity_add(&ledger.counters->bytes_received, bytes_received);
	if (nity_read(flow->phase) != NITY_FLOW_SETTLED) {
		struct nity_ending ending = {
			.segments_in = ctx->segs_in,
			.retransmits = ctx->total_retrans,
			.orderly = said_goodbye(ctx->args[0]),
		};

		end = nity_observe_end(ledger.field, flow, ledger.live, ledger.counters, &ending,
				       bpf_ktime_get_ns());
		if (end != NITY_COUNTERS)
			count(end);
	}
}

SEC("sockops")
int nity_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;
	struct nity_flow *flow;

	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			break;
		return NITY_CONTINUE;
	default:
		return NITY_CONTINUE;
	}
	sk = ctx->sk;
	if (!sk)
		return NITY_CONTINUE;
	flow = bpf_sk_storage_get(&sk_flow, sk, 0, 0);
	if (!flow)
		return NITY_CONTINUE;

	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		bpf_sock_ops_cb_flags_set(ctx,
					  ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	else if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		established(flow);
	else
		ended(ctx, flow);
	return NITY_CONTINUE;
}

SEC("cgroup/sock_release")
int nity_sock_release(struct bpf_sock *ctx)
{
	struct nity_flow *flow = bpf_sk_storage_get(&sk_flow, ctx, 0, 0);

	if (flow)
		release_flow(flow);
	return NITY_CONTINUE;
}

char LICENSE[] SEC("license") = "GPL";
