// SPDX-License-Identifier: GPL-2.0
/* A BPF map by its descriptor. Lengths are checked before the kernel is asked. */
#include "classes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <linux/bpf.h>
#include <sys/mman.h>

#include <algorithm>

#include "error.h"

namespace nity {

namespace {

bool per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

Napi::Uint8Array bytes(Napi::Env env, const std::vector<uint8_t> &from, size_t length)
{
	Napi::Uint8Array made = Napi::Uint8Array::New(env, length);

	std::copy_n(from.data(), length, made.Data());
	return made;
}

/* A mapping lives as long as its ArrayBuffer, whatever becomes of the map. */
struct Mapping {
	void *address;
	size_t length;
};

} // namespace

Napi::Function Map::define(Napi::Env env)
{
	return DefineClass(env, "BpfMap",
			   {
				   StaticMethod<&Map::open>("open"),
				   StaticMethod<&Map::by_id>("byId"),
				   InstanceMethod<&Map::info>("info"),
				   InstanceMethod<&Map::lookup>("lookup"),
				   InstanceMethod<&Map::update>("update"),
				   InstanceMethod<&Map::remove>("delete"),
				   InstanceMethod<&Map::update_batch>("updateBatch"),
				   InstanceMethod<&Map::entries>("entries"),
				   InstanceMethod<&Map::mmap>("mmap"),
				   InstanceMethod<&Map::pin>("pin"),
				   InstanceMethod<&Map::close>("close"),
			   });
}

Map::Map(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Map>(info), fd_(unwrap_fd(info))
{
	struct bpf_map_info kernel = {};
	__u32 length = sizeof(kernel);

	if (!fd_.open())
		return;
	if (bpf_obj_get_info_by_fd(fd_.get(), &kernel, &length)) {
		throw_errno(info.Env(), errno,
			    { "bpf(BPF_OBJ_GET_INFO_BY_FD)", "Reading a map's description" });
		return;
	}
	name_ = kernel.name;
	type_ = kernel.type;
	flags_ = kernel.map_flags;
	id_ = kernel.id;
	key_size_ = kernel.key_size;
	value_size_ = kernel.value_size;
	max_entries_ = kernel.max_entries;
	slot_size_ = per_cpu(type_) ? (value_size_ + 7) / 8 * 8 * libbpf_num_possible_cpus() :
				      value_size_;
}

Napi::Value Map::open(const Napi::CallbackInfo &info)
{
	return open_pin(info, "map", classes(info.Env()).map);
}

Napi::Value Map::by_id(const Napi::CallbackInfo &info)
{
	return open_id(info, "map", bpf_map_get_fd_by_id, classes(info.Env()).map);
}

bool Map::ready(Napi::Env env)
{
	if (fd_.open())
		return true;
	throw_errno(env, EBADF, { "bpf", "Using the map " + name_ + " after close()" });
	return false;
}

bool Map::key_of(Napi::Env env, Napi::Value value, const uint8_t **key)
{
	if (!ready(env))
		return false;
	if (!value.IsTypedArray() || value.As<Napi::TypedArray>().ByteLength() != key_size_) {
		throw_range(env,
			    "A key of " + name_ + " is " + std::to_string(key_size_) + " bytes.");
		return false;
	}
	*key = value.As<Napi::Uint8Array>().Data();
	return true;
}

bool Map::value_of(Napi::Env env, Napi::Value value, const uint8_t **bytes)
{
	if (!value.IsTypedArray() || value.As<Napi::TypedArray>().ByteLength() != slot_size_) {
		throw_range(env, "A value of " + name_ + " is " + std::to_string(slot_size_) +
					 " bytes.");
		return false;
	}
	*bytes = value.As<Napi::Uint8Array>().Data();
	return true;
}

Napi::Value Map::info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Object made = Napi::Object::New(env);

	made.Set("id", id_);
	made.Set("name", name_);
	made.Set("type", type_);
	made.Set("keySize", key_size_);
	made.Set("valueSize", value_size_);
	made.Set("maxEntries", max_entries_);
	made.Set("flags", flags_);
	return made;
}

Napi::Value Map::lookup(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	const uint8_t *key;
	std::vector<uint8_t> value(slot_size_);

	if (!key_of(env, info[0], &key))
		return env.Undefined();
	if (bpf_map_lookup_elem(fd_.get(), key, value.data())) {
		if (errno == ENOENT)
			return env.Undefined();
		return throw_errno(env, errno,
				   { "bpf(BPF_MAP_LOOKUP_ELEM)", "Looking up a key in " + name_ });
	}
	return bytes(env, value, slot_size_);
}

Napi::Value Map::update(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	const uint64_t flags = info[2].IsNumber() ? info[2].As<Napi::Number>().Int64Value() :
						    uint64_t(BPF_ANY);
	const uint8_t *key, *value;

	if (!key_of(env, info[0], &key) || !value_of(env, info[1], &value))
		return env.Undefined();
	if (bpf_map_update_elem(fd_.get(), key, value, flags))
		return throw_errno(env, errno,
				   { "bpf(BPF_MAP_UPDATE_ELEM)", "Writing an entry of " + name_ });
	return env.Undefined();
}

Napi::Value Map::remove(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	const uint8_t *key;

	if (!key_of(env, info[0], &key))
		return env.Undefined();
	if (bpf_map_delete_elem(fd_.get(), key)) {
		if (errno == ENOENT)
			return Napi::Boolean::New(env, false);
		return throw_errno(env, errno,
				   { "bpf(BPF_MAP_DELETE_ELEM)", "Deleting an entry of " + name_ });
	}
	return Napi::Boolean::New(env, true);
}

Napi::Value Map::update_batch(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!ready(env))
		return env.Undefined();
	if (!info[0].IsTypedArray() || !info[1].IsTypedArray() || !info[2].IsNumber())
		return throw_type(env, "updateBatch() takes keys, values and a count.");
	Napi::Uint8Array keys = info[0].As<Napi::Uint8Array>();
	Napi::Uint8Array values = info[1].As<Napi::Uint8Array>();
	__u32 count = info[2].As<Napi::Number>().Uint32Value();

	if (keys.ByteLength() != size_t(count) * key_size_ ||
	    values.ByteLength() != size_t(count) * slot_size_)
		return throw_range(env, "keys and values of " + name_ + " are not of " +
						std::to_string(count) + " entries.");
	if (bpf_map_update_batch(fd_.get(), keys.Data(), values.Data(), &count, nullptr))
		return throw_errno(env, errno,
				   { "bpf(BPF_MAP_UPDATE_BATCH)", "Writing entries of " + name_ });
	return env.Undefined();
}

/*
 * Walks the map by its next-key chain. A concurrent delete restarts the chain,
 * so the walk is bounded by the map's size and keeps each key once.
 */
Napi::Value Map::entries(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::vector<uint8_t> keys, values, next(key_size_), value(slot_size_);
	std::vector<uint8_t> key;
	uint32_t count = 0;

	if (!ready(env))
		return env.Undefined();
	for (uint32_t step = 0; step < max_entries_; step++) {
		if (bpf_map_get_next_key(fd_.get(), key.empty() ? nullptr : key.data(),
					 next.data())) {
			if (errno == ENOENT)
				break;
			return throw_errno(env, errno,
					   { "bpf(BPF_MAP_GET_NEXT_KEY)", "Listing " + name_ });
		}
		key = next;
		/* Gone between the two calls: not an entry any more. */
		if (bpf_map_lookup_elem(fd_.get(), key.data(), value.data()))
			continue;
		keys.insert(keys.end(), key.begin(), key.end());
		values.insert(values.end(), value.begin(), value.end());
		count++;
	}
	Napi::Object made = Napi::Object::New(env);

	made.Set("keys", bytes(env, keys, keys.size()));
	made.Set("values", bytes(env, values, values.size()));
	made.Set("count", count);
	return made;
}

Napi::Value Map::mmap(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	const bool read_only = info[0].IsBoolean() && info[0].As<Napi::Boolean>();
	const size_t used = size_t((value_size_ + 7) / 8 * 8) * max_entries_;
	const size_t page = sysconf(_SC_PAGESIZE);

	if (!ready(env))
		return env.Undefined();
	/* The kernel rounds an mmapable array's elements up to 8 bytes; u32 slots stay 4. */
	const size_t length = std::max<size_t>(used, 1);
	const size_t mapped = (length + page - 1) / page * page;
	void *address = ::mmap(nullptr, mapped, read_only ? PROT_READ : PROT_READ | PROT_WRITE,
			       MAP_SHARED, fd_.get(), 0);

	if (address == MAP_FAILED)
		return throw_errno(env, errno, { "mmap", "Mapping " + name_ + " into memory" });
	return Napi::ArrayBuffer::New(
		env, address, used,
		[](Napi::Env, void *, Mapping *mapping) {
			munmap(mapping->address, mapping->length);
			delete mapping;
		},
		new Mapping{ address, mapped });
}

Napi::Value Map::pin(const Napi::CallbackInfo &info)
{
	return ready(info.Env()) ? pin_fd(info, "map", fd_.get()) : info.Env().Undefined();
}

Napi::Value Map::close(const Napi::CallbackInfo &info)
{
	fd_.reset();
	return info.Env().Undefined();
}

} // namespace nity
