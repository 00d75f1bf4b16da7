/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cases of observe.h: packets come in without the socket's lock, and a client
 * lets go whenever it likes. However the two meet, no request is left waiting.
 */
#ifndef NITY_TEST_WAITING_RACE_CASES_H
#define NITY_TEST_WAITING_RACE_CASES_H

#include "exchange.h"

#define CONVERSATIONS 20000
#define EXCHANGES 6
/* Sequence numbers of one exchange. */
#define REQUEST_BYTES 100

struct conversation {
	struct nity_flow flow;
	/* How many of those who take part in it are there. */
	__u32 parties;
};

struct shared_conversations {
	struct nity_field_state *field;
	struct conversation conversations[CONVERSATIONS];
	struct nity_backend_live live;
	struct nity_backend_counters counters;
	struct nity_backend_clients clients;
	__u32 racers;
	/* How often a reader saw fewer than nobody waiting. */
	__u32 below_zero;
	/* How many take part in each conversation. */
	__u32 parties;
};

static void pause_for(__u64 turns)
{
	for (volatile __u64 turn = 0; turn < turns; turn++)
		;
}

static __u8 first_of(int exchange, int i)
{
	static const __u8 firsts[] = { NITY_TLS_HANDSHAKE, 23, 'H' };

	return firsts[(exchange + i) % COUNT(firsts)];
}

static struct nity_ledger books_of(struct shared_conversations *shared)
{
	return (struct nity_ledger){
		.field = shared->field,
		.live = &shared->live,
		.counters = &shared->counters,
		.lane = &shared->clients.lane[0],
	};
}

static void send_once(struct shared_conversations *shared, struct nity_flow *flow, int exchange)
{
	struct nity_ledger ledger = books_of(shared);
	/* No two requests of a flow are sent at once; sends that follow an answer may begin anew. */
	__u64 now_ns = MS + 2 * US * exchange;

	nity_observe_request(flow, &ledger, exchange * REQUEST_BYTES, exchange & 1, now_ns);
}

static void hear_once(struct shared_conversations *shared, struct nity_flow *flow, int exchange,
		      int i)
{
	struct nity_ledger ledger = books_of(shared);

	nity_observe_answer(flow, &ledger, (exchange + 1) * REQUEST_BYTES, first_of(exchange, i),
			    MS + 2 * US * exchange + NITY_TICKET_FLIGHT_NS);
}

static void send_and_hear(struct shared_conversations *shared, int i, int sends, int hears)
{
	struct nity_flow *flow = &shared->conversations[i].flow;

	for (int exchange = 0; exchange < EXCHANGES; exchange++) {
		if (sends)
			send_once(shared, flow, exchange);
		if (hears)
			hear_once(shared, flow, exchange, i);
		if ((__s32)nity_read(shared->live.waiting) < 0 ||
		    (__s32)nity_read(shared->live.first_waiting) < 0)
			__sync_fetch_and_add(&shared->below_zero, 1);
	}
}

static void let_go(struct shared_conversations *shared, int i, int by_client)
{
	static const struct nity_ending reset = { .segments_in = 1 };
	struct nity_ledger ledger = books_of(shared);
	struct nity_flow *flow = &shared->conversations[i].flow;
	__u64 now_ns = 2 * MS;

	/* From before the first request to after the last. */
	pause_for(nity_mix(i) % 256);
	if (by_client)
		nity_observe_release(flow, &ledger, now_ns);
	else
		nity_observe_end(flow, &ledger, &reset, now_ns);
	nity_observe_unanswered(flow, &ledger, !by_client, now_ns);
}

/* One talks and one lets go; the other two do the same in conversations of their own. */
static void *talk_or_let_go(void *arg)
{
	struct shared_conversations *shared = arg;
	__u32 racer = __sync_fetch_and_add(&shared->racers, 1);

	wait_for_racers();
	for (int i = racer / 2; i < CONVERSATIONS; i += RACERS / 2) {
		meet_at(&shared->conversations[i].parties, shared->parties);
		if (racer % 2)
			let_go(shared, i, i % 4 < 2);
		else
			send_and_hear(shared, i, 1, 1);
	}
	return NULL;
}

/* One sends, one hears, one lets go, and for one TCP ends it. */
static void *take_a_part(void *arg)
{
	struct shared_conversations *shared = arg;
	__u32 racer = __sync_fetch_and_add(&shared->racers, 1);

	wait_for_racers();
	for (int i = 0; i < CONVERSATIONS; i++) {
		__u32 part = (racer + i) % RACERS;

		meet_at(&shared->conversations[i].parties, shared->parties);
		if (part < 2)
			send_and_hear(shared, i, part == 0, part == 1);
		else
			let_go(shared, i, part == 2);
	}
	return NULL;
}

static void race_conversations(struct node *node, void *(*run)(void *), __u32 parties)
{
	static struct shared_conversations shared;
	const struct nity_backend_counters *counts = &shared.counters;

	for (int round = 0; round < 4; round++) {
		memset(&shared, 0, sizeof(shared));
		shared.field = &node->field;
		shared.parties = parties;
		for (int i = 0; i < CONVERSATIONS; i++) {
			struct nity_flow *flow = &shared.conversations[i].flow;

			flow->exchange = NITY_EXCHANGE_NONE;
			struct nity_ledger ledger = books_of(&shared);

			nity_observe_open(flow, &shared.live, MS / 2);
			nity_observe_syn(flow, MS / 2);
			nity_observe_established(flow, &ledger, MS);
		}
		race(run, &shared);
		EXPECT(waiting_agrees(&shared.live, &shared.clients, &(struct waiting){ 0 }));
		EXPECT(shared.below_zero == 0);
		EXPECT(shared.live.open == 0);
		EXPECT(counts->closed + counts->reset == CONVERSATIONS);
		EXPECT(counts->answered == histogram_total(counts));
		EXPECT(shared.clients.lane[0].answered == counts->answered);
		EXPECT(shared.clients.lane[0].unserved == counts->dropped + counts->unanswered);
		for (int i = 0; i < CONVERSATIONS; i++)
			EXPECT(shared.conversations[i].flow.request_ns == 0);
	}
}

static void a_client_lets_go_as_it_talks(struct node *node)
{
	race_conversations(node, talk_or_let_go, 2);
}

static void all_happens_at_once(struct node *node)
{
	race_conversations(node, take_a_part, RACERS);
}

static const struct test waiting_race_tests[] = {
	{ "waiting: nothing leaks when a client lets go as it talks",
	  a_client_lets_go_as_it_talks },
	{ "waiting: nothing leaks when a request, its answer and two ends meet",
	  all_happens_at_once },
};

#endif
