// SPDX-License-Identifier: GPL-2.0
/* The model's calls: each dresses a context and runs an entry point of nity.bpf.c. */
#include <stddef.h>

#include "helpers.h"

#include "../nity.bpf.c"

static inline void *element(void *array, __u32 index, __u32 entries, size_t size)
{
	return index < entries ? (char *)array + index * size : NULL;
}

static void *model_lookup(const void *map, const void *key)
{
	struct nity_model *m = model_now;
	__u32 index = *(const __u32 *)key;

	if (map == &slot_table_a)
		return element(m->slot_table_a, index, m->slot_pages, sizeof(*m->slot_table_a));
	if (map == &slot_table_b)
		return element(m->slot_table_b, index, m->slot_pages, sizeof(*m->slot_table_a));
	if (map == &fallback)
		return element(m->fallback, index, m->fallback_pages, sizeof(*m->fallback));
	if (map == &backends)
		return element(m->backends, index, m->backends_max, sizeof(*m->backends));
	if (map == &backend_live)
		return element(m->backend_live, index, m->backends_max, sizeof(*m->backend_live));
	if (map == &backend_counters)
		return element(m->backend_counters, index, m->backends_max,
			       sizeof(*m->backend_counters));
	if (map == &backend_clients)
		return element(m->backend_clients, index, m->backends_max,
			       sizeof(*m->backend_clients));
	if (map == &rt_control)
		return element(m->rt_control, index, m->routes_max, sizeof(*m->rt_control));
	if (map == &field_state)
		return element(m->field_state, index, 1, sizeof(*m->field_state));
	if (map == &trace)
		return element(m->trace, index, 1, sizeof(*m->trace));
	if (map == &counters)
		return element(m->counters, index, NITY_MAX_COUNTERS, sizeof(__u64));
	if (map == &routes)
		return nity_hash_lookup(m->routes, key);
	if (map == &conntrack)
		return nity_hash_lookup(m->conntrack, key);
	if (map == &affinity)
		return nity_hash_lookup(m->affinity, key);
	return NULL;
}

static int model_update(const void *map, const void *key, const void *value, __u64 flags)
{
	if (map == &conntrack)
		return nity_hash_update(model_now->conntrack, key, value, flags);
	if (map == &affinity)
		return nity_hash_update(model_now->affinity, key, value, flags);
	return -EINVAL;
}

static struct bpf_sock_addr addressed(struct nity_model_socket *socket,
				      const struct nity_model_address *address)
{
	struct bpf_sock_addr ctx = {
		.user_family = AF_INET,
		.user_ip4 = address->address,
		.user_port = address->port,
		.protocol = IPPROTO_TCP,
	};

	ctx.sk = &socket->sk;
	return ctx;
}

int nity_model_dial(struct nity_model *model, struct nity_model_socket *socket,
		    struct nity_model_address *address)
{
	struct bpf_sock_addr ctx = addressed(socket, address);

	model_now = model;
	user_now = socket->user;
	/* The kernel's own answer to a bare 0. */
	retval_now = -EPERM;
	if (!nity_connect4(&ctx))
		return retval_now;
	address->address = ctx.user_ip4;
	address->port = ctx.user_port;
	return 0;
}

static void told(struct nity_model *model, struct nity_model_socket *socket, __u32 op)
{
	struct bpf_sock_ops ctx = { .op = op };

	model_now = model;
	ctx.sk = &socket->sk;
	nity_sockops(&ctx);
}

void nity_model_connecting(struct nity_model *model, struct nity_model_socket *socket)
{
	told(model, socket, BPF_SOCK_OPS_TCP_CONNECT_CB);
}

void nity_model_repeated(struct nity_model *model, struct nity_model_socket *socket)
{
	told(model, socket, BPF_SOCK_OPS_RTO_CB);
}

int nity_model_connect(struct nity_model *model, struct nity_model_socket *socket,
		       struct nity_model_address *address)
{
	int refused = nity_model_dial(model, socket, address);

	if (!refused)
		nity_model_connecting(model, socket);
	return refused;
}

void nity_model_getpeername(struct nity_model *model, struct nity_model_socket *socket,
			    struct nity_model_address *address)
{
	struct bpf_sock_addr ctx = addressed(socket, address);

	model_now = model;
	nity_getpeername4(&ctx);
	address->address = ctx.user_ip4;
	address->port = ctx.user_port;
}

void nity_model_established(struct nity_model *model, struct nity_model_socket *socket)
{
	told(model, socket, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB);
}

void nity_model_ended(struct nity_model *model, struct nity_model_socket *socket,
		      uint32_t segments_in, uint32_t retransmits, int orderly)
{
	struct bpf_sock_ops ctx = {
		.op = BPF_SOCK_OPS_STATE_CB,
		.segs_in = segments_in,
		.total_retrans = retransmits,
	};

	ctx.args[0] = orderly ? BPF_TCP_LAST_ACK : BPF_TCP_ESTABLISHED;
	ctx.args[1] = BPF_TCP_CLOSE;
	model_now = model;
	ctx.sk = &socket->sk;
	nity_sockops(&ctx);
}

void nity_model_sent(struct nity_model *model, struct nity_model_socket *socket, uint32_t seq,
		     int acknowledged)
{
	struct bpf_sock_ops ctx = {
		.op = BPF_SOCK_OPS_HDR_OPT_LEN_CB,
		.skb_len = 1,
		.snd_nxt = seq,
		.snd_una = acknowledged ? seq : seq - 1,
	};

	model_now = model;
	ctx.sk = &socket->sk;
	nity_sockops(&ctx);
}

void nity_model_received(struct nity_model *model, struct nity_model_socket *socket, uint32_t ack,
			 uint8_t first)
{
	struct __sk_buff skb = { 0 };

	model_now = model;
	payload_now = (struct nity_payload){ .ack = ack, .first = first };
	skb.sk = &socket->sk;
	nity_ingress(&skb);
}

void nity_model_release(struct nity_model *model, struct nity_model_socket *socket, int left)
{
	model_now = model;
	socket->sk.state = left ? BPF_TCP_CLOSE_WAIT : BPF_TCP_ESTABLISHED;
	nity_sock_release(&socket->sk);
}
