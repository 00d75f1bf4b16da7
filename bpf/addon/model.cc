// SPDX-License-Identifier: GPL-2.0
/* The model from JavaScript: maps that look like BpfMap, and sockets that connect. */
#include <arpa/inet.h>

#include <cerrno>
#include <cstring>

#include "classes.h"
#include "error.h"
#include "model_plane.h"
#include "model_pool.h"

namespace nity {

namespace {

bool exact_bytes(Napi::Value value, size_t length)
{
	if (value.IsTypedArray() && value.As<Napi::TypedArray>().ByteLength() == length)
		return true;
	throw_range(value.Env(), "Expected " + std::to_string(length) + " bytes.");
	return false;
}

const uint8_t *data_of(Napi::Value value)
{
	return value.As<Napi::Uint8Array>().Data();
}

Napi::Uint8Array copied(Napi::Env env, const void *from, size_t length)
{
	Napi::Uint8Array made = Napi::Uint8Array::New(env, length);

	memcpy(made.Data(), from, length);
	return made;
}

Napi::Object describe(Napi::Env env, const std::string &name, uint32_t type, uint32_t key,
		      uint32_t value, uint32_t entries)
{
	Napi::Object made = Napi::Object::New(env);

	made.Set("id", 0);
	made.Set("name", name);
	made.Set("type", type);
	made.Set("keySize", key);
	made.Set("valueSize", value);
	made.Set("maxEntries", entries);
	made.Set("flags", 0);
	return made;
}

template <typename F> void method(Napi::Object object, const char *name, F body)
{
	object.Set(name, Napi::Function::New(object.Env(), body, name));
}

/* An array map's handle: the calls of BpfMap over `array`. */
Napi::Object array_handle(Napi::Env env, SharedPlane plane, const std::string &name,
			  Plane::Array &array)
{
	Napi::Object handle = Napi::Object::New(env);
	auto *bytes = reinterpret_cast<uint8_t *>(array.words.data());
	Plane::Array *a = &array;
	auto element = [plane, a, bytes](Napi::Value key) -> uint8_t * {
		if (!exact_bytes(key, 4))
			return nullptr;
		uint32_t index;

		memcpy(&index, data_of(key), 4);
		return index < a->entries ? bytes + size_t(index) * a->value_size : nullptr;
	};

	method(handle, "info", [name, a](const Napi::CallbackInfo &info) {
		return describe(info.Env(), name, BPF_MAP_TYPE_ARRAY, 4, a->value_size, a->entries);
	});
	method(handle, "lookup", [element, a](const Napi::CallbackInfo &info) -> Napi::Value {
		uint8_t *found = element(info[0]);

		if (!found)
			return info.Env().Undefined();
		return copied(info.Env(), found, a->value_size);
	});
	method(handle, "update", [element, a](const Napi::CallbackInfo &info) {
		uint8_t *found = element(info[0]);

		if (info.Env().IsExceptionPending() || !exact_bytes(info[1], a->value_size))
			return;
		if (!found) {
			throw_errno(info.Env(), E2BIG,
				    { "bpf", "Writing past the end of an array" });
			return;
		}
		memcpy(found, data_of(info[1]), a->value_size);
	});
	method(handle, "mmap", [plane, a, bytes](const Napi::CallbackInfo &info) {
		return Napi::ArrayBuffer::New(
			info.Env(), bytes, size_t(a->value_size) * a->entries,
			[](Napi::Env, void *, SharedPlane *kept) { delete kept; },
			new SharedPlane(plane));
	});
	return handle;
}

Napi::Object hash_handle(Napi::Env env, SharedPlane plane, const std::string &name, nity_hash *hash)
{
	Napi::Object handle = Napi::Object::New(env);

	method(handle, "info", [name, hash](const Napi::CallbackInfo &info) {
		return describe(info.Env(), name, BPF_MAP_TYPE_HASH, hash->key_size,
				hash->value_size, hash->max_entries);
	});
	method(handle, "lookup", [plane, hash](const Napi::CallbackInfo &info) -> Napi::Value {
		void *found = exact_bytes(info[0], hash->key_size) ?
				      hash->lookup(data_of(info[0])) :
				      nullptr;

		if (!found)
			return info.Env().Undefined();
		return copied(info.Env(), found, hash->value_size);
	});
	method(handle, "update", [plane, hash](const Napi::CallbackInfo &info) {
		if (!exact_bytes(info[0], hash->key_size) ||
		    !exact_bytes(info[1], hash->value_size))
			return;
		const uint64_t flags = info[2].IsNumber() ?
					       info[2].As<Napi::Number>().Int64Value() :
					       uint64_t(BPF_ANY);
		const int error = hash->update(data_of(info[0]), data_of(info[1]), flags);

		if (error)
			throw_errno(info.Env(), -error, { "bpf", "Writing an entry of the model" });
	});
	method(handle, "updateBatch", [plane, hash](const Napi::CallbackInfo &info) {
		const uint32_t count = info[2].As<Napi::Number>().Uint32Value();

		if (!exact_bytes(info[0], size_t(count) * hash->key_size) ||
		    !exact_bytes(info[1], size_t(count) * hash->value_size))
			return;
		for (uint32_t i = 0; i < count; i++) {
			const int error = hash->update(data_of(info[0]) + i * hash->key_size,
						       data_of(info[1]) + i * hash->value_size,
						       BPF_ANY);

			if (error) {
				throw_errno(info.Env(), -error,
					    { "bpf", "Writing entries of the model" });
				return;
			}
		}
	});
	method(handle, "delete", [plane, hash](const Napi::CallbackInfo &info) {
		if (!exact_bytes(info[0], hash->key_size))
			return Napi::Boolean::New(info.Env(), false);
		return Napi::Boolean::New(info.Env(), hash->remove(data_of(info[0])) == 0);
	});
	method(handle, "entries", [plane, hash](const Napi::CallbackInfo &info) {
		std::string keys, values;

		for (const nity_hash::Entry &entry : hash->entries) {
			keys += entry.key;
			values.append(entry.value.begin(), entry.value.end());
		}
		Napi::Object made = Napi::Object::New(info.Env());

		made.Set("keys", copied(info.Env(), keys.data(), keys.size()));
		made.Set("values", copied(info.Env(), values.data(), values.size()));
		made.Set("count", uint32_t(hash->entries.size()));
		return made;
	});
	return handle;
}

/*
 * A client's socket in the model. Addresses are host-order numbers here; the
 * kernel's own order begins at the contract.
 */
class Socket : public Napi::ObjectWrap<Socket> {
    public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "ModelSocket",
				   {
					   InstanceMethod<&Socket::connect>("connect"),
					   InstanceMethod<&Socket::getpeername>("getpeername"),
					   InstanceMethod<&Socket::established>("established"),
					   InstanceMethod<&Socket::ended>("ended"),
					   InstanceMethod<&Socket::sent>("sent"),
					   InstanceMethod<&Socket::received>("received"),
					   InstanceMethod<&Socket::release>("release"),
				   });
	}

	explicit Socket(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Socket>(info)
	{
		bool lossless;

		if (!info[0].IsExternal()) {
			throw_type(info.Env(), "A socket is made by Model.socket().");
			return;
		}
		plane_ = *info[0].As<Napi::External<SharedPlane>>().Data();
		socket_.socket_cookie = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
		socket_.netns_cookie = info[2].As<Napi::BigInt>().Uint64Value(&lossless);
		socket_.sk.src_ip4 = htonl(info[3].As<Napi::Number>().Uint32Value());
		socket_.sk.src_port = info[4].As<Napi::Number>().Uint32Value();
	}

    private:
	static nity_model_address address_of(const Napi::CallbackInfo &info)
	{
		return { htonl(info[0].As<Napi::Number>().Uint32Value()),
			 htons(uint16_t(info[1].As<Napi::Number>().Uint32Value())) };
	}

	static Napi::Value shown(Napi::Env env, const nity_model_address &address)
	{
		Napi::Object made = Napi::Object::New(env);

		made.Set("address", ntohl(address.address));
		made.Set("port", ntohs(address.port));
		return made;
	}

	/* connect(address, port): where its SYN went, or null when refused. */
	Napi::Value connect(const Napi::CallbackInfo &info)
	{
		nity_model_address address = address_of(info);

		if (nity_model_connect(&plane_->model, &socket_, &address))
			return info.Env().Null();
		return shown(info.Env(), address);
	}

	Napi::Value getpeername(const Napi::CallbackInfo &info)
	{
		nity_model_address address = address_of(info);

		nity_model_getpeername(&plane_->model, &socket_, &address);
		return shown(info.Env(), address);
	}

	Napi::Value established(const Napi::CallbackInfo &info)
	{
		nity_model_established(&plane_->model, &socket_);
		return info.Env().Undefined();
	}

	/* ended(segmentsIn, retransmits, orderly) */
	Napi::Value ended(const Napi::CallbackInfo &info)
	{
		nity_model_ended(&plane_->model, &socket_, info[0].As<Napi::Number>().Uint32Value(),
				 info[1].As<Napi::Number>().Uint32Value(), info[2].ToBoolean());
		return info.Env().Undefined();
	}

	/* sent(seq, acknowledged) */
	Napi::Value sent(const Napi::CallbackInfo &info)
	{
		nity_model_sent(&plane_->model, &socket_, info[0].As<Napi::Number>().Uint32Value(),
				info[1].ToBoolean());
		return info.Env().Undefined();
	}

	/* received(ack, firstByte) */
	Napi::Value received(const Napi::CallbackInfo &info)
	{
		nity_model_received(&plane_->model, &socket_,
				    info[0].As<Napi::Number>().Uint32Value(),
				    uint8_t(info[1].As<Napi::Number>().Uint32Value()));
		return info.Env().Undefined();
	}

	/* release(left) */
	Napi::Value release(const Napi::CallbackInfo &info)
	{
		nity_model_release(&plane_->model, &socket_, info[0].ToBoolean());
		return info.Env().Undefined();
	}

	SharedPlane plane_;
	struct nity_model_socket socket_ = {};
};

class Model : public Napi::ObjectWrap<Model> {
    public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "Model",
				   {
					   InstanceMethod<&Model::map>("map"),
					   InstanceMethod<&Model::socket>("socket"),
					   InstanceMethod<&Model::sockets>("sockets"),
					   InstanceMethod<&Model::set_now>("setNowNs"),
					   InstanceMethod<&Model::now>("nowNs"),
					   InstanceMethod<&Model::event>("lastEvent"),
				   });
	}

	/* Model(slots, routes, backends, addresses, flows) */
	explicit Model(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Model>(info)
	{
		uint32_t sizes[5];

		for (int i = 0; i < 5; i++) {
			if (!info[i].IsNumber()) {
				throw_type(info.Env(), "Model takes five sizes.");
				return;
			}
			sizes[i] = info[i].As<Napi::Number>().Uint32Value();
		}
		plane_ = std::make_shared<Plane>(sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]);
	}

    private:
	Napi::Value map(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		const std::string name = info[0].ToString();
		auto array = plane_->arrays.find(name);
		auto hash = plane_->hashes.find(name);

		if (array != plane_->arrays.end())
			return array_handle(env, plane_, name, array->second);
		if (hash != plane_->hashes.end())
			return hash_handle(env, plane_, name, hash->second.get());
		return throw_errno(env, ENOENT,
				   { "bpf", "Finding the map " + name + " in the model" });
	}

	/* socket(socketCookie, netnsCookie, source, sourcePort) */
	Napi::Value socket(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();

		if (!info[0].IsBigInt() || !info[1].IsBigInt() || !info[2].IsNumber() ||
		    !info[3].IsNumber())
			return throw_type(env, "socket() takes two cookies and a bound source.");
		return classes(env).socket.New({ Napi::External<SharedPlane>::New(env, &plane_),
						 info[0], info[1], info[2], info[3] });
	}

	/* sockets(count): a pool of them */
	Napi::Value sockets(const Napi::CallbackInfo &info)
	{
		if (!info[0].IsNumber())
			return throw_type(info.Env(), "sockets() takes a count.");
		return make_pool(info.Env(), plane_, info[0].As<Napi::Number>().Uint32Value());
	}

	Napi::Value set_now(const Napi::CallbackInfo &info)
	{
		bool lossless;

		if (!info[0].IsBigInt())
			return throw_type(info.Env(), "setNowNs() takes a BigInt.");
		plane_->model.now_ns = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
		return info.Env().Undefined();
	}

	Napi::Value now(const Napi::CallbackInfo &info)
	{
		return Napi::BigInt::New(info.Env(), plane_->model.now_ns);
	}

	/* The last sampled decision, or undefined before the first. */
	Napi::Value event(const Napi::CallbackInfo &info)
	{
		if (!plane_->model.sampled)
			return info.Env().Undefined();
		return copied(info.Env(), &plane_->model.event, sizeof(plane_->model.event));
	}

	SharedPlane plane_;
};

} // namespace

void define_model(Napi::Env env, Napi::Object exports)
{
	classes(env).socket = Napi::Persistent(Socket::define(env));
	exports.Set("Model", Model::define(env));
}

} // namespace nity
