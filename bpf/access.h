/* SPDX-License-Identifier: GPL-2.0 */
/* Where the kernel plane keeps what decide.h asks for: the maps. */
#ifndef NITY_ACCESS_H
#define NITY_ACCESS_H

#include "maps.h"
#include "observe.h"

static __always_inline __u32 *owner_in(struct nity_slot_page *page, __u32 slot)
{
	if (!page)
		return 0;
	slot %= NITY_SLOTS_PER_PAGE;
	/* Keeps the compiler from adding to a pointer that it has not compared with NULL yet. */
	asm volatile("" : "+r"(slot));
	return &page->owner[slot];
}

static __always_inline __u32 *nity_slot_at(__u32 table, __u32 slot)
{
	__u32 page = slot / NITY_SLOTS_PER_PAGE;

	if (table)
		return owner_in(bpf_map_lookup_elem(&slot_table_b, &page), slot);
	return owner_in(bpf_map_lookup_elem(&slot_table_a, &page), slot);
}

static __always_inline __u32 *nity_fallback_at(__u32 slot)
{
	__u32 page = slot / NITY_SLOTS_PER_PAGE;

	return owner_in(bpf_map_lookup_elem(&fallback, &page), slot);
}

static __always_inline struct nity_backend *nity_backend_at(__u32 backend)
{
	return bpf_map_lookup_elem(&backends, &backend);
}

static __always_inline struct nity_backend_live *nity_live_at(__u32 backend)
{
	return bpf_map_lookup_elem(&backend_live, &backend);
}

static __always_inline struct nity_field_state *field_at(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&field_state, &only);
}

static __always_inline void count(enum nity_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		*value += 1;
}

#endif
