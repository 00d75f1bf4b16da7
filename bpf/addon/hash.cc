// SPDX-License-Identifier: GPL-2.0
/* The model's hash maps: what model.h promises of nity_hash. */
#include <cerrno>
#include <cstring>
#include <iterator>

#include "hash.h"

nity_hash::nity_hash(uint32_t key_size, uint32_t value_size, uint32_t max_entries, bool lru)
	: key_size(key_size), value_size(value_size), max_entries(max_entries), lru_(lru)
{
}

std::string nity_hash::key_of(const void *key) const
{
	return std::string(static_cast<const char *>(key), key_size);
}

void *nity_hash::lookup(const void *key)
{
	auto found = index_.find(key_of(key));

	if (found == index_.end())
		return nullptr;
	if (lru_)
		entries.splice(entries.begin(), entries, found->second);
	return found->second->value.data();
}

int nity_hash::update(const void *key, const void *value, uint64_t flags)
{
	auto found = index_.find(key_of(key));

	if (found != index_.end()) {
		if (flags == BPF_NOEXIST)
			return -EEXIST;
		memcpy(found->second->value.data(), value, value_size);
		return 0;
	}
	if (flags == BPF_EXIST)
		return -ENOENT;
	if (entries.size() >= max_entries) {
		if (!lru_)
			return -E2BIG;
		index_.erase(entries.back().key);
		entries.pop_back();
	}
	auto *bytes = static_cast<const uint8_t *>(value);

	entries.push_front({ key_of(key), std::vector<uint8_t>(bytes, bytes + value_size) });
	index_[entries.front().key] = entries.begin();
	return 0;
}

int nity_hash::remove(const void *key)
{
	auto found = index_.find(key_of(key));

	if (found == index_.end())
		return -ENOENT;
	entries.erase(found->second);
	index_.erase(found);
	return 0;
}

struct nity_hash *nity_hash_create(uint32_t key_size, uint32_t value_size, uint32_t max_entries,
				   int lru)
{
	return new nity_hash(key_size, value_size, max_entries, lru);
}

void nity_hash_destroy(struct nity_hash *hash)
{
	delete hash;
}

void *nity_hash_lookup(struct nity_hash *hash, const void *key)
{
	return hash->lookup(key);
}

int nity_hash_update(struct nity_hash *hash, const void *key, const void *value, uint64_t flags)
{
	return hash->update(key, value, flags);
}
