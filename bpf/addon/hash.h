/* SPDX-License-Identifier: GPL-2.0 */
/* A hash map that keeps its values in place and, if asked, forgets the least recently used. */
#ifndef NITY_ADDON_HASH_H
#define NITY_ADDON_HASH_H

#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "../model/model.h"

struct nity_hash {
	struct Entry {
		std::string key;
		std::vector<uint8_t> value;
	};

	nity_hash(uint32_t key_size, uint32_t value_size, uint32_t max_entries, bool lru);

	void *lookup(const void *key);
	int update(const void *key, const void *value, uint64_t flags);
	int remove(const void *key);

	const uint32_t key_size;
	const uint32_t value_size;
	const uint32_t max_entries;
	/* Most recently used first. */
	std::list<Entry> entries;

    private:
	std::string key_of(const void *key) const;

	std::unordered_map<std::string, std::list<Entry>::iterator> index_;
	const bool lru_;
};

#endif
