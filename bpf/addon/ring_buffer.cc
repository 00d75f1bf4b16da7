// SPDX-License-Identifier: GPL-2.0
/* Drains a ring buffer when asked: the kernel drops, and counts, what does not fit. */
#include <bpf/libbpf.h>
#include <cerrno>

#include "classes.h"
#include "error.h"

namespace nity {

namespace {

class RingBuffer : public Napi::ObjectWrap<RingBuffer> {
    public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "RingBuffer",
				   {
					   InstanceMethod<&RingBuffer::drain>("drain"),
					   InstanceMethod<&RingBuffer::close>("close"),
				   });
	}

	explicit RingBuffer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<RingBuffer>(info)
	{
		if (!info[0].IsObject()) {
			throw_type(info.Env(), "RingBuffer takes a BpfMap.");
			return;
		}
		ring_ = ring_buffer__new(Map::Unwrap(info[0].As<Napi::Object>())->fd(), keep, this,
					 nullptr);
		if (!ring_)
			throw_errno(info.Env(), errno, { "mmap", "Mapping a ring buffer" });
	}

	~RingBuffer()
	{
		ring_buffer__free(ring_);
	}

    private:
	static constexpr size_t most = 65536;

	static int keep(void *context, void *bytes, size_t length)
	{
		auto *self = static_cast<RingBuffer *>(context);
		auto *from = static_cast<const uint8_t *>(bytes);

		self->events_.emplace_back(from, from + length);
		return self->events_.size() >= most ? -ENOBUFS : 0;
	}

	/* All events that are there now, as Uint8Arrays; at most 65,536 at a time. */
	Napi::Value drain(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		Napi::Array made = Napi::Array::New(env);

		if (!ring_)
			return throw_errno(env, EBADF, { "mmap", "Using a closed ring buffer" });
		int drained = ring_buffer__consume(ring_);

		if (drained < 0 && drained != -ENOBUFS)
			return throw_errno(env, -drained, { "mmap", "Draining a ring buffer" });
		for (const std::vector<uint8_t> &event : events_) {
			Napi::Uint8Array one = Napi::Uint8Array::New(env, event.size());

			std::copy(event.begin(), event.end(), one.Data());
			made.Set(made.Length(), one);
		}
		events_.clear();
		return made;
	}

	Napi::Value close(const Napi::CallbackInfo &info)
	{
		ring_buffer__free(ring_);
		ring_ = nullptr;
		return info.Env().Undefined();
	}

	struct ring_buffer *ring_ = nullptr;
	std::vector<std::vector<uint8_t>> events_;
};

} // namespace

void define_ring_buffer(Napi::Env env, Napi::Object exports)
{
	exports.Set("RingBuffer", RingBuffer::define(env));
}

} // namespace nity
