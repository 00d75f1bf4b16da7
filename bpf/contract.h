/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ABI between the two planes: structs, enums, limits and the schema
 * version. Nothing else lives here, and nothing else is shared.
 *
 * The agent learns every offset from the BTF of the compiled object, so a
 * change here reaches TypeScript by a rebuild. The layout is specified in
 * docs/rfc/0004-dataplane-contract-maps-keys.md.
 *
 * Times are CLOCK_MONOTONIC nanoseconds (the clock of bpf_ktime_get_ns()).
 * Addresses and ports named __be* are in network order, all else in host order.
 */
#ifndef NITY_CONTRACT_H
#define NITY_CONTRACT_H

#include <linux/types.h>

/* Another major is refused by every reader; an older minor is read. */
enum nity_schema {
	NITY_SCHEMA_MAJOR = 2,
	NITY_SCHEMA_MINOR = 0,
};

/* Sizes are defaults: `nity load` may choose smaller or larger maps. */
enum nity_limit {
	NITY_MAX_ADDRESSES = 32768,
	NITY_MAX_ROUTES = 16384,
	NITY_MAX_SLOTS = 2097152,
	/* Also the fewest slots a route may have, so that its range is whole pages. */
	NITY_SLOTS_PER_PAGE = 64,
	/* Of a route handle: its index in the lower bits, its generation in the rest. */
	NITY_ROUTE_INDEX_BITS = 18,
	NITY_MAX_BACKENDS = 131072,
	NITY_MAX_CONNTRACK = 65536,
	NITY_MAX_AFFINITY = 65536,
	NITY_EVENT_BYTES = 1048576,
	NITY_ROUTE_NAME_BYTES = 160,
	/* TASK_COMM_LEN: what the kernel knows of a thread's name. */
	NITY_COMMAND_BYTES = 16,
	NITY_MAX_COUNTERS = 64,
	NITY_HISTOGRAM_BUCKETS = 26,
	/* Bucket 0 ends at 2^10 ns; each later one is twice as wide. */
	NITY_HISTOGRAM_SHIFT = 10,
	/*
	 * First-byte latency: the first bucket ends at 1.25 * 2^16 ns. Four buckets an
	 * octave up to 2^26 ns (67 ms), two from there to 2^38 ns (275 s): answers may
	 * take minutes by design.
	 */
	NITY_LATENCY_BUCKETS = 64,
	NITY_LATENCY_SHIFT = 16,
	NITY_LATENCY_FINE_OCTAVES = 10,
	/* Clients of a route that are told apart; further ones share lanes by their hash. */
	NITY_LANES = 4,
	/* In the bounded gear the second choice is free in one turn of so many. */
	NITY_BOUNDED_TURNS = 6,
	NITY_DRAWS = 3,
	/* Tries at the token bucket's word; each lost try is another's token. */
	NITY_BUCKET_TRIES = 8,
};

/* No route, no backend, no slot. A fresh map is full of zeros, so index 0 is reserved. */
enum nity_none {
	NITY_NONE = 0,
};

enum nity_admission_mode {
	NITY_ADMISSION_NORMAL = 0,
	NITY_ADMISSION_SOFT = 1,
	NITY_ADMISSION_HARD = 2,
};

enum nity_failsafe_mode {
	NITY_FAILSAFE_NORMAL = 0,
	NITY_FAILSAFE_HOLD = 1,
	NITY_FAILSAFE_FALLBACK = 2,
};

/* The agent's posture. NONE: no agent has judged it. */
enum nity_regime {
	NITY_REGIME_NONE = 0,
	NITY_REGIME_LAMINAR = 1,
	NITY_REGIME_TRANSITION = 2,
	NITY_REGIME_CRISIS = 3,
	NITY_REGIME_RECOVERY = 4,
};

enum nity_gear {
	/* The slot decides. */
	NITY_GEAR_SINGLE = 0,
	/* The less loaded of two slots decides. */
	NITY_GEAR_TWIN = 1,
	/* As TWIN in one turn of NITY_BOUNDED_TURNS; in the others only a plain excess counts. */
	NITY_GEAR_BOUNDED = 2,
};

/*
 * What is measured of a backend's speed: its path alone, or also the time from a
 * request's first byte out to its response's first byte in.
 */
enum nity_latency {
	NITY_LATENCY_CONNECT = 0,
	NITY_LATENCY_FIRST_BYTE = 1,
};

/*
 * The exchange that a measured flow is in. What a client says first on a fresh
 * connection wants an answer; later bytes need not. TLS: the one that follows a
 * handshake, in which session tickets may come before the answer.
 */
enum nity_exchange {
	NITY_EXCHANGE_UNMEASURED = 0,
	NITY_EXCHANGE_NONE = 1,
	NITY_EXCHANGE_FIRST = 2,
	NITY_EXCHANGE_TLS = 3,
	NITY_EXCHANGE_LATER = 4,
};

/* RETIRED keeps its index until no table and no grace time needs it; then FREE. */
enum nity_backend_state {
	NITY_BACKEND_FREE = 0,
	NITY_BACKEND_HEALTHY = 1,
	NITY_BACKEND_DEGRADED = 2,
	NITY_BACKEND_ISOLATED = 3,
	NITY_BACKEND_RETIRED = 4,
};

/* A flow holds one open count from its pick until it is SETTLED. */
enum nity_flow_phase {
	NITY_FLOW_SETTLED = 0,
	/* A SYN was sent. */
	NITY_FLOW_CONNECTING = 1,
	NITY_FLOW_ESTABLISHED = 2,
	/* No SYN was sent yet: what becomes of the flow says nothing of its backend. */
	NITY_FLOW_PICKED = 3,
};

/*
 * The index of `counters`: one for each outcome of a decision, one for each
 * end of a flow, and one for each fact worth noticing on the way. Each failure
 * has its own.
 */
enum nity_counter {
	NITY_PICKED_GEAR = 0,
	NITY_PICKED_TWIN,
	NITY_PICKED_AFFINITY,
	NITY_PICKED_CONNTRACK,
	NITY_PICKED_FALLBACK,
	NITY_REFUSED_HARD,
	NITY_REFUSED_SOFT,
	NITY_REFUSED_CONTENDED,
	NITY_REFUSED_NO_BACKENDS,
	NITY_REFUSED_INCOMPLETE,
	NITY_REFUSED_BOUNDARY,
	NITY_ENDED_REFUSED,
	NITY_ENDED_TIMED_OUT,
	NITY_ENDED_UNREACHABLE,
	NITY_ENDED_ABANDONED,
	NITY_ENDED_RESET,
	NITY_ENDED_CLOSED,
	/* The client let go of the socket, or the connect failed, before a SYN was sent. */
	NITY_ENDED_UNSENT,
	NITY_NOTED_ESTABLISHED,
	NITY_NOTED_HOLD,
	NITY_NOTED_FALLBACK,
	NITY_NOTED_SUSPECT_PASSED,
	NITY_NOTED_SUSPECT_PROBED,
	NITY_NOTED_UNTRACKED,
	NITY_NOTED_EVENT_LOST,
	/* The table was rewritten under the decision, which went to the fallback set. */
	NITY_NOTED_REWRITTEN,
	/* A sampled decision was not told: those before it had used up the listener's budget. */
	NITY_NOTED_EVENT_OVER_BUDGET,
	NITY_COUNTERS,
};

/*
 * A route handle names one route group for as long as it lives: the generation
 * counts how often its index was given out, so what an index's last holder left
 * behind (an address, a slot, a backend, a memory) is not taken for its next
 * holder's. Addresses, backends, flows, affinities and events hold handles; the
 * arrays rt_control and route_names are indexed by nity_route_index().
 */
static inline __u32 nity_route_index(__u32 handle)
{
	return handle & ((1U << NITY_ROUTE_INDEX_BITS) - 1);
}

/* routes: the exact address a client dials. The value is a route's handle. */
struct nity_route_key {
	__be32 vip;
	__be16 port;
	__u8 protocol;
	__u8 zero;
};

/*
 * field_state[0]. The first line is what every decision reads.
 *
 * epoch: its parity names the active table (even A, odd B), so one aligned
 * release store is the flip. held_epoch: the newest epoch confirmed by a
 * heartbeat; it always names a complete table.
 */
struct nity_field_state {
	__u64 epoch;
	__u64 held_epoch;
	__u64 last_agent_seen_ns;
	__u64 hold_after_ns;
	__u64 fallback_after_ns;
	__u64 suspect_ns;
	__u32 suspect_after;
	__u32 suspect_doublings;
	/* While somebody listens, a decision is sampled when (the route's own count & mask) == 0. */
	__u32 sample_mask;
	__u32 schema;

	/* The epoch each table was completed for; 0 while it is being written. */
	__u64 table_epoch[2];
	/* The agent projects nothing before this moment (an operator's flip). */
	__u64 projection_held_until_ns;
	__u64 agent_started_ns;
	__u32 agent_pid;
	__u32 regime;
	__u32 latency;
	__u32 zero;
	/* Somebody listens to decisions until then, unless he says so again. */
	__u64 trace_until_ns;
	__u64 reserved[1];
};

/*
 * rt_control: one route group. The first line is written by the agent and by
 * operators, the second by decisions.
 *
 * Ranges are (size << 32 | base) in one word, so that they change at once; a
 * slot range's size is a power of two, or 0 for a route the table does not hold.
 */
struct nity_rt_control {
	__u64 slot_range[2];
	__u64 fallback_range;
	/* Expiry in the upper 62 bits, admission mode in the lower 2; 0 for none. */
	__u64 override_word;
	__u32 admission_mode;
	__u32 gear;
	/* 0 for a route without ClientIP affinity. */
	__u32 affinity_seconds;
	/* Of a hundred connects, so many are only observed: a zeroed map enforces all. */
	__u32 observed_percent;
	/* GCRA: nanoseconds between tokens (0: no budget is set) and the burst in ns. */
	__u64 token_ns;
	__u64 burst_ns;

	__u64 bucket_ns;
	__u64 turns;
	__u64 picks;
	__u64 refused;
	/* The operator's budget while the override lasts; 0 to use the agent's. */
	__u64 override_token_ns;
	__u64 override_burst_ns;
	/* A flow is measured when (a hash of the route's own count & mask) == 0. */
	__u32 latency_mask;
	/* Of a measured flow that is kept alive, so many exchanges after a measured one are not. */
	__u32 latency_skip;
	/* Kept when the route is gone: the next holder of its index counts on from it. */
	__u32 handle;
	__u32 reserved[1];

	/* Who dials this route, by lane; 0 for a lane that is free. The agent frees idle ones. */
	__u32 clients[NITY_LANES];
	__u64 spare[6];
};

/*
 * slot_table_a, slot_table_b and fallback: who owns each slot, by backend index.
 * Paged, because the kernel rounds an array's elements up to 8 bytes.
 */
struct nity_slot_page {
	__u32 owner[NITY_SLOTS_PER_PAGE];
};

/* route_names: so that a person can read the maps with no agent alive. */
struct nity_route_name {
	char name[NITY_ROUTE_NAME_BYTES];
};

/* backends: an index is one endpoint of one route, by its handle; generation counts its reuses. */
struct nity_backend {
	__be32 address;
	__be16 port;
	__u16 state;
	__u32 route;
	__u32 generation;
	/* How many slots it owns in table A and in table B. */
	__u32 slots[2];
	__u64 retired_ns;
};

/*
 * backend_live: what the pick itself reads. failures counts failed connects since
 * the last that succeeded; accusers says how many clients saw them (2 for more
 * than one). What one client alone saw counts for that client alone: accuser is
 * the last that failed, with its own count and its own time of suspicion.
 * occupancy_ns is the sum of end
 * times less the sum of start times of its flows; occupancy_ns + open * now is
 * therefore the integral of `open` over time, exact at any instant.
 *
 * waiting counts measured requests that have no answer yet, and
 * waiting_since_ns is the sum of the times they were sent, so
 * now - waiting_since_ns / waiting is their mean age; all modulo 2^64. The first_
 * words say the same of those that are the first of their connection.
 */
struct nity_backend_live {
	__u32 open;
	__u32 failures;
	__u64 suspect_until_ns;
	__u64 occupancy_ns;
	__u32 waiting;
	__u32 first_waiting;
	__u64 waiting_since_ns;
	__u64 first_since_ns;
	/* When the last answer began. */
	__u64 answered_ns;
	/* While it is ISOLATED, one connect in so long may try it. */
	__u64 drip_ns;
	__u64 accuser_until_ns;
	__u32 accuser;
	__u32 accuser_failures;
	__u32 accusers;
	__u32 zero;
	/* Of `waiting`, those of each lane. */
	__u32 lane_waiting[NITY_LANES];
	__u64 reserved[3];
};

struct nity_backend_counters {
	__u64 picks;
	__u64 established;
	__u64 refused;
	__u64 timed_out;
	__u64 unreachable;
	__u64 abandoned;
	__u64 reset;
	__u64 closed;
	__u64 connect_ns;
	__u64 bytes_sent;
	__u64 bytes_received;
	__u64 retransmits;
	/* Measured requests: answered, and the time their first bytes took in sum. */
	__u64 answered;
	__u64 first_byte_ns;
	/* First requests of a connection: answered, closed on by the backend, given up by the client. */
	__u64 first_answered;
	__u64 dropped;
	__u64 unanswered;
	/* Of the abandoned, those whose SYN had waited for NITY_PATIENCE_NS. */
	__u64 unheard;
	/* Picks from which no SYN came. */
	__u64 unsent;
	__u32 connect_histogram[NITY_HISTOGRAM_BUCKETS];
	__u32 first_byte_histogram[NITY_LATENCY_BUCKETS];
};

/*
 * backend_clients: what the clients of each lane saw of a backend, so that one
 * client's evidence can be held against the others'. Counters are modulo 2^32.
 */
struct nity_lane {
	__u32 established;
	/* Connects that the network refused or did not answer. */
	__u32 failed;
	__u32 answered;
	/* Quarter octaves of the nanoseconds that the answers took, in sum. */
	__u32 answered_log;
	/* First requests of a connection that had no answer in the end. */
	__u32 unserved;
	/* First requests that wait for an answer, and the sum of the times they were sent. */
	__u32 first_waiting;
	__u64 first_since_ns;
};

struct nity_backend_clients {
	struct nity_lane lane[NITY_LANES];
};

/* conntrack: a flow whose client bound its own source, so that it outlives a socket. */
struct nity_conntrack_key {
	__u64 netns_cookie;
	__be32 source;
	__be32 vip;
	__be16 source_port;
	__be16 vip_port;
	__u8 protocol;
	__u8 zero[3];
};

struct nity_conntrack {
	__u32 backend;
	__u32 generation;
	__u64 epoch;
	__u64 last_seen_ns;
};

/* affinity: a client of one route; at connect() a client is its network namespace. */
struct nity_affinity_key {
	__u64 netns_cookie;
	__u32 route;
	__u32 zero;
};

struct nity_affinity {
	__u32 backend;
	__u32 generation;
	__u64 expires_ns;
};

/* sk_flow: a socket's own memory of its decision. */
struct nity_flow {
	__be32 vip;
	__be32 address;
	__be16 vip_port;
	__be16 port;
	__u32 phase;
	__u32 route;
	__u32 backend;
	__u32 generation;
	__u32 slot;
	__u64 epoch;
	__u64 started_ns;
	/* When the latest bytes of the request that waits for an answer were sent; 0 for none. */
	__u64 request_ns;
	/* When bytes came that are its answer unless others follow (session tickets); 0 for none. */
	__u64 ticket_ns;
	/* TCP sequence numbers of its first byte, and of the first of its latest segment. */
	__u32 request_seq;
	__u32 sent_seq;
	/* A hash of who dialled: network namespace and user. */
	__u32 client;
	__u8 exchange;
	__u8 lane;
	/* Exchanges that go by before one is measured again. */
	__u16 skip;
};

/* One socket that holds a flow, as sockets.bpf.c lists it. source_port is in host order. */
struct nity_socket {
	struct nity_flow flow;
	__be32 source;
	__u16 source_port;
	__u16 tcp_state;
};

/*
 * trace[0]: what the one who listens wants to be told, and how much of it. Only
 * read while field_state's lease for him lasts. 0 anywhere is no condition.
 */
struct nity_trace {
	/* GCRA, as a route's budget: nanoseconds between events and the burst in ns. */
	__u64 token_ns;
	__u64 burst_ns;
	/* A bit for each outcome that is wanted, by its nity_counter. */
	__u64 outcomes;
	__u32 route;
	__u32 pid;
	__be32 address;
	__be16 port;
	__u16 zero;
	__u64 bucket_ns;
	__u64 reserved[2];
};

/* events: one sampled decision, and who asked for it. */
struct nity_event {
	__u64 time_ns;
	__u64 socket_cookie;
	__u64 netns_cookie;
	__u64 epoch;
	__u32 route;
	__u32 backend;
	__u32 slot;
	__u32 turn;
	__be32 vip;
	__be16 vip_port;
	__u8 outcome;
	__u8 failsafe_mode;
	__u8 admission_mode;
	__u8 protocol;
	__u8 zero[2];
	/* From the decision's clock reading to this event: all but the route's lookup. */
	__u32 cost_ns;
	/* The cgroup v2 of the thread that dialled. */
	__u64 cgroup_id;
	__u32 pid;
	/* The backend's, as it was then; 0 when none was picked. */
	__be32 address;
	char command[NITY_COMMAND_BYTES];
	__be16 port;
	__u8 spare[6];
};

#ifdef __cplusplus
#define _Static_assert static_assert
#endif
#define NITY_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed size")
#define NITY_ASSERT_AT(type, field, offset)                                                        \
	_Static_assert(__builtin_offsetof(type, field) == (offset), #type "." #field " moved")

NITY_ASSERT_SIZE(struct nity_route_key, 8);
NITY_ASSERT_SIZE(struct nity_field_state, 128);
NITY_ASSERT_AT(struct nity_field_state, epoch, 0);
NITY_ASSERT_AT(struct nity_field_state, held_epoch, 8);
NITY_ASSERT_AT(struct nity_field_state, last_agent_seen_ns, 16);
NITY_ASSERT_AT(struct nity_field_state, schema, 60);
NITY_ASSERT_AT(struct nity_field_state, table_epoch, 64);
NITY_ASSERT_AT(struct nity_field_state, trace_until_ns, 112);
NITY_ASSERT_SIZE(struct nity_rt_control, 192);
NITY_ASSERT_AT(struct nity_rt_control, override_word, 24);
NITY_ASSERT_AT(struct nity_rt_control, bucket_ns, 64);
NITY_ASSERT_AT(struct nity_rt_control, clients, 128);
NITY_ASSERT_AT(struct nity_rt_control, handle, 120);
NITY_ASSERT_SIZE(struct nity_slot_page, 256);
NITY_ASSERT_SIZE(struct nity_route_name, 160);
NITY_ASSERT_SIZE(struct nity_backend, 32);
NITY_ASSERT_SIZE(struct nity_backend_live, 128);
NITY_ASSERT_SIZE(struct nity_backend_counters, 512);
NITY_ASSERT_AT(struct nity_backend_counters, connect_histogram, 152);
NITY_ASSERT_SIZE(struct nity_lane, 32);
NITY_ASSERT_SIZE(struct nity_backend_clients, 128);
NITY_ASSERT_SIZE(struct nity_conntrack_key, 24);
NITY_ASSERT_SIZE(struct nity_conntrack, 24);
NITY_ASSERT_SIZE(struct nity_affinity_key, 16);
NITY_ASSERT_SIZE(struct nity_affinity, 16);
NITY_ASSERT_SIZE(struct nity_flow, 80);
NITY_ASSERT_SIZE(struct nity_socket, 88);
NITY_ASSERT_SIZE(struct nity_trace, 64);
NITY_ASSERT_SIZE(struct nity_event, 104);
NITY_ASSERT_AT(struct nity_event, cost_ns, 60);

_Static_assert(NITY_MAX_ROUTES <= 1 << NITY_ROUTE_INDEX_BITS, "routes outgrew their handles");
_Static_assert((int)NITY_COUNTERS <= (int)NITY_MAX_COUNTERS, "counters outgrew their map");

#endif
