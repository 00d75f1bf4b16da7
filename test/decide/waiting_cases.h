/* SPDX-License-Identifier: GPL-2.0 */
/* Cases of observe.h: what becomes of a request that waits, and that none is ever left waiting. */
#ifndef NITY_TEST_WAITING_CASES_H
#define NITY_TEST_WAITING_CASES_H

#include "exchange.h"

static void a_first_request_without_an_answer(struct node *node)
{
	static const __u64 early = NITY_PATIENCE_NS - 1, late = NITY_PATIENCE_NS;
	const struct script scripts[] = {
		{ .name = "the client gives up early",
		  .steps = { SEND(0, 0), END(early, CLIENT_CLOSES) },
		  .books = { .unanswered = 1 } },
		{ .name = "the client gives up late",
		  .steps = { SEND(0, 0), END(late, CLIENT_CLOSES) },
		  .books = { .unanswered = 1 } },
		{ .name = "the client gives up at once",
		  .steps = { SEND(0, 0), END(0, CLIENT_CLOSES) },
		  .books = { .unanswered = 1 } },
		{ .name = "more bytes of the request are no second one",
		  .steps = { SEND(0, 0), SEND_ANEW(early, 100), END(1, CLIENT_CLOSES) },
		  .books = { .unanswered = 1 } },
		{ .name = "the backend closes at once",
		  .steps = { SEND(0, 0), END(0, CLIENT_FOLLOWS) },
		  .books = { .dropped = 1 } },
		{ .name = "the backend closes late",
		  .steps = { SEND(0, 0), END(late, CLIENT_FOLLOWS) },
		  .books = { .dropped = 1 } },
		{ .name = "the connection is reset",
		  .steps = { SEND(0, 0), END(0, CONNECTION_RESET), END(late, CLIENT_CLOSES) },
		  .books = { .dropped = 1 } },
		{ .name = "the connection is over, and the client holds its socket",
		  .steps = { SEND(0, 0), END(0, CONNECTION_OVER), END(late, CLIENT_CLOSES) },
		  .books = { .dropped = 1 } },
		{ .name = "a greeting is no answer",
		  .steps = { SEND(0, 0), HEAR(MS, 0, '2'), END(0, CLIENT_FOLLOWS) },
		  .books = { .dropped = 1 } },
		{ .name = "nothing was asked", .steps = { END(late, CLIENT_FOLLOWS) } },
		{ .name = "it was answered",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), END(late, CLIENT_FOLLOWS) },
		  .books = { .answered = 1, .first_byte_ns = MS, .answered_at_ns = MS } },
		{ .name = "a later request may want none",
		  .steps = { SEND(0, 0), HEAR(MS, 100, 'H'), SEND(MS, 100),
			     END(late, CLIENT_FOLLOWS) },
		  .books = { .answered = 1, .first_byte_ns = MS, .answered_at_ns = MS } },
		{ .name = "what comes after the end is nobody's",
		  .steps = { SEND(0, 0), END(0, CLIENT_CLOSES), HEAR(MS, 100, 'H'), SEND(0, 100),
			     SEND_ANEW(MS, 200), END(late, CLIENT_FOLLOWS) },
		  .books = { .unanswered = 1 } },
	};

	play_all(node, scripts, COUNT(scripts));
}

static void another_dial_begins_a_first_exchange(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 first, second;

	measure_all(node);
	node->control[1].latency_skip = 9;
	first = connection(node, &socket);
	nity_model_sent(&node->model, &socket, 0, 0);
	nity_model_received(&node->model, &socket, 100, 'H');
	nity_model_sent(&node->model, &socket, 100, 0);
	/* It was to pass over some exchanges: of another connection, not of this one. */
	second = connection(node, &socket);
	EXPECT(first != second && nobody_waits(node, first));
	EXPECT(socket.flow.exchange == NITY_EXCHANGE_NONE);
	nity_model_sent(&node->model, &socket, 0, 0);
	EXPECT(node->live[second].first_waiting == 1);
	/* Nobody answers: the retry says so, and the books of the one before stay closed. */
	node->model.now_ns += NITY_PATIENCE_NS;
	node->field.last_agent_seen_ns = node->model.now_ns;
	first = connection(node, &socket);
	EXPECT(first != second && nobody_waits(node, second));
	EXPECT(node->counts[second].unanswered == 1 && node->counts[second].answered == 0);
	/* A request that waits while the retry is refused waits no more either. */
	nity_model_sent(&node->model, &socket, 0, 0);
	node->control[1].admission_mode = NITY_ADMISSION_HARD;
	EXPECT(node_dial(node, &socket, 1) == 0);
	EXPECT(nobody_waits(node, first) && node->counts[first].unanswered == 1);
}

/* The client's hello, the backend's, the client's last flight, and a session ticket. */
static void shake_hands(struct node *node, struct nity_model_socket *socket)
{
	static const struct step steps[] = {
		SEND(0, 0),
		HEAR(MS, 500, NITY_TLS_HANDSHAKE),
		SEND(MS, 500),
		HEAR(MS, 600, 23),
	};

	for (size_t i = 0; i < COUNT(steps); i++)
		take(node, socket, 0, &steps[i]);
}

static void another_dial_knows_no_old_ticket(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend;

	measure_all(node);
	for (int dials = 0; dials < 3; dials++) {
		backend = connection(node, &socket);
		shake_hands(node, &socket);
		EXPECT(node->live[backend].waiting == 1 && node->counts[backend].answered == 0);
		node->model.now_ns += NITY_PATIENCE_NS;
	}
}

static void another_dial_may_be_unmeasured(struct node *node)
{
	struct nity_model_socket socket = { .socket_cookie = 1 };
	__u32 backend;

	measure_all(node);
	connection(node, &socket);
	nity_model_sent(&node->model, &socket, 0, 0);
	node->field.latency = NITY_LATENCY_CONNECT;
	backend = connection(node, &socket);
	nity_model_sent(&node->model, &socket, 0, 0);
	for (int i = 0; i < TEST_BACKENDS; i++)
		EXPECT(nobody_waits(node, i));
	nity_model_received(&node->model, &socket, 100, 'H');
	nity_model_release(&node->model, &socket, 1);
	EXPECT(node->counts[backend].answered == 0 && node->counts[backend].dropped == 0);
}

static void a_reused_index_knows_no_old_exchange(struct node *node)
{
	static const struct step steps[] = {
		HEAR(MS, 100, 'H'),	   SEND(MS, 100),	    SEND_ANEW(MS, 200),
		END(MS, CONNECTION_RESET), END(MS, CLIENT_FOLLOWS),
	};

	for (size_t i = 0; i < COUNT(steps); i++) {
		struct nity_model_socket socket = { .socket_cookie = 1 };
		struct nity_backend_clients clients;
		struct nity_backend_counters counts;
		struct nity_backend_live live;
		__u32 backend;

		node_init(node);
		measure_all(node);
		backend = connection(node, &socket);
		nity_model_sent(&node->model, &socket, 0, 0);
		node->backends[backend].generation++;
		/* The new endpoint's own. */
		memset(&node->live[backend], 7, sizeof(live));
		memset(&node->counts[backend], 7, sizeof(counts));
		memset(&node->clients[backend], 7, sizeof(clients));
		live = node->live[backend];
		counts = node->counts[backend];
		clients = node->clients[backend];
		take(node, &socket, 0, &steps[i]);
		nity_model_release(&node->model, &socket, 1);
		EXPECT(!memcmp(&node->live[backend], &live, sizeof(live)));
		EXPECT(!memcmp(&node->counts[backend], &counts, sizeof(counts)));
		EXPECT(!memcmp(&node->clients[backend], &clients, sizeof(clients)));
		/* Nor does what waited follow the socket to where it dials next. */
		owners_fill(node->b[0].owner, backend % 4 + 1);
		EXPECT(connection(node, &socket) == backend % 4 + 1);
		EXPECT(nobody_waits(node, backend % 4 + 1));
		EXPECT(socket.flow.request_ns == 0 && socket.flow.exchange == NITY_EXCHANGE_NONE);
	}
}

#define CLIENTS 24

/* Steps of time from within a flight of tickets to past every patience. */
static __u64 random_pause(void)
{
	static const __u64 scales[] = { 100 * US, MS, 100 * MS, 20 * SECOND };

	return random_below(scales[random_below(COUNT(scales))]);
}

static void random_deed(struct node *node, struct nity_model_socket *socket)
{
	static const __u8 firsts[] = { NITY_TLS_HANDSHAKE, NITY_TLS_CHANGE_CIPHER_SPEC, 23, 'H' };
	/* Close to where they wrap around. */
	__u32 at = random_below(64) - 32;

	switch (random_below(16)) {
	case 0:
		/* Of seven clients, which are more than there are lanes. */
		socket->user = random_below(7);
		node_dial(node, socket, 1 + random_below(2));
		break;
	case 1:
	case 2:
		nity_model_established(&node->model, socket);
		break;
	case 3:
		nity_model_ended(&node->model, socket, 1, 0, random_below(2));
		break;
	case 4:
		nity_model_release(&node->model, socket, random_below(2));
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		nity_model_sent(&node->model, socket, at, random_below(2));
		break;
	default:
		nity_model_received(&node->model, socket, at, firsts[random_below(COUNT(firsts))]);
	}
}

/* What the agent changes meanwhile; rarely, it gives an index to another endpoint. */
static void random_change(struct node *node)
{
	__u32 backend = 1 + random_below(8), route = 1 + random_below(2);

	/* A lane that was idle is free again, for the next client to come. */
	node->control[route].clients[random_below(NITY_LANES)] = 0;

	node->field.latency = random_below(4) ? NITY_LATENCY_FIRST_BYTE : NITY_LATENCY_CONNECT;
	node->control[route].latency_mask = random_below(4);
	node->control[route].latency_skip = random_below(3);
	if (random_below(4))
		return;
	node->backends[backend].generation++;
	memset(&node->live[backend], 0, sizeof(node->live[backend]));
	memset(&node->counts[backend], 0, sizeof(node->counts[backend]));
	memset(&node->clients[backend], 0, sizeof(node->clients[backend]));
}

static void waiting_is_what_the_sockets_say(struct node *node)
{
	struct nity_model_socket sockets[CLIENTS] = { 0 };
	struct waiting waiting[TEST_BACKENDS];
	__u32 seen = 0;

	measure_all(node);
	for (int step = 0; step < 200000 && !failures_here; step++) {
		struct nity_model_socket *socket = &sockets[random_below(CLIENTS)];
		struct nity_flow *flow = &socket->flow;

		node->model.now_ns += random_pause();
		random_deed(node, socket);
		if (!random_below(100))
			random_change(node);
		if (flow->request_ns &&
		    flow->generation == node->backends[flow->backend].generation)
			EXPECT(flow->phase == NITY_FLOW_ESTABLISHED &&
			       flow->exchange >= NITY_EXCHANGE_FIRST);
		waiting_by_sockets(node, sockets, CLIENTS, waiting);
		for (int i = 0; i < TEST_BACKENDS; i++) {
			EXPECT(waiting_agrees(&node->live[i], &node->clients[i], &waiting[i]));
			EXPECT(node->counts[i].answered == histogram_total(&node->counts[i]));
			seen += waiting[i].waiting > 1 && waiting[i].first_waiting;
		}
	}
	/* The histories were no idle ones. */
	EXPECT(seen > 10000);
	for (int i = 0; i < CLIENTS; i++)
		nity_model_release(&node->model, &sockets[i], random_below(2));
	for (int i = 0; i < TEST_BACKENDS; i++)
		EXPECT(nobody_waits(node, i));
}

/* Nothing is lost and nothing counted twice: each first request has one end. */
static void each_first_request_has_one_end(struct node *node)
{
	static const enum deed deeds[] = {
		CLIENT_SENDS,	CLIENT_SENDS_ANEW, BACKEND_SAYS,    CLIENT_CLOSES,
		CLIENT_FOLLOWS, CONNECTION_RESET,  CONNECTION_OVER,
	};
	__u64 asked = 0;

	measure_all(node);
	for (int history = 0; history < 20000; history++) {
		struct nity_model_socket socket = { .socket_cookie = 1, .user = history % 6 };
		struct nity_backend_counters sum = { 0 };
		__u64 unserved = 0, first_waiting = 0;
		int began = 0;

		connection(node, &socket);
		node->field.last_agent_seen_ns = node->model.now_ns;
		for (int i = 0; i < 8; i++) {
			struct step step = {
				.deed = deeds[random_below(COUNT(deeds))],
				.after_ns = random_pause(),
				.at = random_below(64),
				.first = random_below(2) ? NITY_TLS_HANDSHAKE : 'H',
			};

			/* Established, and no end before it. */
			began |= step.deed <= CLIENT_SENDS_ANEW &&
				 socket.flow.phase == NITY_FLOW_ESTABLISHED;
			take(node, &socket, 0, &step);
		}
		asked += began;
		for (int i = 0; i < TEST_BACKENDS; i++) {
			sum.first_answered += node->counts[i].first_answered;
			sum.dropped += node->counts[i].dropped;
			sum.unanswered += node->counts[i].unanswered;
			first_waiting += node->live[i].first_waiting;
			for (int lane = 0; lane < NITY_LANES; lane++)
				unserved += node->clients[i].lane[lane].unserved;
		}
		EXPECT(sum.first_answered + sum.dropped + sum.unanswered + first_waiting == asked);
		EXPECT(unserved == sum.dropped + sum.unanswered);
		/* Half of them are let go of; what waits at the others waits on. */
		if (history % 2)
			nity_model_release(&node->model, &socket, 0);
	}
	EXPECT(asked > 5000);
}

static const struct test waiting_tests[] = {
	{ "waiting: a first request is dropped, unanswered or neither",
	  a_first_request_without_an_answer },
	{ "waiting: another dial on the socket begins a first exchange",
	  another_dial_begins_a_first_exchange },
	{ "waiting: another dial on the socket knows no old ticket",
	  another_dial_knows_no_old_ticket },
	{ "waiting: another dial on the socket may be unmeasured", another_dial_may_be_unmeasured },
	{ "waiting: an old exchange touches nothing of a new endpoint",
	  a_reused_index_knows_no_old_exchange },
	{ "waiting: each first request has one end", each_first_request_has_one_end },
	{ "waiting: at every instant what the sockets say, in random histories",
	  waiting_is_what_the_sockets_say },
};

#endif
