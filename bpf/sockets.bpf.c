// SPDX-License-Identifier: GPL-2.0
/*
 * Lists every socket that holds a flow, for `nity inspect conntrack` and for
 * reconciling the live counts. It reads kernel structures by their BTF, so it is
 * an object of its own: a kernel without BTF loses this view, not the dataplane.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "contract.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct nity_flow);
} sk_flow SEC(".maps");

/* The parts of the kernel's own structures that are read; CO-RE finds their places. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct sock_common {
	__be32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned char skc_state;
};

struct sock {
	struct sock_common __sk_common;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};
#pragma clang attribute pop

SEC("iter/bpf_sk_storage_map")
int nity_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct nity_flow *flow = ctx->value;
	struct sock *sk = ctx->sk;
	struct nity_socket socket = { 0 };

	if (!sk || !flow)
		return 0;
	socket.flow = *flow;
	socket.source = sk->__sk_common.skc_rcv_saddr;
	socket.source_port = sk->__sk_common.skc_num;
	socket.tcp_state = sk->__sk_common.skc_state;
	bpf_seq_write(ctx->meta->seq, &socket, sizeof(socket));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
