/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A script: what the two ends of one measured connection do, and what is on its
 * backend's books in the end. Times count from its establishment, sequence
 * numbers from its first byte.
 */
#ifndef NITY_TEST_EXCHANGE_H
#define NITY_TEST_EXCHANGE_H

#include "expect.h"

enum deed {
	NO_MORE,
	CLIENT_SENDS,
	/* The same, when all that it sent before has been acknowledged. */
	CLIENT_SENDS_ANEW,
	BACKEND_SAYS,
	CLIENT_CLOSES,
	/* The same, when the backend had said goodbye before. */
	CLIENT_FOLLOWS,
	CONNECTION_RESET,
	CONNECTION_OVER,
};

struct step {
	enum deed deed;
	__u64 after_ns;
	/* The first byte that is sent, or the first that is not acknowledged. */
	__u32 at;
	__u8 first;
};

#define SEND(after, seq)                                                                           \
	{                                                                                          \
		.deed = CLIENT_SENDS, .after_ns = (after), .at = (seq)                             \
	}
#define SEND_ANEW(after, seq)                                                                      \
	{                                                                                          \
		.deed = CLIENT_SENDS_ANEW, .after_ns = (after), .at = (seq)                        \
	}
#define HEAR(after, ack, byte)                                                                     \
	{                                                                                          \
		.deed = BACKEND_SAYS, .after_ns = (after), .at = (ack), .first = (byte)            \
	}
#define END(after, how)                                                                            \
	{                                                                                          \
		.deed = (how), .after_ns = (after)                                                 \
	}

struct books {
	__u64 answered;
	__u64 first_byte_ns;
	/* When the last answer began; 0 for none. */
	__u64 answered_at_ns;
	/* What still waits when the script is over. */
	__u32 waiting;
	__u32 first_waiting;
	__u64 since_ns;
	__u64 dropped;
	__u64 unanswered;
};

struct script {
	const char *name;
	struct step steps[10];
	struct books books;
};

/* A mask of 0 measures every flow. */
static void measure_all(struct node *node)
{
	node->field.latency = NITY_LATENCY_FIRST_BYTE;
}

/* A connection that is up, and the backend it met. */
static __u32 connection(struct node *node, struct nity_model_socket *socket)
{
	__u32 backend = node_dial(node, socket, 1);

	EXPECT(backend != 0);
	nity_model_established(&node->model, socket);
	return backend;
}

static void take(struct node *node, struct nity_model_socket *socket, __u32 start,
		 const struct step *step)
{
	struct nity_model *model = &node->model;

	model->now_ns += step->after_ns;
	switch (step->deed) {
	case NO_MORE:
		break;
	case CLIENT_SENDS:
	case CLIENT_SENDS_ANEW:
		nity_model_sent(model, socket, start + step->at, step->deed == CLIENT_SENDS_ANEW);
		break;
	case BACKEND_SAYS:
		nity_model_received(model, socket, start + step->at, step->first);
		break;
	case CLIENT_CLOSES:
	case CLIENT_FOLLOWS:
		nity_model_release(model, socket, step->deed == CLIENT_FOLLOWS);
		break;
	case CONNECTION_RESET:
	case CONNECTION_OVER:
		nity_model_ended(model, socket, 1, 0, step->deed == CONNECTION_OVER);
		break;
	}
}

static __u64 histogram_total(const struct nity_backend_counters *counts)
{
	__u64 total = 0;

	for (int i = 0; i < NITY_LATENCY_BUCKETS; i++)
		total += counts->first_byte_histogram[i];
	return total;
}

static void play(struct node *node, const struct script *script, __u32 start)
{
	const struct books *books = &script->books;
	struct nity_model_socket socket = { .socket_cookie = 1 };
	struct nity_backend_counters *counts;
	struct nity_backend_live *live;
	struct nity_lane *lane;
	__u64 established_ns;
	__u32 backend;

	node_init(node);
	measure_all(node);
	backend = connection(node, &socket);
	counts = &node->counts[backend];
	live = &node->live[backend];
	established_ns = node->model.now_ns;
	for (size_t i = 0; i < COUNT(script->steps); i++)
		take(node, &socket, start, &script->steps[i]);

	EXPECT(counts->answered == books->answered);
	EXPECT(counts->first_byte_ns == books->first_byte_ns);
	EXPECT(histogram_total(counts) == books->answered);
	if (books->answered == 1)
		EXPECT(counts->first_byte_histogram[nity_latency_bucket(books->first_byte_ns)] ==
		       1);
	EXPECT(live->answered_ns ==
	       (books->answered_at_ns ? established_ns + books->answered_at_ns : 0));
	EXPECT(live->waiting == books->waiting && live->first_waiting == books->first_waiting);
	EXPECT(live->waiting_since_ns == (books->waiting ? established_ns + books->since_ns : 0));
	EXPECT(live->first_since_ns ==
	       (books->first_waiting ? established_ns + books->since_ns : 0));
	/* No exchange is answered before the first one is. */
	EXPECT(counts->first_answered == !!books->answered_at_ns);
	EXPECT(counts->dropped == books->dropped && counts->unanswered == books->unanswered);
	lane = &node->clients[backend].lane[socket.flow.lane];
	EXPECT(lane->answered == books->answered);
	EXPECT(lane->unserved == books->dropped + books->unanswered);
	EXPECT(lane->first_waiting == books->first_waiting);
	EXPECT(lane->first_since_ns == live->first_since_ns);
	EXPECT(live->lane_waiting[socket.flow.lane] == books->waiting);
	if (books->answered == 1)
		EXPECT(lane->answered_log == nity_quarter_octaves(books->first_byte_ns));
	nity_model_release(&node->model, &socket, 0);
	EXPECT(nobody_waits(node, backend) && live->open == 0);
}

/* Wherever the sequence numbers of a connection begin, even where they wrap around. */
static void play_all(struct node *node, const struct script *scripts, size_t count)
{
	static const __u32 starts[] = { 1, 0x7fffffff, ~0u - 99, ~0u };

	for (size_t i = 0; i < count; i++)
		for (size_t start = 0; start < COUNT(starts); start++) {
			int before = failures_here;

			play(node, &scripts[i], starts[start]);
			if (failures_here > before)
				printf("# in: %s, from sequence number %u\n", scripts[i].name,
				       starts[start]);
		}
}

#endif
