/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The first half of a decision: how the field stands (failsafe, epoch in force)
 * and whether the valve lets a connect through (RFC 0002, RFC 0003). Pure C over
 * the contract's structs, like decide.h, which goes on from here.
 */
#ifndef NITY_ADMIT_H
#define NITY_ADMIT_H

#include "contract.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef NULL
#define NULL ((void *)0)
#endif

/* A word that another CPU or the agent may be writing: one load or store, whole. */
#define nity_read(word) (*(const volatile __typeof__(word) *)&(word))
#define nity_write(word, value) (*(volatile __typeof__(word) *)&(word) = (value))

/* How the field stands for one decision; the epoch word is read once. */
struct nity_posture {
	__u64 now_ns;
	__u64 epoch;
	__u32 failsafe_mode;
	__u32 admission_mode;
	/* The mode is the operator's, until it expires. */
	int overridden;
};

static __always_inline __u32 nity_failsafe(__u64 age_ns, __u64 hold_after_ns,
					   __u64 fallback_after_ns)
{
	if (age_ns < hold_after_ns)
		return NITY_FAILSAFE_NORMAL;
	if (age_ns < fallback_after_ns)
		return NITY_FAILSAFE_HOLD;
	return NITY_FAILSAFE_FALLBACK;
}

static __always_inline __u64 nity_override_expiry_ns(__u64 word)
{
	return word & ~3ULL;
}

/*
 * RFC 0003. A stale heartbeat makes the held epoch the one in force, so a flip
 * made while stale changes nothing. A valve that a dead agent left hard opens
 * to soft in FALLBACK: what closed it is no longer being measured. An
 * operator's override stands whatever the agent does.
 */
static __always_inline void nity_posture(struct nity_posture *posture,
					 const struct nity_field_state *field,
					 const struct nity_rt_control *control, __u64 now_ns)
{
	__u64 epoch = nity_read(field->epoch);
	__u64 seen_ns = nity_read(field->last_agent_seen_ns);
	__u64 word = nity_read(control->override_word);
	/* A heartbeat stored after `now` was read is fresh, not 580 years old. */
	__u64 age_ns = now_ns > seen_ns ? now_ns - seen_ns : 0;
	__u32 mode = nity_read(control->admission_mode);

	posture->now_ns = now_ns;
	posture->failsafe_mode =
		nity_failsafe(age_ns, field->hold_after_ns, field->fallback_after_ns);
	posture->epoch = posture->failsafe_mode == NITY_FAILSAFE_NORMAL ?
				 epoch :
				 nity_read(field->held_epoch);

	posture->overridden = now_ns < nity_override_expiry_ns(word);
	if (posture->overridden)
		mode = word & 3;
	else if (mode == NITY_ADMISSION_HARD && posture->failsafe_mode == NITY_FAILSAFE_FALLBACK)
		mode = NITY_ADMISSION_SOFT;
	posture->admission_mode = mode;
}

enum nity_token {
	NITY_TOKEN_TAKEN,
	NITY_TOKEN_NONE,
	NITY_TOKEN_CONTENDED,
};

/*
 * The generic cell rate algorithm (ITU-T I.371) in its virtual-scheduling
 * form, on one word: the theoretical arrival time of the next token. A lost
 * compare-and-swap is a token that another CPU took, so a bounded number of
 * tries can under-admit but never over-admit.
 */
static __always_inline enum nity_token nity_take_token(__u64 *bucket_ns, __u64 now_ns,
						       __u64 token_ns, __u64 burst_ns)
{
	/* A token that is dearer than the burst is never to be had, and could wrap the sum. */
	if (token_ns > burst_ns)
		return NITY_TOKEN_NONE;
#pragma GCC unroll 8
	for (int i = 0; i < NITY_BUCKET_TRIES; i++) {
		__u64 due_ns = nity_read(*bucket_ns);
		__u64 next_ns = (due_ns > now_ns ? due_ns : now_ns) + token_ns;

		if (next_ns - now_ns > burst_ns)
			return NITY_TOKEN_NONE;
		if (__sync_val_compare_and_swap(bucket_ns, due_ns, next_ns) == due_ns)
			return NITY_TOKEN_TAKEN;
	}
	return NITY_TOKEN_CONTENDED;
}

/* RFC 0002. Returns the refusal, or NITY_COUNTERS to proceed. */
static __always_inline enum nity_counter nity_admit(struct nity_rt_control *control,
						    const struct nity_posture *posture)
{
	__u64 token_ns = control->token_ns;
	__u64 burst_ns = control->burst_ns;

	if (posture->admission_mode == NITY_ADMISSION_NORMAL)
		return NITY_COUNTERS;
	if (posture->admission_mode == NITY_ADMISSION_HARD)
		return NITY_REFUSED_HARD;

	if (posture->overridden && control->override_token_ns) {
		token_ns = control->override_token_ns;
		burst_ns = control->override_burst_ns;
	}
	/* Soft gates by a budget; where nobody has set one there is nothing to gate by. */
	if (!token_ns)
		return NITY_COUNTERS;

	switch (nity_take_token(&control->bucket_ns, posture->now_ns, token_ns, burst_ns)) {
	case NITY_TOKEN_TAKEN:
		return NITY_COUNTERS;
	case NITY_TOKEN_NONE:
		return NITY_REFUSED_SOFT;
	default:
		return NITY_REFUSED_CONTENDED;
	}
}

#endif
