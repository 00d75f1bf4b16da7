/* SPDX-License-Identifier: GPL-2.0 */
/* The model's memory, shared by the maps, sockets and pools that look at it. */
#ifndef NITY_ADDON_MODEL_PLANE_H
#define NITY_ADDON_MODEL_PLANE_H

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hash.h"

namespace nity {

/* Plain memory under the maps' names; it outlives the JavaScript objects that view it. */
class Plane {
    public:
	struct Array {
		uint32_t value_size;
		uint32_t entries;
		std::vector<uint64_t> words;
	};

	Plane(uint32_t slots, uint32_t routes, uint32_t backends, uint32_t addresses,
	      uint32_t flows)
	{
		const uint32_t pages = (slots + NITY_SLOTS_PER_PAGE - 1) / NITY_SLOTS_PER_PAGE;

		model.slot_pages = pages;
		model.fallback_pages = pages;
		model.routes_max = routes;
		model.backends_max = backends;
		model.slot_table_a = array<nity_slot_page>("slot_table_a", pages);
		model.slot_table_b = array<nity_slot_page>("slot_table_b", pages);
		model.fallback = array<nity_slot_page>("fallback", pages);
		model.field_state = array<nity_field_state>("field_state", 1);
		model.trace = array<nity_trace>("trace", 1);
		model.rt_control = array<nity_rt_control>("rt_control", routes);
		array<nity_route_name>("route_names", routes);
		model.backends = array<nity_backend>("backends", backends);
		model.backend_live = array<nity_backend_live>("backend_live", backends);
		model.backend_counters = array<nity_backend_counters>("backend_counters", backends);
		model.backend_clients = array<nity_backend_clients>("backend_clients", backends);
		model.counters = array<uint64_t>("counters", NITY_MAX_COUNTERS);
		model.routes =
			hash("routes", sizeof(nity_route_key), sizeof(uint32_t), addresses, false);
		model.conntrack = hash("conntrack", sizeof(nity_conntrack_key),
				       sizeof(nity_conntrack), flows, true);
		model.affinity = hash("affinity", sizeof(nity_affinity_key), sizeof(nity_affinity),
				      flows, true);
	}

	struct nity_model model = {};
	std::map<std::string, Array> arrays;
	std::map<std::string, std::unique_ptr<nity_hash>> hashes;

    private:
	template <typename T> T *array(const char *name, uint32_t entries)
	{
		Array made = { sizeof(T), entries, std::vector<uint64_t>(sizeof(T) / 8 * entries) };

		return reinterpret_cast<T *>((arrays[name] = std::move(made)).words.data());
	}

	nity_hash *hash(const char *name, uint32_t key, uint32_t value, uint32_t entries, bool lru)
	{
		return (hashes[name] = std::make_unique<nity_hash>(key, value, entries, lru)).get();
	}
};

using SharedPlane = std::shared_ptr<Plane>;

} // namespace nity

#endif
