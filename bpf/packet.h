/* SPDX-License-Identifier: GPL-2.0 */
/* What of a packet matters to a measured flow: what it acknowledges, and how its payload begins. */
#ifndef NITY_PACKET_H
#define NITY_PACKET_H

#include <linux/ip.h>
#include <linux/tcp.h>

struct nity_payload {
	__u32 ack;
	__u8 first;
};

/*
 * Returns whether an IPv4 TCP packet carries payload. An AF_INET6 socket with a
 * v4-mapped peer receives IPv4 packets too.
 */
static __always_inline int payload_of(struct __sk_buff *skb, struct nity_payload *payload)
{
	void *end = (void *)(long)skb->data_end;
	struct iphdr *ip = (void *)(long)skb->data;
	struct tcphdr *tcp;
	__u32 headers;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->protocol != IPPROTO_TCP)
		return 0;
	tcp = (void *)ip + ip->ihl * 4;
	if ((void *)(tcp + 1) > end)
		return 0;
	headers = ip->ihl * 4 + tcp->doff * 4;
	payload->ack = bpf_ntohl(tcp->ack_seq);
	/* Fails where there is no such byte; it may lie outside the linear part. */
	return !bpf_skb_load_bytes(skb, headers, &payload->first, 1);
}

#endif
