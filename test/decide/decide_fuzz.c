// SPDX-License-Identifier: GPL-2.0
/*
 * Random fields, some of them corrupt, and random histories of sockets. Whatever
 * happens, a pick is one of the route's own backends, a connect is either picked
 * or refused, and each flow holds exactly one open count.
 */
#include "plane.h"

#define SOCKETS 16

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t next(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static __u64 count_between(const struct node *node, int from, int to)
{
	__u64 sum = 0;

	for (int i = from; i <= to; i++)
		sum += node->counters[i];
	return sum;
}

static void disturb(struct node *node, struct input *input)
{
	__u32 which = next(input), value = next(input);

	switch (which % 9) {
	case 0: /* any owner at all, of this route, of another, or of nobody */
		node->a[which / 9 % 2].owner[value % 64] = next(input);
		break;
	case 1:
		node->b[which / 9 % 2].owner[value % 64] = next(input);
		break;
	case 2:
		node->fallback[which / 9 % 2].owner[value % 64] = next(input);
		break;
	case 3:
		node->backends[value % TEST_BACKENDS].state = next(input) % 5;
		break;
	case 4:
		node->control[1 + which / 9 % 2].admission_mode = value % 4;
		node->control[1 + which / 9 % 2].token_ns = next(input) * MS;
		node->control[1 + which / 9 % 2].burst_ns = next(input) * MS;
		break;
	case 5:
		node->control[1 + which / 9 % 2].gear = value % 3;
		node->control[1 + which / 9 % 2].affinity_seconds = next(input) % 4;
		break;
	case 6:
		node->field.table_epoch[value & 1] = next(input) % 8;
		node->field.epoch = next(input) % 8;
		break;
	case 7: /* sizes that are no power of two, and ranges past the end */
		node->control[1 + which / 9 % 2].slot_range[value & 1] = (__u64)next(input) << 32 |
									 next(input);
		break;
	case 8:
		node->control[1 + which / 9 % 2].fallback_range = (__u64)value << 32 | next(input);
		break;
	}
}

static void check_books(const struct node *node, const struct nity_model_socket *sockets)
{
	__u32 open[TEST_BACKENDS] = { 0 };

	for (int i = 0; i < SOCKETS; i++)
		if (sockets[i].has_flow && sockets[i].flow.phase != NITY_FLOW_SETTLED)
			open[sockets[i].flow.backend]++;
	for (int i = 0; i < TEST_BACKENDS; i++)
		REQUIRE(node->live[i].open == open[i]);
}

static void dial_and_check(struct node *node, struct nity_model_socket *socket, __u32 route)
{
	__u64 picked = count_between(node, NITY_PICKED_GEAR, NITY_PICKED_FALLBACK);
	__u64 refused = count_between(node, NITY_REFUSED_HARD, NITY_REFUSED_BOUNDARY);
	__u64 turns = node->control[route].turns;
	__u32 backend = node_dial(node, socket, route);

	REQUIRE(node->control[route].turns - turns <= NITY_DRAWS);
	picked = count_between(node, NITY_PICKED_GEAR, NITY_PICKED_FALLBACK) - picked;
	refused = count_between(node, NITY_REFUSED_HARD, NITY_REFUSED_BOUNDARY) - refused;
	REQUIRE(picked + refused == 1);
	REQUIRE((backend != 0) == (picked == 1));
	if (backend) {
		REQUIRE(backend < TEST_BACKENDS);
		REQUIRE(node->backends[backend].route == route);
		REQUIRE(node->backends[backend].state != NITY_BACKEND_FREE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct node node;
	struct nity_model_socket sockets[SOCKETS] = { 0 };
	struct input input = { data, size };

	node_init(&node);
	for (int i = 0; i < SOCKETS; i++)
		sockets[i].socket_cookie = i;
	while (input.left) {
		uint8_t action = next(&input);
		struct nity_model_socket *socket = &sockets[action / 16 % SOCKETS];

		switch (action % 8) {
		case 0:
		case 1:
			socket->sk.src_port = next(&input) % 3;
			dial_and_check(&node, socket, 1 + action / 8 % 2);
			break;
		case 2:
			nity_model_established(&node.model, socket);
			break;
		case 3:
			nity_model_ended(&node.model, socket, next(&input) & 1, next(&input) & 1,
					 next(&input) & 1);
			break;
		case 4:
			nity_model_release(&node.model, socket);
			break;
		case 5:
			node.model.now_ns += next(&input) * 100 * MS;
			break;
		case 6:
			node.field.last_agent_seen_ns = node.model.now_ns;
			node.field.held_epoch = node.field.epoch;
			break;
		case 7:
			disturb(&node, &input);
			break;
		}
		check_books(&node, sockets);
	}
	return 0;
}
