/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The helpers that nity.bpf.c calls, over a model. It takes the place of
 * <bpf/bpf_helpers.h> when the programs are compiled for user space.
 */
#ifndef NITY_MODEL_HELPERS_H
#define NITY_MODEL_HELPERS_H

#include <errno.h>
#include <string.h>
#include <arpa/inet.h>

#include "model.h"

/* Keeps nity.bpf.c from including the kernel's own, and from parsing packets, of which there are none. */
#define __BPF_HELPERS__
#define __BPF_ENDIAN__
#define NITY_PACKET_H

#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name
#define __noinline __attribute__((noinline))
#define bpf_htons htons
#define bpf_htonl htonl
#define bpf_ntohl ntohl

struct nity_payload {
	__u32 ack;
	__u8 first;
};

/* The model and the call under way on this thread. */
static __thread struct nity_model *model_now;
static __thread int retval_now;
static __thread struct nity_payload payload_now;

static void *model_lookup(const void *map, const void *key);
static int model_update(const void *map, const void *key, const void *value, __u64 flags);

#define bpf_map_lookup_elem(map, key) model_lookup(map, key)
#define bpf_map_update_elem(map, key, value, flags) model_update(map, key, value, flags)

static inline __u64 bpf_ktime_get_ns(void)
{
	return model_now->now_ns;
}

static inline struct nity_model_socket *model_socket(void *sk)
{
	return (struct nity_model_socket *)((char *)sk - offsetof(struct nity_model_socket, sk));
}

static inline void *bpf_sk_storage_get(void *map, void *sk, void *value, __u64 flags)
{
	struct nity_model_socket *socket = model_socket(sk);

	(void)map;
	(void)value;
	if (!socket->has_flow && !(flags & BPF_SK_STORAGE_GET_F_CREATE))
		return NULL;
	socket->has_flow = 1;
	return &socket->flow;
}

/* Every packet that a model receives carries payload. */
static inline int payload_of(const struct __sk_buff *skb, struct nity_payload *payload)
{
	(void)skb;
	*payload = payload_now;
	return 1;
}

static inline __u64 bpf_get_netns_cookie(struct bpf_sock_addr *ctx)
{
	return model_socket(ctx->sk)->netns_cookie;
}

static inline __u64 bpf_get_socket_cookie(struct bpf_sock_addr *ctx)
{
	return model_socket(ctx->sk)->socket_cookie;
}

static inline long bpf_set_retval(int retval)
{
	retval_now = retval;
	return 0;
}

/* A model's sockets belong to no process. */
static inline __u64 bpf_get_current_pid_tgid(void)
{
	return 0;
}

/* Whose sockets they are is said by each. */
static __thread __u32 user_now;

static inline __u64 bpf_get_current_uid_gid(void)
{
	return user_now;
}

static inline __u64 bpf_get_current_cgroup_id(void)
{
	return 0;
}

static inline long bpf_get_current_comm(void *command, __u32 size)
{
	memset(command, 0, size);
	return 0;
}

static inline void *bpf_ringbuf_reserve(void *map, __u64 size, __u64 flags)
{
	(void)map;
	(void)size;
	(void)flags;
	return &model_now->event;
}

static inline void bpf_ringbuf_submit(void *event, __u64 flags)
{
	(void)event;
	(void)flags;
	model_now->sampled++;
}

static inline long bpf_sock_ops_cb_flags_set(struct bpf_sock_ops *ctx, int flags)
{
	ctx->bpf_sock_ops_cb_flags = flags;
	return 0;
}

#endif
