/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps, under the seed's names. Arrays are mmapable, so the agent writes a
 * table at memory speed and flips it with one store. Sizes are defaults that
 * `nity load` may change before loading.
 */
#ifndef NITY_MAPS_H
#define NITY_MAPS_H

#include "contract.h"

#define NITY_MMAP_ARRAY(name, value_type, entries)                                                 \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__uint(max_entries, entries);                                                      \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NITY_MAX_ADDRESSES);
	__type(key, struct nity_route_key);
	__type(value, __u32);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NITY_MAX_CONNTRACK);
	__type(key, struct nity_conntrack_key);
	__type(value, struct nity_conntrack);
} conntrack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NITY_MAX_AFFINITY);
	__type(key, struct nity_affinity_key);
	__type(value, struct nity_affinity);
} affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct nity_flow);
} sk_flow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NITY_MAX_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NITY_EVENT_BYTES);
} events SEC(".maps");

NITY_MMAP_ARRAY(field_state, struct nity_field_state, 1);
NITY_MMAP_ARRAY(trace, struct nity_trace, 1);
NITY_MMAP_ARRAY(slot_table_a, struct nity_slot_page, NITY_MAX_SLOTS / NITY_SLOTS_PER_PAGE);
NITY_MMAP_ARRAY(slot_table_b, struct nity_slot_page, NITY_MAX_SLOTS / NITY_SLOTS_PER_PAGE);
NITY_MMAP_ARRAY(fallback, struct nity_slot_page, NITY_MAX_SLOTS / NITY_SLOTS_PER_PAGE);
NITY_MMAP_ARRAY(rt_control, struct nity_rt_control, NITY_MAX_ROUTES);
NITY_MMAP_ARRAY(route_names, struct nity_route_name, NITY_MAX_ROUTES);
NITY_MMAP_ARRAY(backends, struct nity_backend, NITY_MAX_BACKENDS);
NITY_MMAP_ARRAY(backend_live, struct nity_backend_live, NITY_MAX_BACKENDS);
/* Shared words with atomic adds, not per-CPU: RFC 0004 says why. */
NITY_MMAP_ARRAY(backend_counters, struct nity_backend_counters, NITY_MAX_BACKENDS);
NITY_MMAP_ARRAY(backend_clients, struct nity_backend_clients, NITY_MAX_BACKENDS);

/*
 * Types that no map names reach the object's BTF, and so the TypeScript codecs,
 * through this signature. Nothing calls it, so it is not loaded.
 */
struct nity_abi {
	enum nity_schema schema;
	enum nity_limit limit;
	enum nity_none none;
	enum nity_admission_mode admission_mode;
	enum nity_failsafe_mode failsafe_mode;
	enum nity_regime regime;
	enum nity_gear gear;
	enum nity_backend_state backend_state;
	enum nity_flow_phase flow_phase;
	enum nity_latency latency;
	enum nity_counter counter;
	struct nity_event event;
	struct nity_socket socket;
};

__attribute__((used, noinline)) static int nity_abi(const struct nity_abi *abi)
{
	return !abi;
}

#endif
