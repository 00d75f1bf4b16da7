/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The model: the dataplane over plain memory. It compiles the very entry
 * points of nity.bpf.c, with each helper replaced by a few lines, so what a
 * simulation runs is what the kernel runs.
 *
 * A model belongs to one thread at a time. Time is what the caller says it is.
 */
#ifndef NITY_MODEL_H
#define NITY_MODEL_H

#include <stdint.h>
#include <linux/bpf.h>

#include "../contract.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A hash map of fixed-size keys and values; with `lru`, a full map forgets its oldest entry. */
struct nity_hash;

struct nity_hash *nity_hash_create(uint32_t key_size, uint32_t value_size, uint32_t max_entries,
				   int lru);
void nity_hash_destroy(struct nity_hash *hash);
/* The value's address stays valid until its entry is deleted or forgotten. */
void *nity_hash_lookup(struct nity_hash *hash, const void *key);
/* Returns 0 or a negative errno: -E2BIG when full, -EEXIST and -ENOENT by BPF_NOEXIST, BPF_EXIST. */
int nity_hash_update(struct nity_hash *hash, const void *key, const void *value, uint64_t flags);

struct nity_model {
	struct nity_field_state *field_state;
	struct nity_trace *trace;
	struct nity_slot_page *slot_table_a;
	struct nity_slot_page *slot_table_b;
	struct nity_slot_page *fallback;
	struct nity_rt_control *rt_control;
	struct nity_backend *backends;
	struct nity_backend_live *backend_live;
	struct nity_backend_counters *backend_counters;
	struct nity_backend_clients *backend_clients;
	uint64_t *counters;
	uint32_t slot_pages;
	uint32_t fallback_pages;
	uint32_t routes_max;
	uint32_t backends_max;
	struct nity_hash *routes;
	struct nity_hash *conntrack;
	struct nity_hash *affinity;

	uint64_t now_ns;
	/* The last sampled decision; `sampled` counts them. */
	struct nity_event event;
	uint64_t sampled;
};

/* A client's TCP socket. Zeroed when new; the caller names its cookies and bound source. */
struct nity_model_socket {
	struct bpf_sock sk;
	struct nity_flow flow;
	int has_flow;
	uint64_t socket_cookie;
	uint64_t netns_cookie;
	uint32_t user;
};

struct nity_model_address {
	__be32 address;
	__be16 port;
};

/* connect() before TCP: 0 with `address` rewritten if it is a service's, or -ECONNREFUSED. */
int nity_model_dial(struct nity_model *model, struct nity_model_socket *socket,
		    struct nity_model_address *address);
/* TCP sends the SYN: at once, or with the first bytes of a fast-open socket, or never. */
void nity_model_connecting(struct nity_model *model, struct nity_model_socket *socket);
/* TCP sends something again that was not acknowledged; before the establishment, the SYN. */
void nity_model_repeated(struct nity_model *model, struct nity_model_socket *socket);
/* The two together, as for most sockets. */
int nity_model_connect(struct nity_model *model, struct nity_model_socket *socket,
		       struct nity_model_address *address);
void nity_model_getpeername(struct nity_model *model, struct nity_model_socket *socket,
			    struct nity_model_address *address);
void nity_model_established(struct nity_model *model, struct nity_model_socket *socket);
/* TCP closed the connection under the client: what decides how is what TCP had seen by then. */
void nity_model_ended(struct nity_model *model, struct nity_model_socket *socket,
		      uint32_t segments_in, uint32_t retransmits, int orderly);
/* The client sent bytes from `seq` on; `acknowledged` if all before them had been. */
void nity_model_sent(struct nity_model *model, struct nity_model_socket *socket, uint32_t seq,
		     int acknowledged);
/* Bytes came, of which `first` is the first, and acknowledge all before `ack`. */
void nity_model_received(struct nity_model *model, struct nity_model_socket *socket, uint32_t ack,
			 uint8_t first);
/* The client closed the socket; `left` if the backend had said goodbye before. */
void nity_model_release(struct nity_model *model, struct nity_model_socket *socket, int left);

#ifdef __cplusplus
}
#endif

#endif
