/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The decision core: pure C over the contract's structs. It knows no helper
 * and no map, so the same lines are compiled into the kernel programs, into
 * the model and into the fuzzer.
 *
 * The plane that includes it says where the field lives, by defining the
 * functions declared first below; an index out of bounds yields NULL. O(1): no loop
 * over backends, at most NITY_DRAWS draws.
 */
#ifndef NITY_DECIDE_H
#define NITY_DECIDE_H

#include "admit.h"

static __always_inline __u32 *nity_slot_at(__u32 table, __u32 slot);
static __always_inline __u32 *nity_fallback_at(__u32 slot);
static __always_inline struct nity_backend *nity_backend_at(__u32 backend);
static __always_inline struct nity_backend_live *nity_live_at(__u32 backend);

/*
 * The plane also names the flow, by a key that is the same whenever the same
 * flow dials again. It is asked for only where it decides, for it costs calls.
 */
struct nity_dial;
static __always_inline __u64 nity_flow_key(struct nity_dial *dial, __u32 route);

struct nity_pick {
	struct nity_backend *backend;
	struct nity_backend_live *live;
	/* Who dials, and the lane in which its evidence is counted. */
	__u32 client;
	__u32 lane;
	__u32 index;
	__u32 slot;
	__u16 suspects_passed;
	__u16 suspects_probed;
	__u16 rewritten;
	/* What the agent and the kernel judge of backends is not acted upon. */
	__u16 observed;
	enum nity_counter outcome;
};

enum nity_standing {
	NITY_STANDING_CLEAR,
	NITY_STANDING_SUSPECT,
	/* Its suspicion has run out: one caller may try it. */
	NITY_STANDING_PROBE_DUE,
};

static __always_inline __u32 nity_range_base(__u64 range)
{
	return (__u32)range;
}

static __always_inline __u32 nity_range_size(__u64 range)
{
	return range >> 32;
}

/* SplitMix64's finaliser (Steele, Lea, Flood 2014). */
static __always_inline __u64 nity_mix(__u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return x;
}

/* floor(log2(x)); 0 for 0. */
static __always_inline __u32 nity_log2(__u64 x)
{
	__u32 bits = 0;

	if (x >> 32) {
		bits += 32;
		x >>= 32;
	}
	if (x >> 16) {
		bits += 16;
		x >>= 16;
	}
	if (x >> 8) {
		bits += 8;
		x >>= 8;
	}
	if (x >> 4) {
		bits += 4;
		x >>= 4;
	}
	if (x >> 2) {
		bits += 2;
		x >>= 2;
	}
	return bits + (x >> 1);
}

/* The bucket of a log2 histogram: 0 below 2^10 ns, then one a doubling. */
static __always_inline __u32 nity_histogram_bucket(__u64 ns)
{
	__u64 x = ns >> NITY_HISTOGRAM_SHIFT;
	__u32 bucket = x ? nity_log2(x) + 1 : 0;

	/* From 2^34 ns (17 s) on everything is in the last bucket. */
	return bucket < NITY_HISTOGRAM_BUCKETS ? bucket : NITY_HISTOGRAM_BUCKETS - 1;
}

/* Quarter octaves: 4 * floor(log2(ns)), and which quarter of its octave `ns` lies in. */
static __always_inline __u32 nity_quarter_octaves(__u64 ns)
{
	__u32 octave = nity_log2(ns);

	return octave < 2 ? 4 * octave : 4 * octave + (ns >> (octave - 2) & 3);
}

/* Four buckets an octave, then two: a value is known within a quarter, then within a half. */
static __always_inline __u32 nity_latency_bucket(__u64 ns)
{
	__u32 quarters = nity_quarter_octaves(ns);
	__u32 fine = 4 * NITY_LATENCY_FINE_OCTAVES;

	if (quarters < 4 * NITY_LATENCY_SHIFT)
		return 0;
	quarters -= 4 * NITY_LATENCY_SHIFT;
	if (quarters >= fine)
		quarters = fine + (quarters - fine) / 2;
	/* From 1.5 * 2^37 ns (206 s) on everything is in the last bucket. */
	return quarters < NITY_LATENCY_BUCKETS ? quarters : NITY_LATENCY_BUCKETS - 1;
}

/*
 * A backend is suspect after `suspect_after` consecutive failed connects that more
 * than one client saw, or while the agent isolates it. What one client alone saw
 * makes it suspect for that client alone, with a time of its own.
 */
static __always_inline int nity_accused_by(const struct nity_field_state *field,
					   const struct nity_backend_live *live, __u32 client)
{
	return nity_read(live->accuser) == client &&
	       nity_read(live->accuser_failures) >= field->suspect_after;
}

static __always_inline int nity_accused_by_all(const struct nity_field_state *field,
					       const struct nity_backend_live *live)
{
	return nity_read(live->accusers) > 1 && nity_read(live->failures) >= field->suspect_after;
}

static __always_inline enum nity_standing nity_standing(const struct nity_field_state *field,
							const struct nity_backend_live *live,
							int isolated, __u32 client, __u64 now_ns)
{
	__u64 until_ns = nity_read(live->suspect_until_ns);

	if (!isolated) {
		/* Nearly every backend, nearly always. */
		if (!nity_read(live->accuser_failures) || !field->suspect_after)
			return NITY_STANDING_CLEAR;
		if (!nity_accused_by_all(field, live)) {
			if (!nity_accused_by(field, live, client))
				return NITY_STANDING_CLEAR;
			until_ns = nity_read(live->accuser_until_ns);
		}
	}
	return now_ns < until_ns ? NITY_STANDING_SUSPECT : NITY_STANDING_PROBE_DUE;
}

/* How long a suspicion lasts: doubled by each failure past the threshold, boundedly. */
static __always_inline __u64 nity_suspicion_ns(const struct nity_field_state *field, __u32 failures)
{
	__u32 doublings = failures > field->suspect_after ? failures - field->suspect_after : 0;

	if (doublings > field->suspect_doublings)
		doublings = field->suspect_doublings;
	return field->suspect_ns << (doublings & 31);
}

/* One caller wins the right to try a suspect backend; for all others it stays suspect. */
static __always_inline int nity_claim(__u64 *until, __u64 wait_ns, __u64 now_ns)
{
	__u64 until_ns = nity_read(*until);

	return now_ns >= until_ns &&
	       __sync_val_compare_and_swap(until, until_ns, now_ns + wait_ns) == until_ns;
}

static __always_inline int nity_claim_probe(const struct nity_field_state *field,
					    struct nity_backend_live *live, int isolated,
					    __u64 now_ns)
{
	if (isolated)
		return nity_claim(&live->suspect_until_ns, nity_read(live->drip_ns), now_ns);
	if (nity_accused_by_all(field, live))
		return nity_claim(&live->suspect_until_ns,
				  nity_suspicion_ns(field, nity_read(live->failures)), now_ns);
	return nity_claim(&live->accuser_until_ns,
			  nity_suspicion_ns(field, nity_read(live->accuser_failures)), now_ns);
}

/*
 * Draws the lot by which a connect is enforced or only observed. Each decision
 * counts as a pick or as a refusal, so their sum is the next lot's number; its
 * complement is hashed, for the turns that name slots are hashed too. The
 * agent's valve stays open to who is only observed; an operator's override is
 * no judgement, and stands.
 */
static __always_inline void nity_draw_lot(struct nity_pick *pick, struct nity_posture *posture,
					  const struct nity_rt_control *control)
{
	__u32 percent = nity_read(control->observed_percent);
	__u64 number;

	number = nity_read(control->picks) + nity_read(control->refused);
	/*
	 * Below the percentage the difference is negative. Arithmetic, not branches: each
	 * would be a state of its own for the verifier, carried through the whole decision.
	 */
	pick->observed = ((__u32)(nity_mix(~number) >> 32) % 100 - percent) >> 31;
	posture->admission_mode *= !(pick->observed & !posture->overridden);
}

/* What a draw yields: a backend of this route, by its handle, with its live state, or the refusal. */
static __always_inline enum nity_counter nity_draw(struct nity_pick *pick, __u32 index, __u32 route)
{
	struct nity_backend *backend;

	/* A refusal must not carry the backend of an earlier draw. */
	pick->backend = NULL;
	pick->index = NITY_NONE;
	if (index == NITY_NONE)
		return NITY_REFUSED_INCOMPLETE;
	backend = nity_backend_at(index);
	/* Physics cannot violate policy: the backend's own word, whatever the table says. */
	if (!backend || backend->route != route || backend->state == NITY_BACKEND_FREE)
		return NITY_REFUSED_BOUNDARY;
	pick->backend = backend;
	pick->live = nity_live_at(index);
	pick->index = index;
	return pick->live ? NITY_COUNTERS : NITY_REFUSED_BOUNDARY;
}

/* A remembered backend counts only while it is still this route's and admissible. */
static __always_inline int nity_recall(struct nity_pick *pick, const struct nity_field_state *field,
				       __u32 route, __u32 index, __u32 generation, __u64 now_ns)
{
	if (nity_draw(pick, index, route) != NITY_COUNTERS)
		return 0;
	if (pick->backend->generation != generation)
		return 0;
	if (pick->observed) {
		pick->slot = NITY_NONE;
		return pick->backend->state != NITY_BACKEND_RETIRED;
	}
	if (pick->backend->state != NITY_BACKEND_HEALTHY &&
	    pick->backend->state != NITY_BACKEND_DEGRADED)
		return 0;
	pick->slot = NITY_NONE;
	return nity_standing(field, pick->live, 0, pick->client, now_ns) == NITY_STANDING_CLEAR;
}

/*
 * Take this draw unless it is retired or suspect; a due probe is taken by one
 * caller. Isolation is the agent's word, which counts only while its field does.
 */
static __always_inline int nity_take(struct nity_pick *pick, const struct nity_field_state *field,
				     int isolated, __u64 now_ns)
{
	enum nity_standing standing;

	if (pick->backend->state == NITY_BACKEND_RETIRED)
		return 0;
	standing = nity_standing(field, pick->live, isolated, pick->client, now_ns);
	if (standing == NITY_STANDING_CLEAR || pick->observed)
		return 1;
	if (standing == NITY_STANDING_PROBE_DUE &&
	    nity_claim_probe(field, pick->live, isolated, now_ns)) {
		pick->suspects_probed++;
		return 1;
	}
	pick->suspects_passed++;
	return 0;
}

static __always_inline int nity_isolated(const struct nity_pick *pick)
{
	return pick->backend->state == NITY_BACKEND_ISOLATED;
}

/*
 * What a backend works on: the requests that wait for its answer where every flow is
 * measured. Elsewhere the open connections stand for them.
 */
static __always_inline __u64 nity_load(const struct nity_field_state *field,
				       const struct nity_rt_control *control,
				       const struct nity_backend_live *live)
{
	if (field->latency == NITY_LATENCY_FIRST_BYTE && !nity_read(control->latency_mask))
		return nity_read(live->waiting);
	return nity_read(live->open);
}

/* So many of the client's own requests wait at the first backend, and none at the second: it is silent. */
#define NITY_EXCESS 3

/*
 * Whether the second backend of two is to be taken for its lighter load: less by half a
 * connection at least, per slot, for whole counts as small as they mostly are would let one
 * slot more win every tie. In the bounded gear this moves at most one pick in
 * NITY_BOUNDED_TURNS. Beyond that only requests of the client itself count, which other
 * clients cannot add to: when it waits for several at the first and for none at the second.
 */
static __always_inline int nity_lighter(const struct nity_pick *first,
					const struct nity_pick *second,
					const struct nity_field_state *field,
					const struct nity_rt_control *control, __u32 table,
					__u64 turn)
{
	__u64 own = first->backend->slots[table & 1];
	__u64 other = second->backend->slots[table & 1];
	__u32 lane = first->lane & (NITY_LANES - 1);

	if (control->gear == NITY_GEAR_BOUNDED &&
	    (__u32)(nity_mix(turn) >> 32) % NITY_BOUNDED_TURNS) {
		return nity_read(first->live->lane_waiting[lane]) >= NITY_EXCESS &&
		       !nity_read(second->live->lane_waiting[lane]);
	}
	return (2 * nity_load(field, control, second->live) + 1) * own <
	       2 * nity_load(field, control, first->live) * other;
}

/*
 * The twin: a second slot, deterministic in the turn, wins if its backend has less to
 * do for its slots (power of two choices, Mitzenmacher 2001, weighted by slot share).
 * Only a healthy backend can win: one that fails fast looks idle. Neighbours on the
 * ring mostly differ, so a slot of the same backend gives way to its neighbour.
 */
static __always_inline int nity_twin(struct nity_pick *pick, const struct nity_field_state *field,
				     const struct nity_rt_control *control, __u32 route,
				     __u32 table, __u64 range, __u64 turn, __u64 now_ns,
				     int first_is_suspect)
{
	__u32 slot = nity_range_base(range) +
		     ((__u32)(nity_mix(turn + 1) >> 32) & (nity_range_size(range) - 1));
	struct nity_pick twin = *pick;
	enum nity_standing standing;
	__u32 *owner;
	int isolated;

	/* Ranges are of whole pages, so the neighbour is the route's too. */
	owner = nity_slot_at(table, slot);
	if (owner && nity_read(*owner) == pick->index) {
		slot ^= 1;
		owner = nity_slot_at(table, slot);
	}
	if (!owner || nity_draw(&twin, nity_read(*owner), route) != NITY_COUNTERS)
		return 0;
	isolated = nity_isolated(&twin);
	standing = nity_standing(field, twin.live, isolated, twin.client, now_ns);
	if (isolated) {
		if (standing != NITY_STANDING_PROBE_DUE ||
		    !nity_claim_probe(field, twin.live, 1, now_ns))
			return 0;
		twin.suspects_probed++;
	} else {
		if (twin.index == pick->index || twin.backend->state != NITY_BACKEND_HEALTHY ||
		    standing != NITY_STANDING_CLEAR)
			return 0;
		if (!first_is_suspect && !nity_lighter(pick, &twin, field, control, table, turn))
			return 0;
	}
	twin.slot = slot;
	*pick = twin;
	return 1;
}

/* FALLBACK: by flow key in the route's own set, so the same flow gives the same backend. */
static __always_inline enum nity_counter nity_pick_fallback(struct nity_pick *pick,
							    const struct nity_field_state *field,
							    const struct nity_rt_control *control,
							    struct nity_dial *dial, __u32 route,
							    __u64 now_ns)
{
	__u64 range = nity_read(control->fallback_range);
	__u32 size = nity_range_size(range);
	__u32 hash;
	struct nity_pick first = { 0 };
	enum nity_counter drawn;

	if (!size)
		return NITY_REFUSED_NO_BACKENDS;
	hash = nity_mix(nity_flow_key(dial, route));
#pragma GCC unroll 3
	for (int i = 0; i < NITY_DRAWS; i++) {
		__u32 slot = nity_range_base(range) + ((hash + i) & (size - 1));
		__u32 *owner = nity_fallback_at(slot);

		if (!owner)
			return NITY_REFUSED_BOUNDARY;
		drawn = nity_draw(pick, nity_read(*owner), route);
		if (drawn != NITY_COUNTERS)
			return drawn;
		pick->slot = slot;
		if (nity_take(pick, field, 0, now_ns))
			return NITY_PICKED_FALLBACK;
		if (!i)
			first = *pick;
	}
	/* Never all of them: suspicion may delay a backend, not empty a route. */
	first.suspects_passed = 0;
	*pick = first;
	return NITY_PICKED_FALLBACK;
}

/* Whether a table still is what `epoch` names: read after the slots, so it speaks for them. */
static __always_inline int nity_coherent(const struct nity_field_state *field, __u64 epoch)
{
	return (epoch & 1 ? nity_read(field->table_epoch[1]) : nity_read(field->table_epoch[0])) ==
	       epoch;
}

/* NORMAL and HOLD: the gear names the slot, the slot names the backend. */
static __always_inline enum nity_counter nity_pick_gear(struct nity_pick *pick,
							const struct nity_field_state *field,
							struct nity_rt_control *control,
							__u32 route, __u64 range, __u64 epoch,
							__u64 now_ns)
{
	__u32 table = epoch & 1;
	int twin = control->gear != NITY_GEAR_SINGLE && !pick->observed;
	struct nity_pick first = { 0 };
	enum nity_counter drawn;

#pragma GCC unroll 3
	for (int i = 0; i < NITY_DRAWS; i++) {
		__u64 turn = __sync_fetch_and_add(&control->turns, 1);
		__u32 slot = nity_range_base(range) + ((__u32)turn & (nity_range_size(range) - 1));
		__u32 *owner = nity_slot_at(table, slot);
		int taken;

		if (!owner)
			return NITY_REFUSED_BOUNDARY;
		drawn = nity_draw(pick, nity_read(*owner), route);
		if (drawn != NITY_COUNTERS)
			return drawn;
		pick->slot = slot;
		taken = nity_take(pick, field, nity_isolated(pick), now_ns);
		/* The twin draws once: with the gear's own redraws that is at most 3 + 1 slots. */
		if (twin && !i && !pick->suspects_probed &&
		    nity_twin(pick, field, control, route, table, range, turn, now_ns, !taken))
			return NITY_PICKED_TWIN;
		if (taken)
			return NITY_PICKED_GEAR;
		if (!i)
			first = *pick;
	}
	first.suspects_passed = 0;
	*pick = first;
	return NITY_PICKED_GEAR;
}

/*
 * Steps 5 to 7 of a decision, after admission and stickiness. A route that the
 * table in force does not know yet (made by a flip that no heartbeat confirmed)
 * is served from its fallback set.
 */
static __always_inline void nity_pick(struct nity_pick *pick, const struct nity_field_state *field,
				      struct nity_rt_control *control,
				      const struct nity_posture *posture, struct nity_dial *dial,
				      __u32 route)
{
	__u64 range = posture->epoch & 1 ? nity_read(control->slot_range[1]) :
					   nity_read(control->slot_range[0]);

	if (posture->failsafe_mode != NITY_FAILSAFE_FALLBACK && nity_range_size(range)) {
		pick->outcome = nity_pick_gear(pick, field, control, route, range, posture->epoch,
					       posture->now_ns);
		pick->rewritten = !nity_coherent(field, posture->epoch);
		/* A table rolled back may name endpoints that are gone; the fallback set does not. */
		if (!pick->rewritten &&
		    !(pick->backend && pick->backend->state == NITY_BACKEND_RETIRED))
			return;
	}
	pick->outcome = nity_pick_fallback(pick, field, control, dial, route, posture->now_ns);
}

static __always_inline int nity_refused(enum nity_counter outcome)
{
	return outcome >= NITY_REFUSED_HARD && outcome <= NITY_REFUSED_BOUNDARY;
}

#endif
