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

#include "flow.h"
#include "packet.h"
#include "trace.h"

#define NITY_CONTINUE 1
#define NITY_REFUSE 0

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
	/* The index is another's by now: neither its valve nor its backends are this route's. */
	if (nity_read(control->handle) != route) {
		pick->outcome = NITY_REFUSED_BOUNDARY;
		return;
	}
	nity_draw_lot(pick, posture, control);
	pick->outcome = nity_admit(control, posture);
	if (pick->outcome != NITY_COUNTERS)
		return;
	pick->outcome = recall(pick, field, control, dial, route, posture->now_ns);
	if (pick->outcome != NITY_COUNTERS)
		return;
	nity_pick(pick, field, control, posture, dial, route);
}

/* Returns the decision; `route` is a handle. On a pick, *backend says where to rewrite to. */
static __always_inline int serve(struct nity_dial *dial, __u32 route, struct nity_backend **backend)
{
	struct nity_field_state *field = field_at();
	__u32 index = nity_route_index(route);
	struct nity_rt_control *control = bpf_map_lookup_elem(&rt_control, &index);
	struct nity_backend_counters *backend_count;
	struct bpf_sock *sk = dial->ctx->sk;
	struct nity_posture posture = { 0 };
	struct nity_pick pick = { 0 };
	struct nity_flow *earlier;
	int measured;
	__u64 turn;

	if (!field || !control || !sk) {
		count(NITY_REFUSED_INCOMPLETE);
		bpf_set_retval(-ECONNREFUSED);
		return NITY_REFUSE;
	}
	dial->source_port = bpf_htons(sk->src_port);

	pick.client = client_of(dial);
	pick.lane = lane_of(control, pick.client);
	decide(&pick, &posture, field, control, dial, route);
	count(pick.outcome);
	note(&posture, &pick);

	if (nity_refused(pick.outcome) || !pick.backend || !pick.live) {
		earlier = bpf_sk_storage_get(&sk_flow, sk, 0, 0);
		if (earlier)
			release_earlier(earlier);
		/* A refusal for want of this route's control is not to be booked on another's. */
		turn = nity_read(control->handle) == route ?
			       __sync_fetch_and_add(&control->refused, 1) :
			       0;
		if (nity_traced(field, &posture, turn))
			tell(dial, &pick, &posture, route, turn);
		bpf_set_retval(-ECONNREFUSED);
		return NITY_REFUSE;
	}

	turn = __sync_fetch_and_add(&control->picks, 1);
	backend_count = bpf_map_lookup_elem(&backend_counters, &pick.index);
	if (backend_count)
		nity_add(&backend_count->picks, 1);
	/* By a hash: the gear counts turns too, and a mask alone would pick the same slots. */
	measured = field->latency == NITY_LATENCY_FIRST_BYTE &&
		   !((__u32)nity_mix(turn + 1) & nity_read(control->latency_mask));
	if (!track(dial, &pick, route, &posture, measured))
		count(NITY_NOTED_UNTRACKED);
	remember(&pick, control, dial, route, &posture);
	if (nity_traced(field, &posture, turn))
		tell(dial, &pick, &posture, route, turn);
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

static __always_inline void ask_for(struct bpf_sock_ops *ctx, int flag)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | flag);
}

/* Told of each SYN that goes unanswered, and of the connection's end. */
static __always_inline void connecting(struct bpf_sock_ops *ctx, struct nity_flow *flow)
{
	nity_observe_syn(flow, bpf_ktime_get_ns());
	ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG);
}

static __always_inline void repeated(struct nity_flow *flow)
{
	struct nity_ledger ledger;

	if (nity_read(flow->phase) == NITY_FLOW_CONNECTING && ledger_of(&ledger, flow))
		nity_observe_repeated(flow, &ledger, bpf_ktime_get_ns());
}

static __always_inline void established(struct nity_flow *flow)
{
	struct nity_ledger ledger;

	if (!ledger_of(&ledger, flow))
		return;
	if (nity_observe_established(flow, &ledger, bpf_ktime_get_ns()))
		count(NITY_NOTED_ESTABLISHED);
}

/* States that a connection passes only after a FIN each way. */
static __always_inline int fins_were_sent(__u32 state)
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
	if (ctx->total_retrans)
		nity_add(&ledger.counters->retransmits, ctx->total_retrans);
	if (nity_read(flow->phase) != NITY_FLOW_SETTLED) {
		struct nity_ending ending = {
			.segments_in = ctx->segs_in,
			.retransmits = ctx->total_retrans,
			.orderly = fins_were_sent(ctx->args[0]),
		};
		__u64 now_ns = bpf_ktime_get_ns();

		end = nity_observe_end(flow, &ledger, &ending, now_ns);
		nity_observe_unanswered(flow, &ledger, 1, now_ns);
		if (end != NITY_COUNTERS)
			count(end);
	}
}

/*
 * The kernel runs this before each send of a socket that asked for it: what a
 * flow that is not measured sends costs nothing.
 */
static __always_inline void sent(struct bpf_sock_ops *ctx, struct nity_flow *flow)
{
	struct nity_ledger ledger;

	if (flow->exchange == NITY_EXCHANGE_UNMEASURED)
		return;
	if (flow->skip && !flow->request_ns) {
		flow->skip--;
		return;
	}
	if (!ledger_of(&ledger, flow))
		return;
	nity_observe_request(flow, &ledger, ctx->snd_nxt, ctx->snd_una == ctx->snd_nxt,
			     bpf_ktime_get_ns());
}

SEC("sockops")
int nity_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;
	struct nity_flow *flow;

	switch (ctx->op) {
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		/* No bytes: a bare ACK, or TCP only asks for the size of its header. */
		if (!ctx->skb_len)
			return NITY_CONTINUE;
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_RTO_CB:
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

	switch (ctx->op) {
	case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
		sent(ctx, flow);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		connecting(ctx, flow);
		break;
	case BPF_SOCK_OPS_RTO_CB:
		/* The last one sends nothing again: TCP gives up, and the end that follows counts. */
		if (!ctx->args[2])
			repeated(flow);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		established(flow);
		if (flow->exchange != NITY_EXCHANGE_UNMEASURED)
			ask_for(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
		break;
	default:
		ended(ctx, flow);
	}
	return NITY_CONTINUE;
}

/*
 * Every packet to a socket of the cgroup comes by here, so it leaves early: most
 * sockets are not ours, and most packets of ours answer nothing.
 */
SEC("cgroup_skb/ingress")
int nity_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct nity_rt_control *control;
	struct nity_ledger ledger;
	struct nity_payload payload = { 0 };
	struct nity_flow *flow;
	__u32 index;

	if (!sk)
		return NITY_CONTINUE;
	flow = bpf_sk_storage_get(&sk_flow, sk, 0, 0);
	if (!flow || !nity_read(flow->request_ns))
		return NITY_CONTINUE;
	if (!payload_of(skb, &payload) || !ledger_of(&ledger, flow))
		return NITY_CONTINUE;
	nity_observe_answer(flow, &ledger, payload.ack, payload.first, bpf_ktime_get_ns());
	index = nity_route_index(flow->route);
	control = bpf_map_lookup_elem(&rt_control, &index);
	if (control && flow->exchange == NITY_EXCHANGE_LATER)
		flow->skip = nity_read(control->latency_skip);
	return NITY_CONTINUE;
}

SEC("cgroup/sock_release")
int nity_sock_release(struct bpf_sock *ctx)
{
	struct nity_flow *flow = bpf_sk_storage_get(&sk_flow, ctx, 0, 0);

	if (flow)
		release_flow(flow, ctx->state == BPF_TCP_CLOSE_WAIT);
	return NITY_CONTINUE;
}

char LICENSE[] SEC("license") = "GPL";
