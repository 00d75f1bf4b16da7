// SPDX-License-Identifier: GPL-2.0
/* Calls back when a descriptor has POLLPRI: a PSI trigger that fired (kernel/sched/psi.c). */
#if !__has_include(<uv.h>)
#error "uv.h is missing: install the headers of Node, or libuv1-dev"
#endif

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <uv.h>

#include "classes.h"
#include "error.h"

namespace nity {

namespace {

class PriorityPoll;

/* What libuv holds until its close callback; the JavaScript object may be gone by then. */
struct Watch {
	uv_poll_t poll;
	/* A duplicate: whoever closes the original takes nothing from under libuv. */
	Fd fd;
	PriorityPoll *owner;
	/* The environment waits for the close callback, which removes this. */
	napi_async_cleanup_hook_handle cleanup;
};

void closed(uv_handle_t *handle)
{
	auto *watch = static_cast<Watch *>(handle->data);

	napi_remove_async_cleanup_hook(watch->cleanup);
	delete watch;
}

/* Takes the descriptor out of libuv's epoll at once, so that it may be closed at once. */
void end(Watch *watch)
{
	auto *handle = reinterpret_cast<uv_handle_t *>(&watch->poll);

	watch->owner = nullptr;
	if (uv_is_closing(handle))
		return;
	uv_close(handle, closed);
	watch->fd.reset();
}

class PriorityPoll : public Napi::ObjectWrap<PriorityPoll> {
    public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "PriorityPoll",
				   {
					   InstanceMethod<&PriorityPoll::close>("close"),
				   });
	}

	explicit PriorityPoll(const Napi::CallbackInfo &info) : Napi::ObjectWrap<PriorityPoll>(info)
	{
		if (!info[0].IsNumber() || !info[1].IsFunction()) {
			throw_type(info.Env(), "PriorityPoll takes a descriptor and a function.");
			return;
		}
		const int error = start(info.Env(), info[0].As<Napi::Number>().Int32Value());

		if (error) {
			throw_errno(info.Env(), error, { "epoll_ctl", "Polling a descriptor" });
			return;
		}
		on_ready_ = Napi::Persistent(info[1].As<Napi::Function>());
		/* Until it is closed, it is in use, whoever forgot it. */
		Ref();
	}

	~PriorityPoll()
	{
		if (watch_)
			end(watch_);
	}

    private:
	/* 0 or an errno. */
	int start(Napi::Env env, int original)
	{
		Fd fd(fcntl(original, F_DUPFD_CLOEXEC, 0));
		uv_loop_s *loop;

		if (!fd.open())
			return errno;
		if (napi_get_uv_event_loop(env, &loop) != napi_ok)
			return EINVAL;
		auto watch = std::make_unique<Watch>();
		int error = uv_poll_init(loop, &watch->poll, fd.get());

		if (error)
			return -error;
		/* From here on only libuv's close callback may free it. */
		watch_ = watch.release();
		watch_->poll.data = watch_;
		watch_->fd = std::move(fd);
		watch_->owner = this;
		napi_add_async_cleanup_hook(env, cleanup, watch_, &watch_->cleanup);
		uv_unref(reinterpret_cast<uv_handle_t *>(&watch_->poll));
		error = uv_poll_start(&watch_->poll, UV_PRIORITIZED, ready);
		if (error)
			end(std::exchange(watch_, nullptr));
		return -error;
	}

	/* The environment ends: it finalises the object after the hook is removed. */
	static void cleanup(napi_async_cleanup_hook_handle, void *data)
	{
		auto *watch = static_cast<Watch *>(data);

		if (watch->owner)
			watch->owner->watch_ = nullptr;
		end(watch);
	}

	static void ready(uv_poll_t *poll, int status, int)
	{
		auto *watch = static_cast<Watch *>(poll->data);
		struct pollfd now = { watch->fd.get(), POLLPRI, 0 };

		/*
		 * A cgroup that was removed is POLLERR and POLLPRI for ever, and libuv tells
		 * only of the latter: it would call back without end.
		 */
		const bool gone = status < 0 ||
				  (::poll(&now, 1, 0) > 0 && (now.revents & (POLLERR | POLLNVAL)));

		if (watch->owner)
			watch->owner->call(gone);
	}

	void call(bool gone)
	{
		Napi::Env env = Env();
		Napi::HandleScope scope(env);
		napi_value self = Value();
		napi_value on_ready = on_ready_.Value();
		napi_value argument = Napi::Boolean::New(env, gone);
		napi_value ignored;

		if (gone)
			stop();
		/* Not by way of C++: it aborts when the environment ends and runs no JavaScript. */
		napi_make_callback(env, nullptr, self, on_ready, 1, &argument, &ignored);
		/* Nothing of ours is below it on the stack: what it throws is uncaught. */
		if (env.IsExceptionPending())
			napi_fatal_exception(env, env.GetAndClearPendingException().Value());
	}

	void stop()
	{
		if (!watch_)
			return;
		end(std::exchange(watch_, nullptr));
		on_ready_.Reset();
		Unref();
	}

	Napi::Value close(const Napi::CallbackInfo &info)
	{
		stop();
		return info.Env().Undefined();
	}

	Napi::FunctionReference on_ready_;
	Watch *watch_ = nullptr;
};

} // namespace

void define_poll(Napi::Env env, Napi::Object exports)
{
	exports.Set("PriorityPoll", PriorityPoll::define(env));
}

} // namespace nity
