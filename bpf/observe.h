/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is measured of a flow after its pick: open counts, how each connect
 * ended, and how long it took. Like decide.h it knows no helper and no map; it
 * is handed the flow, its backend's live state and its backend's counters.
 *
 * A flow holds exactly one open count. Whoever swaps its phase to SETTLED gives
 * the count back, so no order of callbacks, and no two at once, can give it
 * back twice or never.
 */
#ifndef NITY_OBSERVE_H
#define NITY_OBSERVE_H

#include "decide.h"

/* A SYN that stays unanswered this long before its client gives up counts as a failure. */
#ifndef NITY_SYN_PATIENCE_NS
#define NITY_SYN_PATIENCE_NS 200000000ULL
#endif

static __always_inline void nity_add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

static __always_inline void nity_observe_open(struct nity_flow *flow,
					      struct nity_backend_live *live, __u64 now_ns)
{
	flow->started_ns = now_ns;
	__sync_fetch_and_add(&live->open, 1);
	__sync_fetch_and_add(&live->occupancy_ns, -now_ns);
	nity_write(flow->phase, NITY_FLOW_CONNECTING);
}

static __always_inline void nity_observe_success(struct nity_backend_live *live)
{
	if (nity_read(live->failures))
		nity_write(live->failures, 0);
}

static __always_inline void nity_observe_failure(const struct nity_field_state *field,
						 struct nity_backend_live *live, __u64 now_ns)
{
	__u32 failures = __sync_fetch_and_add(&live->failures, 1) + 1;

	if (field->suspect_after && failures >= field->suspect_after)
		nity_write(live->suspect_until_ns, now_ns + nity_suspicion_ns(field, failures));
}

/* Returns whether it was news: a flow is established once. */
static __always_inline int nity_observe_established(struct nity_flow *flow,
						    struct nity_backend_live *live,
						    struct nity_backend_counters *counters,
						    __u64 now_ns)
{
	__u64 connect_ns = now_ns - flow->started_ns;
	__u32 bucket = nity_histogram_bucket(connect_ns);

	/* Not a plain store: the client may be closing the socket on another CPU. */
	if (__sync_val_compare_and_swap(&flow->phase, NITY_FLOW_CONNECTING,
					NITY_FLOW_ESTABLISHED) != NITY_FLOW_CONNECTING)
		return 0;
	nity_observe_success(live);
	nity_add(&counters->established, 1);
	nity_add(&counters->connect_ns, connect_ns);
	if (bucket < NITY_HISTOGRAM_BUCKETS)
		__sync_fetch_and_add(&counters->connect_histogram[bucket], 1);
	return 1;
}

/* Returns the phase the flow was in, and gives its open count back unless another did. */
static __always_inline __u32 nity_observe_settle(struct nity_flow *flow,
						 struct nity_backend_live *live, __u64 now_ns)
{
	__u32 phase = __sync_lock_test_and_set(&flow->phase, NITY_FLOW_SETTLED);

	if (phase != NITY_FLOW_SETTLED) {
		__sync_fetch_and_add(&live->open, -1);
		__sync_fetch_and_add(&live->occupancy_ns, now_ns);
	}
	return phase;
}

/* The client let go of the socket: close(), exit, or another connect() on it. */
static __always_inline enum nity_counter nity_observe_release(
	const struct nity_field_state *field, struct nity_flow *flow,
	struct nity_backend_live *live, struct nity_backend_counters *counters, __u64 now_ns)
{
	switch (nity_observe_settle(flow, live, now_ns)) {
	case NITY_FLOW_CONNECTING:
		nity_add(&counters->abandoned, 1);
		if (now_ns - flow->started_ns >= NITY_SYN_PATIENCE_NS)
			nity_observe_failure(field, live, now_ns);
		return NITY_ENDED_ABANDONED;
	case NITY_FLOW_ESTABLISHED:
		nity_add(&counters->closed, 1);
		return NITY_ENDED_CLOSED;
	default:
		return NITY_COUNTERS;
	}
}

/* What TCP had seen of a connection when it ended. */
struct nity_ending {
	__u32 segments_in;
	__u32 retransmits;
	/* Both sides had said goodbye. */
	int orderly;
};

/*
 * TCP ended the connection while the client still held the socket. An answer to
 * a SYN that is no SYN-ACK is a reset: refused. No answer, but repeated SYNs: timed
 * out. Neither: an ICMP error or a local one said unreachable.
 */
static __always_inline enum nity_counter nity_observe_end(const struct nity_field_state *field,
							  struct nity_flow *flow,
							  struct nity_backend_live *live,
							  struct nity_backend_counters *counters,
							  const struct nity_ending *ending,
							  __u64 now_ns)
{
	enum nity_counter end;

	switch (nity_observe_settle(flow, live, now_ns)) {
	case NITY_FLOW_CONNECTING:
		nity_observe_failure(field, live, now_ns);
		if (ending->segments_in) {
			nity_add(&counters->refused, 1);
			end = NITY_ENDED_REFUSED;
		} else if (ending->retransmits) {
			nity_add(&counters->timed_out, 1);
			end = NITY_ENDED_TIMED_OUT;
		} else {
			nity_add(&counters->unreachable, 1);
			end = NITY_ENDED_UNREACHABLE;
		}
		return end;
	case NITY_FLOW_ESTABLISHED:
		if (ending->orderly) {
			nity_add(&counters->closed, 1);
			return NITY_ENDED_CLOSED;
		}
		nity_add(&counters->reset, 1);
		return NITY_ENDED_RESET;
	default:
		return NITY_COUNTERS;
	}
}

#endif
