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

/* A SYN that its client gave up before this long says nothing: it had no time to be answered. */
#ifndef NITY_PATIENCE_NS
#define NITY_PATIENCE_NS 200000000ULL
#endif

/*
 * A used connection also carries bytes that want no answer (HTTP/2's
 * WINDOW_UPDATE, a PING's ACK), so what comes this much later is no answer to
 * them. A fresh connection's first words always want one.
 */
#ifndef NITY_EXCHANGE_PATIENCE_NS
#define NITY_EXCHANGE_PATIENCE_NS 30000000000ULL
#endif

/* A TLS server sends its session tickets at once, in one flight or in a few. */
#ifndef NITY_TICKET_FLIGHT_NS
#define NITY_TICKET_FLIGHT_NS 500000ULL
#endif

/* The first byte of a TLS record (RFC 8446, 5.1). */
enum nity_tls_record {
	NITY_TLS_CHANGE_CIPHER_SPEC = 20,
	NITY_TLS_HANDSHAKE = 22,
};

/* The books of a flow's backend; `lane` is the flow's client's. */
struct nity_ledger {
	struct nity_field_state *field;
	struct nity_backend_live *live;
	struct nity_backend_counters *counters;
	struct nity_lane *lane;
};

static __always_inline void nity_add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

static __always_inline void nity_tell(__u32 *counter, __u32 n)
{
	__sync_fetch_and_add(counter, n);
}

static __always_inline void nity_observe_open(struct nity_flow *flow,
					      struct nity_backend_live *live, __u64 now_ns)
{
	flow->started_ns = now_ns;
	__sync_fetch_and_add(&live->open, 1);
	__sync_fetch_and_add(&live->occupancy_ns, -now_ns);
	nity_write(flow->phase, NITY_FLOW_PICKED);
}

/*
 * TCP sends the SYN. A fast-open socket sends it with its first bytes, long after
 * connect(): the time to connect counts from here.
 */
static __always_inline void nity_observe_syn(struct nity_flow *flow, __u64 now_ns)
{
	if (__sync_val_compare_and_swap(&flow->phase, NITY_FLOW_PICKED, NITY_FLOW_CONNECTING) ==
	    NITY_FLOW_PICKED)
		flow->started_ns = now_ns;
}

/* A connect of `client` succeeded: whatever the network said before, it is over. */
static __always_inline void nity_observe_success(struct nity_backend_live *live, __u32 client)
{
	if (nity_read(live->failures)) {
		nity_write(live->failures, 0);
		nity_write(live->accusers, 0);
	}
	/* What another client saw may be its own trouble, which this one does not have. */
	if (nity_read(live->accuser_failures) && nity_read(live->accuser) == client)
		nity_write(live->accuser_failures, 0);
}

/* The half of a client's hash that all network namespaces of one user share. */
static __always_inline __u32 nity_client_user(__u32 client)
{
	return client & 0xffff0000;
}

/* The network refused a connect of `client`, or left its SYN without an answer. */
static __always_inline void nity_observe_failure(const struct nity_field_state *field,
						 struct nity_backend_live *live, __u32 client,
						 __u64 now_ns)
{
	__u32 failures = __sync_fetch_and_add(&live->failures, 1) + 1;
	__u64 until_ns;

	if (nity_read(live->accuser) == client && nity_read(live->accuser_failures)) {
		__u32 own = __sync_fetch_and_add(&live->accuser_failures, 1) + 1;

		if (field->suspect_after && own >= field->suspect_after) {
			until_ns = now_ns + nity_suspicion_ns(field, own);
			if (nity_read(live->accuser_until_ns) < until_ns)
				nity_write(live->accuser_until_ns, until_ns);
		}
		if (!nity_read(live->accusers))
			nity_write(live->accusers, 1);
	} else {
		__u32 before = nity_read(live->accuser);
		__u32 accusers = nity_read(live->accusers);

		/* One user's network namespaces bear each other no witness. */
		if (failures > 1 && accusers &&
		    nity_client_user(before) != nity_client_user(client))
			accusers = 2;
		nity_write(live->accusers, accusers ? accusers : 1);
		nity_write(live->accuser, client);
		nity_write(live->accuser_failures, 1);
		/* The suspicion of the accuser before is not this one's; with 1 it has its own. */
		nity_write(live->accuser_until_ns,
			   field->suspect_after == 1 ? now_ns + field->suspect_ns : 0);
	}
	if (!field->suspect_after || failures < field->suspect_after ||
	    nity_read(live->accusers) < 2)
		return;
	until_ns = now_ns + nity_suspicion_ns(field, failures);
	/* The agent may have set a longer time. */
	if (nity_read(live->suspect_until_ns) < until_ns)
		nity_write(live->suspect_until_ns, until_ns);
}

/* Returns whether it was news: a flow is established once. */
static __always_inline int nity_observe_established(struct nity_flow *flow,
						    const struct nity_ledger *ledger, __u64 now_ns)
{
	struct nity_backend_counters *counters = ledger->counters;
	__u64 connect_ns = now_ns - flow->started_ns;
	__u32 bucket = nity_histogram_bucket(connect_ns);
	__u32 phase = nity_read(flow->phase);

	if (phase != NITY_FLOW_CONNECTING && phase != NITY_FLOW_PICKED)
		return 0;
	/* Not a plain store: the client may be closing the socket on another CPU. */
	if (__sync_val_compare_and_swap(&flow->phase, phase, NITY_FLOW_ESTABLISHED) != phase)
		return 0;
	nity_observe_success(ledger->live, flow->client);
	nity_tell(&ledger->lane->established, 1);
	nity_add(&counters->established, 1);
	nity_add(&counters->connect_ns, connect_ns);
	if (bucket < NITY_HISTOGRAM_BUCKETS)
		__sync_fetch_and_add(&counters->connect_histogram[bucket], 1);
	return 1;
}

/*
 * A SYN is repeated: none was answered for as long as TCP waits. That it was noticed is
 * noted once a repetition, so that what follows is the end's to count.
 */
static __always_inline void nity_observe_repeated(struct nity_flow *flow,
						  const struct nity_ledger *ledger, __u64 now_ns)
{
	if (nity_read(flow->phase) == NITY_FLOW_CONNECTING)
		nity_observe_failure(ledger->field, ledger->live, flow->client, now_ns);
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

/* No SYN was sent: what stopped it is on this machine. */
static __always_inline enum nity_counter nity_observe_unsent(const struct nity_ledger *ledger)
{
	nity_add(&ledger->counters->unsent, 1);
	return NITY_ENDED_UNSENT;
}

/*
 * The client let go of the socket: close(), exit, or another connect() on it. To give up is
 * its own affair; how often clients do, the agent compares between backends.
 */
static __always_inline enum nity_counter nity_observe_release(struct nity_flow *flow,
							      const struct nity_ledger *ledger,
							      __u64 now_ns)
{
	switch (nity_observe_settle(flow, ledger->live, now_ns)) {
	case NITY_FLOW_PICKED:
		return nity_observe_unsent(ledger);
	case NITY_FLOW_CONNECTING:
		nity_add(&ledger->counters->abandoned, 1);
		if (now_ns - flow->started_ns >= NITY_PATIENCE_NS) {
			nity_add(&ledger->counters->unheard, 1);
			nity_tell(&ledger->lane->failed, 1);
		}
		return NITY_ENDED_ABANDONED;
	case NITY_FLOW_ESTABLISHED:
		nity_add(&ledger->counters->closed, 1);
		return NITY_ENDED_CLOSED;
	default:
		return NITY_COUNTERS;
	}
}

/* What TCP had seen of a connection when it ended. */
struct nity_ending {
	__u32 segments_in;
	__u32 retransmits;
	/* Both sides had sent their FIN. */
	int orderly;
};

/*
 * TCP ended the connection while the client still held the socket. An answer to
 * a SYN that is no SYN-ACK is a reset: refused. No answer, but repeated SYNs: timed
 * out. Neither: an ICMP error or a local one said unreachable.
 */
static __always_inline enum nity_counter nity_observe_end(struct nity_flow *flow,
							  const struct nity_ledger *ledger,
							  const struct nity_ending *ending,
							  __u64 now_ns)
{
	struct nity_backend_counters *counters = ledger->counters;

	switch (nity_observe_settle(flow, ledger->live, now_ns)) {
	case NITY_FLOW_PICKED:
		return nity_observe_unsent(ledger);
	case NITY_FLOW_CONNECTING:
		nity_observe_failure(ledger->field, ledger->live, flow->client, now_ns);
		nity_tell(&ledger->lane->failed, 1);
		if (ending->segments_in) {
			nity_add(&counters->refused, 1);
			return NITY_ENDED_REFUSED;
		}
		if (ending->retransmits) {
			nity_add(&counters->timed_out, 1);
			return NITY_ENDED_TIMED_OUT;
		}
		nity_add(&counters->unreachable, 1);
		return NITY_ENDED_UNREACHABLE;
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

/* `change` more requests of the flow's exchange that wait since `since_ns`: 1 or -1. */
static __always_inline void nity_observe_waiting(const struct nity_ledger *ledger,
						 const struct nity_flow *flow, int change,
						 __u32 exchange, __u64 since_ns)
{
	struct nity_backend_live *live = ledger->live;
	__u64 since = change > 0 ? since_ns : -since_ns;

	__sync_fetch_and_add(&live->waiting, change);
	__sync_fetch_and_add(&live->waiting_since_ns, since);
	__sync_fetch_and_add(&live->lane_waiting[flow->lane & (NITY_LANES - 1)], change);
	if (exchange != NITY_EXCHANGE_FIRST)
		return;
	__sync_fetch_and_add(&live->first_waiting, change);
	__sync_fetch_and_add(&live->first_since_ns, since);
	nity_tell(&ledger->lane->first_waiting, change);
	nity_add(&ledger->lane->first_since_ns, since);
}

/* The request that waits goes on: its clock counts from its latest bytes. */
static __always_inline void nity_observe_more(const struct nity_ledger *ledger,
					      struct nity_flow *flow, __u32 seq, __u64 since_ns,
					      __u64 now_ns)
{
	__u64 later_ns = now_ns - since_ns;
	/* Read first: an answer on another CPU may end the exchange as soon as it is swapped. */
	__u32 exchange = nity_read(flow->exchange);

	if (__sync_val_compare_and_swap(&flow->request_ns, since_ns, now_ns) != since_ns)
		return;
	flow->sent_seq = seq;
	nity_add(&ledger->live->waiting_since_ns, later_ns);
	if (exchange != NITY_EXCHANGE_FIRST)
		return;
	nity_add(&ledger->live->first_since_ns, later_ns);
	nity_add(&ledger->lane->first_since_ns, later_ns);
}

/*
 * The client sends bytes from `seq` on. They begin a request if none is waiting, or
 * go on with the one that is: an exchange's time counts from the last byte before its
 * answer. They begin it anew if the backend had acknowledged all that went before on
 * a used connection: that may have been bytes that wanted no answer.
 */
static __always_inline void nity_observe_request(struct nity_flow *flow,
						 const struct nity_ledger *ledger, __u32 seq,
						 int acknowledged, __u64 now_ns)
{
	__u64 since_ns = nity_read(flow->request_ns);

	if (nity_read(flow->phase) != NITY_FLOW_ESTABLISHED)
		return;
	if (since_ns) {
		/* TCP sends again what it sent before. */
		if ((__s32)(seq - flow->sent_seq) <= 0)
			return;
		if (!acknowledged || flow->exchange == NITY_EXCHANGE_FIRST) {
			if (flow->exchange != NITY_EXCHANGE_TLS)
				nity_observe_more(ledger, flow, seq, since_ns, now_ns);
			return;
		}
		if (__sync_val_compare_and_swap(&flow->request_ns, since_ns, 0) == since_ns)
			nity_observe_waiting(ledger, flow, -1, flow->exchange, since_ns);
		/* What follows a handshake is told by its tickets, which may still be on their way. */
		if (flow->exchange != NITY_EXCHANGE_TLS ||
		    (flow->ticket_ns && now_ns - flow->ticket_ns >= NITY_TICKET_FLIGHT_NS))
			flow->exchange = NITY_EXCHANGE_LATER;
	} else if (flow->exchange == NITY_EXCHANGE_NONE) {
		flow->exchange = NITY_EXCHANGE_FIRST;
	} else if (flow->exchange == NITY_EXCHANGE_FIRST) {
		flow->exchange = NITY_EXCHANGE_LATER;
	}
	if (flow->exchange != NITY_EXCHANGE_TLS)
		flow->ticket_ns = 0;
	flow->request_seq = seq;
	flow->sent_seq = seq;
	nity_observe_waiting(ledger, flow, 1, flow->exchange, now_ns);
	__sync_lock_test_and_set(&flow->request_ns, now_ns);
	/* Settled meanwhile by another CPU, which may have looked for a request too early. */
	if (nity_read(flow->phase) != NITY_FLOW_ESTABLISHED &&
	    __sync_val_compare_and_swap(&flow->request_ns, now_ns, 0) == now_ns)
		nity_observe_waiting(ledger, flow, -1, flow->exchange, now_ns);
}

static __always_inline void nity_observe_first_byte(const struct nity_ledger *ledger,
						    __u64 first_byte_ns)
{
	struct nity_backend_counters *counters = ledger->counters;
	__u32 bucket = nity_latency_bucket(first_byte_ns);

	nity_tell(&ledger->lane->answered, 1);
	nity_tell(&ledger->lane->answered_log, nity_quarter_octaves(first_byte_ns));
	nity_add(&counters->answered, 1);
	nity_add(&counters->first_byte_ns, first_byte_ns);
	if (bucket < NITY_LATENCY_BUCKETS)
		__sync_fetch_and_add(&counters->first_byte_histogram[bucket], 1);
}

/*
 * Bytes came, of which `first` is the first, and acknowledge all before `ack`.
 * They answer the waiting request if they acknowledge its first byte: what the
 * backend said before it heard is no answer. Nor is a TLS handshake, and what
 * follows it is believed when the flight that may be session tickets is over.
 */
static __always_inline void nity_observe_answer(struct nity_flow *flow,
						const struct nity_ledger *ledger, __u32 ack,
						__u8 first, __u64 now_ns)
{
	__u64 since_ns = nity_read(flow->request_ns);
	__u32 exchange = flow->exchange;
	int fresh = exchange == NITY_EXCHANGE_FIRST || exchange == NITY_EXCHANGE_TLS;
	int handshake = fresh &&
			(first == NITY_TLS_HANDSHAKE ||
			 (exchange == NITY_EXCHANGE_TLS && first == NITY_TLS_CHANGE_CIPHER_SPEC));

	if (!since_ns || (__s32)(ack - flow->request_seq) <= 0)
		return;
	if (exchange == NITY_EXCHANGE_TLS && !handshake) {
		if (!flow->ticket_ns)
			flow->ticket_ns = now_ns;
		if (now_ns - flow->ticket_ns < NITY_TICKET_FLIGHT_NS)
			return;
	}
	if (__sync_val_compare_and_swap(&flow->request_ns, since_ns, 0) != since_ns)
		return;
	nity_observe_waiting(ledger, flow, -1, exchange, since_ns);
	/* TLS 1.2 ends its handshake in a second exchange, and sends no tickets after it. */
	flow->exchange = handshake && exchange == NITY_EXCHANGE_FIRST ? NITY_EXCHANGE_TLS :
									NITY_EXCHANGE_LATER;
	if (exchange == NITY_EXCHANGE_LATER && now_ns - since_ns > NITY_EXCHANGE_PATIENCE_NS)
		return;
	nity_write(ledger->live->answered_ns, now_ns);
	if (exchange == NITY_EXCHANGE_FIRST)
		nity_add(&ledger->counters->first_answered, 1);
	/* Before it heard the last bytes of the request: when it began to answer cannot be known. */
	if (!handshake && (__s32)(ack - flow->sent_seq) > 0)
		nity_observe_first_byte(ledger, now_ns - since_ns);
}

/* The flow is settled; a request that still waits will have no answer. */
static __always_inline void nity_observe_unanswered(struct nity_flow *flow,
						    const struct nity_ledger *ledger, int left,
						    __u64 now_ns)
{
	__u64 since_ns;

	if (flow->exchange < NITY_EXCHANGE_FIRST)
		return;
	since_ns = __sync_lock_test_and_set(&flow->request_ns, 0);
	if (!since_ns)
		return;
	nity_observe_waiting(ledger, flow, -1, flow->exchange, since_ns);
	/* Nothing followed what came: it was the answer, if the client went soon after it. */
	if (flow->exchange == NITY_EXCHANGE_TLS && flow->ticket_ns &&
	    now_ns - flow->ticket_ns < NITY_PATIENCE_NS)
		nity_observe_first_byte(ledger, flow->ticket_ns - since_ns);
	if (flow->exchange != NITY_EXCHANGE_FIRST)
		return;
	nity_tell(&ledger->lane->unserved, 1);
	nity_add(left ? &ledger->counters->dropped : &ledger->counters->unanswered, 1);
}

#endif
