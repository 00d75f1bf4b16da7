/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tells a sampled decision to the one who listens (`nity trace`). Listening is a
 * lease that he renews, so however he ends it costs nothing soon after; what he
 * asked for and how much of it a second is judged here, before any of it is
 * written down.
 */
#ifndef NITY_TRACE_H
#define NITY_TRACE_H

#include "flow.h"

/* While nobody listens this is all that a decision pays: a word of a line it has read anyway. */
static __always_inline int nity_traced(const struct nity_field_state *field,
				       const struct nity_posture *posture, __u64 turn)
{
	return posture->now_ns < nity_read(field->trace_until_ns) && !(turn & field->sample_mask);
}

static __always_inline int nity_trace_wants(const struct nity_trace *wanted,
					    const struct nity_pick *pick, __u32 route, __u32 pid)
{
	if (wanted->route && wanted->route != route)
		return 0;
	if (wanted->pid && wanted->pid != pid)
		return 0;
	if (wanted->outcomes && !(wanted->outcomes >> (pick->outcome & 63) & 1))
		return 0;
	if (!wanted->port)
		return 1;
	return pick->backend && pick->backend->address == wanted->address &&
	       pick->backend->port == wanted->port;
}

/* Not inline: rarely run, and too long to stand twice in each program. */
static __noinline void tell(struct nity_dial *dial, const struct nity_pick *pick,
			    const struct nity_posture *posture, __u32 route, __u64 turn)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u32 only = 0;
	struct nity_trace *wanted = bpf_map_lookup_elem(&trace, &only);
	struct nity_event *event;
	__u64 cost_ns;

	if (!wanted || !nity_trace_wants(wanted, pick, route, pid))
		return;
	if (nity_take_token(&wanted->bucket_ns, posture->now_ns, wanted->token_ns,
			    wanted->burst_ns) != NITY_TOKEN_TAKEN) {
		count(NITY_NOTED_EVENT_OVER_BUDGET);
		return;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
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
	event->protocol = dial->address.protocol;
	event->outcome = pick->outcome;
	event->failsafe_mode = posture->failsafe_mode;
	event->admission_mode = posture->admission_mode;
	if (pick->backend) {
		event->address = pick->backend->address;
		event->port = pick->backend->port;
	}
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->pid = pid;
	bpf_get_current_comm(event->command, sizeof(event->command));
	cost_ns = bpf_ktime_get_ns() - posture->now_ns;
	event->cost_ns = cost_ns < 0xffffffff ? cost_ns : 0xffffffff;
	/* The listener looks by the clock: waking him would cost the caller of connect(). */
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

#endif
