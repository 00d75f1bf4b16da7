// SPDX-License-Identifier: GPL-2.0
/* Whole, ordered access to words that the kernel is reading: the flip's release store. */
#include "classes.h"

#include "error.h"

namespace nity {

namespace {

/* The word at info[0] (ArrayBuffer) + info[1] (offset), or null with an exception pending. */
uint64_t *word_of(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!info[0].IsArrayBuffer() || !info[1].IsNumber()) {
		throw_type(env, "A word is named by an ArrayBuffer and an offset.");
		return nullptr;
	}
	Napi::ArrayBuffer buffer = info[0].As<Napi::ArrayBuffer>();
	const int64_t offset = info[1].As<Napi::Number>().Int64Value();

	if (offset < 0 || offset % 8 || size_t(offset) + 8 > buffer.ByteLength()) {
		throw_range(env, "An offset must be a multiple of 8 inside the buffer.");
		return nullptr;
	}
	return reinterpret_cast<uint64_t *>(static_cast<uint8_t *>(buffer.Data()) + offset);
}

bool number_of(Napi::Value value, uint64_t *number)
{
	bool lossless;

	if (!value.IsBigInt()) {
		throw_type(value.Env(), "A 64-bit word is a BigInt.");
		return false;
	}
	*number = value.As<Napi::BigInt>().Uint64Value(&lossless);
	return true;
}

Napi::Value load_acquire(const Napi::CallbackInfo &info)
{
	uint64_t *word = word_of(info);

	if (!word)
		return info.Env().Undefined();
	return Napi::BigInt::New(info.Env(), uint64_t(__atomic_load_n(word, __ATOMIC_ACQUIRE)));
}

Napi::Value store_release(const Napi::CallbackInfo &info)
{
	uint64_t *word = word_of(info);
	uint64_t value;

	if (word && number_of(info[2], &value))
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
	return info.Env().Undefined();
}

Napi::Value compare_exchange(const Napi::CallbackInfo &info)
{
	uint64_t *word = word_of(info);
	uint64_t expected, desired;

	if (!word || !number_of(info[2], &expected) || !number_of(info[3], &desired))
		return info.Env().Undefined();
	return Napi::Boolean::New(info.Env(),
				  __atomic_compare_exchange_n(word, &expected, desired, false,
							      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

} // namespace

void define_memory(Napi::Env env, Napi::Object exports)
{
	exports.Set("loadAcquire64", Napi::Function::New<load_acquire>(env, "loadAcquire64"));
	exports.Set("storeRelease64", Napi::Function::New<store_release>(env, "storeRelease64"));
	exports.Set("compareExchange64",
		    Napi::Function::New<compare_exchange>(env, "compareExchange64"));
}

} // namespace nity
