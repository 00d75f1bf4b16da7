/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of observe.h: exchanges inside TLS, where a handshake and session tickets are no answer. */
#ifndef NITY_TEST_TLS_CASES_H
#define NITY_TEST_TLS_CASES_H

#include "exchange.h"

/* The first byte of a TLS record that carries what is encrypted. */
#define DATA 23

/* Both hellos: at 1 ms the backend has heard 500 bytes, and its flight has begun. */
#define HELLOS SEND(0, 0), HEAR(MS, 500, NITY_TLS_HANDSHAKE)

static void a_handshake_is_no_answer(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "the hellos alone",
		  .steps = { HELLOS },
		  .books = { .answered_at_ns = MS } },
		{ .name = "the hello is waited for as a first exchange",
		  .steps = { SEND(0, 0), END(NITY_PATIENCE_NS, CLIENT_CLOSES) },
		  .books = { .unanswered = 1 } },
		{ .name = "the rest of the flight",
		  .steps = { HELLOS, HEAR(100 * US, 500, DATA), HEAR(MS, 500, DATA) },
		  .books = { .answered_at_ns = MS } },
		{ .name = "a request that waits after it is no first",
		  .steps = { HELLOS, SEND(MS, 500) },
		  .books = { .answered_at_ns = MS, .waiting = 1, .since_ns = 2 * MS } },
		{ .name = "it is neither dropped",
		  .steps = { HELLOS, SEND(MS, 500), END(0, CLIENT_FOLLOWS) },
		  .books = { .answered_at_ns = MS } },
		{ .name = "nor unanswered",
		  .steps = { HELLOS, SEND(MS, 500), END(NITY_PATIENCE_NS, CLIENT_CLOSES) },
		  .books = { .answered_at_ns = MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

/* RFC 5246, 7.3: the backend changes its cipher, or sends a ticket, before it hears the request. */
static void tls_1_2_answers_after_its_handshake(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "the client's last flight, the backend's, a request and its answer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, NITY_TLS_CHANGE_CIPHER_SPEC),
			     SEND_ANEW(MS, 600), HEAR(4 * MS, 700, DATA) },
		  .books = { .answered = 1, .first_byte_ns = 4 * MS, .answered_at_ns = 8 * MS } },
		{ .name = "the backend's last flight begins with a ticket",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, NITY_TLS_HANDSHAKE),
			     HEAR(MS, 600, NITY_TLS_CHANGE_CIPHER_SPEC), SEND_ANEW(MS, 600),
			     HEAR(4 * MS, 700, DATA) },
		  .books = { .answered = 1, .first_byte_ns = 4 * MS, .answered_at_ns = 9 * MS } },
		{ .name = "the last flight alone",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, NITY_TLS_CHANGE_CIPHER_SPEC) },
		  .books = { .answered_at_ns = 3 * MS } },
		{ .name = "the client goes when it has heard the last flight",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, NITY_TLS_CHANGE_CIPHER_SPEC),
			     END(MS, CLIENT_CLOSES) },
		  .books = { .answered_at_ns = 3 * MS } },
		{ .name = "the client goes when it has heard a ticket",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, NITY_TLS_HANDSHAKE),
			     END(MS, CLIENT_CLOSES) },
		  .books = { .answered_at_ns = 3 * MS } },
		{ .name = "a resumed session: the request goes with the client's last flight",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(4 * MS, 700, DATA),
			     HEAR(600 * US, 700, DATA) },
		  .books = { .answered = 1,
			     .first_byte_ns = 4 * MS + 600 * US,
			     .answered_at_ns = 6 * MS + 600 * US } },
	};

	play_all(node, scripts, COUNT(scripts));
}

/* RFC 8446, 4.6.1: tickets are sent as soon as the client's Finished is heard. */
static void tls_1_3_answers_after_its_tickets(struct node *node)
{
	static const __u64 flight = NITY_TICKET_FLIGHT_NS, soon = NITY_PATIENCE_NS - 1;
	const struct script scripts[] = {
		{ .name = "a flight of tickets, then the answer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA), HEAR(200 * US, 600, DATA),
			     HEAR(flight - 1 - 200 * US, 600, DATA), HEAR(5 * MS, 600, DATA) },
		  .books = { .answered = 1,
			     .first_byte_ns = MS + flight - 1 + 5 * MS,
			     .answered_at_ns = 3 * MS + flight - 1 + 5 * MS } },
		{ .name = "a flight is over after so long",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA), HEAR(flight, 600, DATA) },
		  .books = { .answered = 1,
			     .first_byte_ns = MS + flight,
			     .answered_at_ns = 3 * MS + flight } },
		{ .name = "more of the request does not make the flight longer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA), SEND(flight / 2, 700),
			     HEAR(flight / 2, 800, DATA) },
		  .books = { .answered = 1,
			     .first_byte_ns = MS + flight,
			     .answered_at_ns = 3 * MS + flight } },
		{ .name = "tickets are waited past",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA), HEAR(MS / 10, 600, DATA) },
		  .books = { .answered_at_ns = MS, .waiting = 1, .since_ns = 2 * MS } },
		{ .name = "tickets, then a new request",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA), SEND_ANEW(20 * MS, 600),
			     HEAR(3 * MS, 700, DATA) },
		  .books = { .answered = 1, .first_byte_ns = 3 * MS, .answered_at_ns = 26 * MS } },
		{ .name = "nothing follows and the client goes soon: it was the answer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(4 * MS, 600, DATA),
			     END(soon, CLIENT_CLOSES) },
		  .books = { .answered = 1, .first_byte_ns = 4 * MS, .answered_at_ns = MS } },
		{ .name = "nothing follows and the backend closes soon: it was the answer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(4 * MS, 600, DATA),
			     HEAR(MS / 10, 600, DATA), END(MS, CLIENT_FOLLOWS) },
		  .books = { .answered = 1, .first_byte_ns = 4 * MS, .answered_at_ns = MS } },
		{ .name = "nothing follows and the connection is over soon: it was the answer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(4 * MS, 600, DATA),
			     END(MS, CONNECTION_OVER) },
		  .books = { .answered = 1, .first_byte_ns = 4 * MS, .answered_at_ns = MS } },
		{ .name = "tickets, then silence: no answer",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA),
			     END(soon + 1, CLIENT_CLOSES) },
		  .books = { .answered_at_ns = MS } },
		{ .name = "after the answer come exchanges without tickets",
		  .steps = { HELLOS, SEND(MS, 500), HEAR(MS, 600, DATA), HEAR(5 * MS, 600, DATA),
			     SEND(MS, 600), HEAR(2 * MS, 700, DATA) },
		  .books = { .answered = 2, .first_byte_ns = 8 * MS, .answered_at_ns = 11 * MS } },
	};

	play_all(node, scripts, COUNT(scripts));
}

/*
 * The client's Finished is acknowledged before its request is sent, by the first
 * of two tickets (as captured from OpenSSL over loopback) or by a bare ACK, and a
 * ticket that comes after the request acknowledges the request too.
 */
static void tickets_cross_the_first_request(struct node *node)
{
	static const struct script scripts[] = {
		{ .name = "between two tickets",
		  .steps = { SEND(0, 0), HEAR(MS, 517, NITY_TLS_HANDSHAKE), SEND(MS, 517),
			     HEAR(300 * US, 597, DATA), SEND_ANEW(50 * US, 597),
			     HEAR(50 * US, 620, DATA), HEAR(20 * MS, 620, DATA) },
		  .books = { .answered = 1,
			     .first_byte_ns = 20 * MS + 50 * US,
			     .answered_at_ns = 22 * MS + 400 * US } },
		{ .name = "between a bare ACK and two tickets",
		  .steps = { SEND(0, 0), HEAR(MS, 517, NITY_TLS_HANDSHAKE), SEND(MS, 517),
			     SEND_ANEW(50 * US, 597), HEAR(300 * US, 620, DATA),
			     HEAR(50 * US, 620, DATA), HEAR(20 * MS, 620, DATA) },
		  .books = { .answered = 1,
			     .first_byte_ns = 20 * MS + 350 * US,
			     .answered_at_ns = 22 * MS + 400 * US } },
	};

	play_all(node, scripts, COUNT(scripts));
}

static const struct test tls_tests[] = {
	{ "tls: a handshake is no answer, and ends the first exchange", a_handshake_is_no_answer },
	{ "tls: 1.2 answers after its handshake", tls_1_2_answers_after_its_handshake },
	{ "tls: 1.3 answers after its tickets", tls_1_3_answers_after_its_tickets },
	{ "tls: tickets that cross the first request are no answer to it",
	  tickets_cross_the_first_request },
};

#endif
