// SPDX-License-Identifier: GPL-2.0
/*
 * A program that does nothing. Attached beside the dataplane, what the kernel
 * says that it costs is what the kernel's own timing costs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("cgroup/connect4")
int empty_connect4(struct bpf_sock_addr *ctx)
{
	(void)ctx;
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
