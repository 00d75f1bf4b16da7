// SPDX-License-Identifier: GPL-2.0
/*
 * Random fields, some of them corrupt, and random histories of sockets. Whatever
 * happens, a pick is one of the route's own backends, a connect is either picked
 * or refused, soft never lets more through than its budget, each flow holds
 * exactly one open count, what waits for an answer is what the sockets say, and
 * what no SYN was sent for leaves no word of failure.
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

/* What soft has admitted of a route since its budget was last another. */
struct budget {
	__u64 token_ns;
	__u64 burst_ns;
	__u64 since_ns;
	__u64 admitted;
};

struct world {
	struct node node;
	struct nity_model_socket sockets[SOCKETS];
	struct budget budgets[TEST_ROUTES];
};

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

/* The projection's order: the inactive table is no epoch's while it is written, then the flip. */
static void project(struct node *node, struct input *input)
{
	__u64 epoch = node->field.epoch + 1;
	struct nity_slot_page *table = epoch & 1 ? node->b : node->a;
	__u32 route = 1 + next(input) % 2, first = next(input);

	node->field.table_epoch[epoch & 1] = 0;
	for (__u32 slot = 0; slot < NITY_SLOTS_PER_PAGE; slot++)
		table[route - 1].owner[slot] = 4 * (route - 1) + 1 + (first + slot) % 4;
	node->field.table_epoch[epoch & 1] = epoch;
	node->field.epoch = epoch;
}

/* An index is given to another endpoint: its books begin anew, its flows' ends are nobody's. */
static void reuse(struct node *node, __u32 backend, struct input *input)
{
	memset(&node->live[backend], 0, sizeof(node->live[backend]));
	memset(&node->counts[backend], 0, sizeof(node->counts[backend]));
	memset(&node->clients[backend], 0, sizeof(node->clients[backend]));
	node->backends[backend].generation++;
	node->backends[backend].route = HANDLE(next(input) % TEST_ROUTES);
}

static void control_change(struct nity_rt_control *control, __u64 now_ns, struct input *input)
{
	__u32 which = next(input), value = next(input);

	switch (which % 8) {
	case 0:
		control->admission_mode = value % 4;
		break;
	case 1:
		control->token_ns = next(input) * MS;
		control->burst_ns = value * MS;
		break;
	case 2: /* modes that do not exist, too */
		control->override_word = ((now_ns + value * 100 * MS) & ~3ULL) | (which / 7 & 3);
		control->override_token_ns = next(input) * MS;
		control->override_burst_ns = next(input) * MS;
		break;
	case 3:
		/* One that does not exist, too. */
		control->gear = value % 4;
		control->affinity_seconds = next(input) % 4;
		break;
	case 4: /* sizes that are no power of two, and ranges past the end */
		control->slot_range[value & 1] = (__u64)next(input) << 32 | next(input);
		break;
	case 5:
		control->fallback_range = (__u64)value << 32 | next(input);
		break;
	case 6:
		control->latency_mask = value % 4;
		control->latency_skip = next(input) % 4;
		break;
	case 7: /* more than all of them, too */
		control->observed_percent = value;
		break;
	}
}

static void disturb(struct node *node, struct input *input)
{
	__u32 which = next(input), value = next(input);
	struct nity_slot_page *pages[] = { node->a, node->b, node->fallback };

	switch (which % 11) {
	case 0:
	case 1:
	case 2: /* any owner at all, of this route, of another, or of nobody */
		pages[which % 11][which / 11 % 2].owner[value % 64] = next(input);
		break;
	case 3:
		node->backends[value % TEST_BACKENDS].state = next(input) % 5;
		break;
	case 4:
		reuse(node, value % TEST_BACKENDS, input);
		break;
	case 5:
		control_change(&node->control[1 + which / 11 % 2], node->model.now_ns, input);
		break;
	case 6:
		node->field.table_epoch[value & 1] = next(input) % 8;
		node->field.epoch = next(input) % 8;
		break;
	case 7:
		project(node, input);
		break;
	case 8:
		node->field.suspect_after = value % 4;
		node->field.suspect_ns = next(input) * 10 * MS;
		break;
	case 9: /* one that does not exist, too */
		node->field.latency = value % 3;
		break;
	case 10: /* the index is given to another route, and given back */
		node->control[1 + which / 11 % 2].handle ^= (value & 1) << NITY_ROUTE_INDEX_BITS;
		break;
	}
}

static void check_books(const struct world *world)
{
	const struct node *node = &world->node;
	struct waiting waiting[TEST_BACKENDS];
	__u32 open[TEST_BACKENDS] = { 0 };

	waiting_by_sockets(node, world->sockets, SOCKETS, waiting);
	for (int i = 0; i < SOCKETS; i++) {
		const struct nity_flow *flow = &world->sockets[i].flow;

		if (world->sockets[i].has_flow && flow->phase != NITY_FLOW_SETTLED &&
		    flow->generation == node->backends[flow->backend].generation)
			open[flow->backend]++;
	}
	/* Equal to a count of sockets: so never below zero either. */
	for (int i = 0; i < TEST_BACKENDS; i++) {
		REQUIRE(node->live[i].open == open[i]);
		REQUIRE(waiting_agrees(&node->live[i], &node->clients[i], &waiting[i]));
	}
}

/* Whoever can still be settled is: nobody holds a count, and nobody waits. */
static void release_all(struct world *world)
{
	struct node *node = &world->node;

	for (int i = 0; i < SOCKETS; i++)
		nity_model_release(&node->model, &world->sockets[i], i & 1);
	for (int i = 0; i < TEST_BACKENDS; i++)
		REQUIRE(node->live[i].open == 0 && nobody_waits(node, i));
}

/* The mode in force, said here a second time and in other words than admit.h's. */
static __u32 mode_of(const struct node *node, const struct nity_rt_control *control)
{
	__u64 seen_ns = node->field.last_agent_seen_ns, now_ns = node->model.now_ns;

	if (now_ns < (control->override_word & ~3ULL))
		return control->override_word & 3;
	if (control->admission_mode == NITY_ADMISSION_HARD &&
	    now_ns >= seen_ns + node->field.fallback_after_ns)
		return NITY_ADMISSION_SOFT;
	return control->admission_mode;
}

/* In any time t in which the budget stays: at most burst + rate * t. */
static void check_admission(struct world *world, __u32 route, __u32 mode, enum nity_counter outcome)
{
	const struct nity_rt_control *control = &world->node.control[route];
	__u64 now_ns = world->node.model.now_ns;
	int overridden = control->override_token_ns && now_ns < (control->override_word & ~3ULL);
	__u64 token_ns = overridden ? control->override_token_ns : control->token_ns;
	__u64 burst_ns = overridden ? control->override_burst_ns : control->burst_ns;
	struct budget *budget = &world->budgets[route];

	REQUIRE((outcome == NITY_REFUSED_HARD) == (mode == NITY_ADMISSION_HARD));
	REQUIRE(outcome != NITY_REFUSED_CONTENDED);
	if (mode == NITY_ADMISSION_NORMAL || mode == NITY_ADMISSION_HARD || !token_ns) {
		REQUIRE(outcome != NITY_REFUSED_SOFT);
		return;
	}
	if (budget->token_ns != token_ns || budget->burst_ns != burst_ns)
		*budget = (struct budget){ token_ns, burst_ns, now_ns, 0 };
	budget->admitted += outcome != NITY_REFUSED_SOFT;
	REQUIRE(budget->admitted * token_ns <= burst_ns + now_ns - budget->since_ns);
}

/* The mode that the decision went by: who is only observed meets an open valve, but for an override. */
static __u32 check_observed(const struct node *node, const struct nity_rt_control *control,
			    __u32 mode)
{
	int overridden = node->model.now_ns < (control->override_word & ~3ULL);
	__u32 went_by = node->model.event.admission_mode;

	if (went_by != mode)
		REQUIRE(went_by == NITY_ADMISSION_NORMAL && control->observed_percent &&
			!overridden);
	if (control->observed_percent >= 100) {
		REQUIRE(overridden || went_by == NITY_ADMISSION_NORMAL);
		REQUIRE(node->model.event.outcome != NITY_PICKED_TWIN);
	}
	return went_by;
}

static void dial_and_check(struct world *world, struct nity_model_socket *socket, __u32 route)
{
	struct node *node = &world->node;
	struct nity_rt_control *control = &node->control[route];
	struct nity_rt_control before = *control;
	__u64 picked = count_between(node, NITY_PICKED_GEAR, NITY_PICKED_FALLBACK);
	__u64 refused = count_between(node, NITY_REFUSED_HARD, NITY_REFUSED_BOUNDARY);
	__u32 mode = mode_of(node, control);
	struct nity_model_address address = { VIP(route), htons(80) };
	int is_own = control->handle == HANDLE(route);
	__u32 backend = nity_model_dial(&node->model, socket, &address) ?
				0 :
				ntohl(address.address) - 0x7f000000u;
	/* Every decision is sampled, so the event is this one. */
	enum nity_counter outcome = node->model.event.outcome;

	picked = count_between(node, NITY_PICKED_GEAR, NITY_PICKED_FALLBACK) - picked;
	refused = count_between(node, NITY_REFUSED_HARD, NITY_REFUSED_BOUNDARY) - refused;
	REQUIRE(picked + refused == 1);
	REQUIRE((backend != 0) == (picked == 1));
	REQUIRE(control->picks - before.picks == picked);
	/* What is refused because the index is another's by now is not that one's refusal. */
	REQUIRE(control->refused - before.refused == (is_own ? refused : 0));
	REQUIRE(is_own || outcome == NITY_REFUSED_BOUNDARY);
	REQUIRE(nity_refused(outcome) == (int)refused);
	REQUIRE(control->turns - before.turns <= NITY_DRAWS);
	if (is_own)
		check_admission(world, route, check_observed(node, control, mode), outcome);
	if (backend) {
		REQUIRE(backend < TEST_BACKENDS);
		REQUIRE(node->backends[backend].route == HANDLE(route));
		REQUIRE(node->backends[backend].state != NITY_BACKEND_FREE);
		REQUIRE(socket->flow.backend == backend && socket->flow.route == HANDLE(route));
		REQUIRE(socket->flow.phase == NITY_FLOW_PICKED && socket->flow.lane < NITY_LANES);
	}
}

/* Nobody's failure is booked of a flow without a SYN, whatever ends it. */
static void check_unsent(const struct world *world, const struct nity_model_socket *socket,
			 const struct nity_flow *before, const struct nity_backend_live *live)
{
	if (before->phase != NITY_FLOW_PICKED || socket->flow.phase != NITY_FLOW_SETTLED)
		return;
	REQUIRE(world->node.live[before->backend].failures == live->failures);
	REQUIRE(world->node.live[before->backend].accuser_failures == live->accuser_failures);
}

static void act(struct world *world, struct input *input)
{
	struct node *node = &world->node;
	uint8_t action = next(input);
	struct nity_model_socket *socket = &world->sockets[action / 16 % SOCKETS];
	int odd = action & 1, segments, retransmits;
	struct nity_flow flow = socket->flow;
	struct nity_backend_live live = node->live[flow.backend];
	/* Near where sequence numbers wrap around. */
	__s8 seq;

	switch (action % 16) {
	case 0:
	case 1:
		socket->sk.src_port = next(input) % 3;
		/* More clients than lanes. */
		socket->user = next(input) % 7;
		dial_and_check(world, socket, 1 + odd);
		if (next(input) % 4)
			nity_model_connecting(&node->model, socket);
		break;
	case 2:
	case 3:
		seq = next(input);
		nity_model_sent(&node->model, socket, seq, odd);
		break;
	case 4:
	case 5:
		nity_model_release(&node->model, socket, odd);
		check_unsent(world, socket, &flow, &live);
		break;
	case 6:
	case 7: /* from steps finer than a token to steps beyond every threshold */
		node->model.now_ns += next(input) * (odd ? 100 * MS : MS);
		break;
	case 8:
	case 9: /* a heartbeat; or an older one, as no agent writes it */
		node->field.last_agent_seen_ns = node->model.now_ns;
		if (odd)
			node->field.last_agent_seen_ns -= next(input) * 100 * MS;
		node->field.held_epoch = node->field.epoch;
		break;
	case 10:
	case 11:
		seq = next(input);
		nity_model_received(&node->model, socket, seq, next(input));
		break;
	case 12:
		switch (next(input) % 3) {
		case 0:
			nity_model_connecting(&node->model, socket);
			break;
		case 1:
			nity_model_repeated(&node->model, socket);
			break;
		default:
			nity_model_established(&node->model, socket);
		}
		break;
	case 13:
		segments = next(input);
		retransmits = segments / 2;
		nity_model_ended(&node->model, socket, segments & 1, retransmits & 1, segments & 4);
		check_unsent(world, socket, &flow, &live);
		break;
	case 14:
		disturb(node, input);
		break;
	case 15: /* within a flight of session tickets, and past it */
		node->model.now_ns += next(input) * 4 * US;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	struct input input = { data, size };

	memset(&world, 0, sizeof(world));
	node_init(&world.node);
	/* One endpoint for each index, so that a pick names its own. */
	for (__u32 i = 0; i < TEST_BACKENDS; i++)
		world.node.backends[i].address = ADDRESS(i);
	for (int i = 0; i < SOCKETS; i++)
		world.sockets[i].socket_cookie = i;
	world.node.field.latency = NITY_LATENCY_FIRST_BYTE;
	while (input.left) {
		act(&world, &input);
		check_books(&world);
	}
	release_all(&world);
	return 0;
}
