/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of observe.h: which bytes are a request, which are its answer, and how long it took. */
#ifndef NITY_TEST_EXCHANGE_CASES_H
#define NITY_TEST_EXCHANGE_CASES_H

#include "exchange.h"

/* Where a bucket begins: quarters of an octave, then halves. Said here in other words than decide.h's. */
static __u64 latency_start(__u32 bucket)
{
	__u32 fine = 4 * NITY_LATENCY_FINE_OCTAVES, halves = bucket - fine;

	if (bucket < fine)
		return (4ULL + bucket % 4) << (NITY_LATENCY_SHIFT - 2 + bucket / 4);
	return (2ULL + halves % 2)
	       << (NITY_LATENCY_SHIFT + NITY_LATENCY_FINE_OCTAVES - 1 + halves / 2);
}

static void latency_histogram_edges(struct node *node)
{
	(void)node;
	EXPECT(nity_latency_bucket(0) == 0);
	EXPECT(nity_latency_bucket((1ULL << NITY_LATENCY_SHIFT) - 1) == 0);
	for (__u32 i = 1; i < NITY_LATENCY_BUCKETS; i++) {
		__u64 start = latency_start(i);

		EXPECT(nity_latency_bucket(start - 1) == i - 1);
		EXPECT(nity_latency_bucket(start) == i);
	}
	/* 67 ms, where the half octaves begin, and 206 s, where the last bucket does. */
	EXPECT(latency_start(4 * NITY_LATENCY_FINE_OCTAVES) == 1ULL << 26);
	EXPECT(latency_start(NITY_LATENCY_BUCKETS - 1) == 3ULL << 36);
	for (__u32 bit = 38; bit < 64; bit++)
		EXPECT(nity_latency_bucket(1ULL << bit) == NITY_LATENCY_BUCKETS - 1);
	EXPECT(nity_latency_bucket(~0ULL) == NITY_LATENCY_BUCKETS - 1);
}

/* What an answer adds to its lane's sum, which is a mean of logarithms in the end. */
static void quarter_octaves_grow_with_the_time(struct node *node)
{
	(void)node;
	EXPECT(nity_quarter_octaves(0) == 0 && nity_quarter_octaves(1) == 0);
	EXPECT(nity_quarter_octaves(2) == 4 && nity_quarter_octaves(3) == 4);
	for (__u32 octave = 2; octave < 64; octave++)
		for (__u32 quarter = 0; quarter < 4; quarter++) {
			__u64 start = (4ULL + quarter) << (octave - 2);

			EXPECT(nity_quarter_octaves(start) == 4 * octave + quarter);
			EXPECT(nity_quarter_octaves(start - 1) < 4 * octave + quarter);
		}
	EXPECT(nity_quarter_octaves(~0ULL) == 255);
}

static void a_request_is_answered_once(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "nothing is said", .books = { 0 } },
		{ .name = "a request waits",
		  .steps = { SEND(MS, 0) },
		  .books = { .waiting = 1, .first_waiting = 1, .since_ns = MS } },
		{ .name = "a request, then its answer",
		  .steps = { SEND(MS, 0), HEAR(3 * MS, 100, 'H') },
		  .books = { .answered = 1, .first_byte_ns = 3 * MS, .answered_at_ns = 4 * MS } },
		{ .name = "more bytes of an answer are no second one",
		  .steps = { SEND(0, 0), HEAR(3 * MS, 100, 'H'), HEAR(MS, 100, 'x') },
		  .books = { .answered = 1, .first_byte_ns = 3 * MS, .answered_at_ns = 3 * MS } },
		{ .name = "two exchanges",
		  .steps = { SEND(0, 0), HEAR(3 * MS, 100, 'H'), SEND(7 * MS, 100),
			     HEAR(2 * MS, 200, 'H') },
		  .books = { .answered = 2, .first_byte_ns = 5 * MS, .answered_at_ns = 12 * MS } },
		{ .name = "a second request waits, and is no first",
		  .steps = { SEND(0, 0), HEAR(3 * MS, 100, 'H'), SEND(7 * MS, 100) },
		  .books = { .answered = 1,
			     .first_byte_ns = 3 * MS,
			     .answered_at_ns = 3 * MS,
			     .waiting = 1,
			     .since_ns = 10 * MS } },
		{ .name = "pipelined requests are one",
		  .steps = { SEND(0, 0), SEND(MS, 100), HEAR(MS, 200, 'H'), HEAR(MS, 200, 'H') },
		  .books = { .answered = 1, .first_byte_ns = MS, .answered_at_ns = 2 * MS } },
		{ .name = "any first byte will do after the first exchange",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100), HEAR(MS, 200, 22),
			     SEND(MS, 200), HEAR(MS, 300, 20) },
		  .books = { .answered = 3, .first_byte_ns = 3 * MS, .answered_at_ns = 5 * MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

/* An upload takes as long as it takes: what is measured is the backend's part. */
static void an_exchange_counts_from_its_last_bytes(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "an upload that goes on",
		  .steps = { SEND(0, 0), SEND(2 * MS, 1000), SEND(3 * MS, 2000) },
		  .books = { .waiting = 1, .first_waiting = 1, .since_ns = 5 * MS } },
		{ .name = "an upload, then its answer",
		  .steps = { SEND(0, 0), SEND(2 * SECOND, 1000), SEND(2 * SECOND, 2000),
			     HEAR(3 * MS, 3000, 'H') },
		  .books = { .answered = 1,
			     .first_byte_ns = 3 * MS,
			     .answered_at_ns = 4 * SECOND + 3 * MS } },
		{ .name = "an upload whose parts are acknowledged as they come",
		  .steps = { SEND(0, 0), SEND_ANEW(2 * SECOND, 1000), SEND_ANEW(2 * SECOND, 2000),
			     HEAR(3 * MS, 3000, 'H') },
		  .books = { .answered = 1,
			     .first_byte_ns = 3 * MS,
			     .answered_at_ns = 4 * SECOND + 3 * MS } },
		{ .name = "an upload on a used connection",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(0, 100), SEND(SECOND, 1100),
			     SEND(SECOND, 2100), HEAR(3 * MS, 3000, 'H') },
		  .books = { .answered = 2,
			     .first_byte_ns = 4 * MS,
			     .answered_at_ns = 2 * SECOND + 4 * MS } },
		{ .name = "on a used connection it waits from its last bytes, and is no first",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(0, 100), SEND(SECOND, 1100) },
		  .books = { .answered = 1,
			     .first_byte_ns = MS,
			     .answered_at_ns = MS,
			     .waiting = 1,
			     .since_ns = SECOND + MS } },
		{ .name = "the same bytes sent again do not move it",
		  .steps = { SEND(0, 0), SEND(5 * MS, 0), HEAR(3 * MS, 1000, 'H') },
		  .books = { .answered = 1, .first_byte_ns = 8 * MS, .answered_at_ns = 8 * MS } },
		{ .name = "earlier bytes sent again do not move it, though all of them are acknowledged",
		  .steps = { SEND(0, 0), SEND(MS, 1000), SEND(MS, 0), SEND_ANEW(MS, 1000),
			     HEAR(MS, 2000, 'H') },
		  .books = { .answered = 1, .first_byte_ns = 3 * MS, .answered_at_ns = 4 * MS } },
		{ .name = "bytes sent again on a used connection begin nothing anew",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(0, 100), SEND_ANEW(50 * MS, 100),
			     HEAR(MS, 200, 'H') },
		  .books = { .answered = 2, .first_byte_ns = 52 * MS, .answered_at_ns = 52 * MS } },
		{ .name = "an answer to the first half ends the waiting, and is no sample",
		  .steps = { SEND(0, 0), SEND(MS, 1000), HEAR(MS, 1000, 'H') },
		  .books = { .answered_at_ns = 2 * MS } },
		{ .name = "one that has heard a byte of the last segment is a sample",
		  .steps = { SEND(0, 0), SEND(MS, 1000), HEAR(MS, 1001, 'H') },
		  .books = { .answered = 1, .first_byte_ns = MS, .answered_at_ns = 2 * MS } },
		{ .name = "after an answer to the first half the next exchange is measured",
		  .steps = { SEND(0, 0), SEND(MS, 1000), HEAR(MS, 1000, 'H'), SEND(MS, 2000),
			     HEAR(3 * MS, 2100, 'H') },
		  .books = { .answered = 1, .first_byte_ns = 3 * MS, .answered_at_ns = 6 * MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

static void only_what_heard_the_request_is_an_answer(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "the backend speaks first",
		  .steps = { HEAR(MS, 0, '2'), HEAR(MS, 0, '2'), SEND(5 * MS, 0),
			     HEAR(2 * MS, 10, '2') },
		  .books = { .answered = 1, .first_byte_ns = 2 * MS, .answered_at_ns = 9 * MS } },
		{ .name = "the backend speaks, and the client never",
		  .steps = { HEAR(MS, 0, '2'), END(MS, CLIENT_CLOSES) } },
		{ .name = "a greeting that crosses the request",
		  .steps = { SEND(0, 0), HEAR(MS, 0, '2') },
		  .books = { .waiting = 1, .first_waiting = 1 } },
		{ .name = "a greeting that crosses the request, then the answer",
		  .steps = { SEND(0, 0), HEAR(MS, 0, '2'), HEAR(MS, 1, '2') },
		  .books = { .answered = 1, .first_byte_ns = 2 * MS, .answered_at_ns = 2 * MS } },
		{ .name = "the rest of an answer crosses the next request",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100), HEAR(MS, 100, 'x'),
			     HEAR(MS, 99, 'x') },
		  .books = { .answered = 1,
			     .first_byte_ns = MS,
			     .answered_at_ns = MS,
			     .waiting = 1,
			     .since_ns = 2 * MS } },
		{ .name = "half the sequence space ahead is an answer, more is behind",
		  .steps = { SEND(0, 0), HEAR(MS, 1u << 31, 'H'), HEAR(MS, (1u << 31) - 1, 'H') },
		  .books = { .answered = 1, .first_byte_ns = 2 * MS, .answered_at_ns = 2 * MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

static void a_used_connection_begins_anew(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "what went before wanted no answer",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100), SEND_ANEW(50 * MS, 120),
			     HEAR(2 * MS, 200, 'H') },
		  .books = { .answered = 2, .first_byte_ns = 3 * MS, .answered_at_ns = 54 * MS } },
		{ .name = "what went before is not acknowledged: one request",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100), SEND(50 * MS, 120),
			     HEAR(2 * MS, 200, 'H') },
		  .books = { .answered = 2, .first_byte_ns = 3 * MS, .answered_at_ns = 54 * MS } },
		{ .name = "of that one request the first half may be answered",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100), SEND(50 * MS, 120),
			     HEAR(2 * MS, 120, 'H') },
		  .books = { .answered = 1, .first_byte_ns = MS, .answered_at_ns = 54 * MS } },
		{ .name = "never in the first exchange",
		  .steps = { SEND(0, 0), SEND_ANEW(50 * MS, 100), SEND_ANEW(50 * MS, 200),
			     HEAR(2 * MS, 300, 'H') },
		  .books = { .answered = 1, .first_byte_ns = 2 * MS, .answered_at_ns = 102 * MS } },
		{ .name = "so an answer to its first half is one",
		  .steps = { SEND(0, 0), SEND_ANEW(50 * MS, 100), HEAR(2 * MS, 50, 'H') },
		  .books = { .answered_at_ns = 52 * MS } },
		{ .name = "an answer to the bytes before it is none to the new request",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100), SEND_ANEW(50 * MS, 120),
			     HEAR(MS, 120, 'x') },
		  .books = { .answered = 1,
			     .first_byte_ns = MS,
			     .answered_at_ns = MS,
			     .waiting = 1,
			     .since_ns = 52 * MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

static void only_a_used_connection_loses_patience(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "the first request, for an hour",
		  .steps = { SEND(0, 0), HEAR(3600 * SECOND, 100, 'H') },
		  .books = { .answered = 1,
			     .first_byte_ns = 3600 * SECOND,
			     .answered_at_ns = 3600 * SECOND } },
		{ .name = "a later one, for 30 s",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(0, 100),
			     HEAR(NITY_EXCHANGE_PATIENCE_NS, 200, 'H') },
		  .books = { .answered = 2,
			     .first_byte_ns = MS + 30 * SECOND,
			     .answered_at_ns = MS + 30 * SECOND } },
		{ .name = "a later one, for more",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(0, 100),
			     HEAR(NITY_EXCHANGE_PATIENCE_NS + 1, 200, 'H') },
		  .books = { .answered = 1, .first_byte_ns = MS, .answered_at_ns = MS } },
		{ .name = "and the next is measured again",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(0, 100),
			     HEAR(40 * SECOND, 200, 'x'), SEND(MS, 200), HEAR(MS, 300, 'H') },
		  .books = { .answered = 2,
			     .first_byte_ns = 2 * MS,
			     .answered_at_ns = 40 * SECOND + 3 * MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

/* Sends and hears as a busy client; returns whether any of it was measured. */
static int converse(struct node *node, struct nity_model_socket *socket, __u32 backend)
{
	__u64 before = node->counts[backend].answered;

	nity_model_sent(&node->model, socket, 1, 0);
	EXPECT(node->live[backend].waiting == (socket->flow.exchange != NITY_EXCHANGE_UNMEASURED));
	nity_model_received(&node->model, socket, 2, 'H');
	nity_model_sent(&node->model, socket, 2, 1);
	nity_model_release(&node->model, socket, 1);
	EXPECT(nobody_waits(node, backend));
	return node->counts[backend].answered != before;
}

static void unmeasured_flows_record_nothing(struct node *node)
{
	static const struct nity_backend_counters closed_once = { .picks = 1, .closed = 1 };

	for (__u32 latency = NITY_LATENCY_CONNECT; latency <= NITY_LATENCY_FIRST_BYTE; latency++) {
		struct nity_model_socket socket = { .socket_cookie = 1 };
		struct nity_backend_counters counts;
		__u32 backend;

		node_init(node);
		node->field.latency = latency;
		/* One is switched off for all, the other passed over by its route's mask. */
		node->control[1].latency_mask = latency == NITY_LATENCY_CONNECT ? 0 : ~0u;
		backend = connection(node, &socket);
		EXPECT(socket.flow.exchange == NITY_EXCHANGE_UNMEASURED);
		/* What is switched on now is for connections to come. */
		measure_all(node);
		node->control[1].latency_mask = 0;
		EXPECT(!converse(node, &socket, backend));
		EXPECT(node->live[backend].answered_ns == 0);
		counts = node->counts[backend];
		counts.established = counts.connect_ns = counts.connect_histogram[0] = 0;
		EXPECT(!memcmp(&counts, &closed_once, sizeof(counts)));
	}
}

static void the_mask_measures_its_share_of_each_backend(struct node *node)
{
	static const __u32 masks[] = { 0, 1, 3, 15 };

	for (size_t i = 0; i < COUNT(masks); i++) {
		__u32 measured[TEST_BACKENDS] = { 0 }, share = 1024 / (masks[i] + 1);

		node_init(node);
		measure_all(node);
		node->control[1].latency_mask = masks[i];
		for (int n = 0; n < 4 * 1024; n++) {
			struct nity_model_socket socket = { .socket_cookie = 1 };
			__u32 backend = connection(node, &socket);

			measured[backend] += converse(node, &socket, backend);
		}
		/* Of each, though the gear deals out the same slots every 64 turns. */
		for (int backend = 1; backend <= 4; backend++)
			EXPECT(measured[backend] * 4 >= share * 3 &&
			       measured[backend] * 4 <= share * 5);
		EXPECT(masks[i] || measured[1] == 1024);
	}
}

static void so_many_exchanges_go_by_after_a_measured_one(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend;

	measure_all(node);
	node->control[1].latency_skip = 2;
	backend = connection(node, &socket);
	for (__u32 exchange = 0; exchange < 30; exchange++) {
		nity_model_sent(&node->model, &socket, 10 * exchange, 1);
		EXPECT(node->live[backend].waiting == (exchange % 3 == 0));
		node->model.now_ns += MS;
		nity_model_received(&node->model, &socket, 10 * exchange + 10, 'H');
		EXPECT(node->counts[backend].answered == exchange / 3 + 1);
	}
	EXPECT(node->counts[backend].first_byte_ns == 10 * MS);
}

/* Bytes that were no answer do not make it go by. */
static void a_request_that_waits_is_never_passed_over(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	static const struct step steps[] = {
		SEND(0, 0),	    HEAR(MS, 100, 'H'),	     SEND(MS, 100),
		HEAR(MS, 100, 'x'), SEND_ANEW(50 * MS, 120), HEAR(2 * MS, 200, 'H'),
	};
	__u32 backend;

	measure_all(node);
	backend = connection(node, &socket);
	for (size_t i = 0; i < COUNT(steps); i++) {
		node->control[1].latency_skip = i < 2 ? 0 : 5;
		take(node, &socket, 0, &steps[i]);
	}
	EXPECT(node->counts[backend].answered == 2);
	EXPECT(node->counts[backend].first_byte_ns == 3 * MS);
}

static const struct test exchange_tests[] = {
	{ "first byte: every edge of the histogram", latency_histogram_edges },
	{ "first byte: quarter octaves, of every time there is",
	  quarter_octaves_grow_with_the_time },
	{ "exchange: counts from its last bytes, however long it is sent",
	  an_exchange_counts_from_its_last_bytes },
	{ "exchange: a request is answered once, from its last bytes to the answer's first",
	  a_request_is_answered_once },
	{ "exchange: what the backend said before it heard is no answer",
	  only_what_heard_the_request_is_an_answer },
	{ "exchange: a used connection begins anew, the first exchange never",
	  a_used_connection_begins_anew },
	{ "exchange: only a used connection loses patience",
	  only_a_used_connection_loses_patience },
	{ "measured: what is not measured records nothing", unmeasured_flows_record_nothing },
	{ "measured: the mask measures its share of each backend",
	  the_mask_measures_its_share_of_each_backend },
	{ "measured: so many exchanges go by after a measured one",
	  so_many_exchanges_go_by_after_a_measured_one },
	{ "measured: a request that waits is never passed over",
	  a_request_that_waits_is_never_passed_over },
};

#endif
