// SPDX-License-Identifier: GPL-2.0
/* flock(2) on a file or directory: the kernel gives it back however its holder ends. */
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>

#include "classes.h"
#include "error.h"

namespace nity {

namespace {

class Lock : public Napi::ObjectWrap<Lock> {
    public:
	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "Lock",
				   {
					   InstanceMethod<&Lock::acquire>("acquire"),
					   InstanceMethod<&Lock::release>("release"),
				   });
	}

	explicit Lock(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Lock>(info)
	{
		if (!info[0].IsString()) {
			throw_type(info.Env(), "Lock takes a path.");
			return;
		}
		path_ = info[0].As<Napi::String>();
	}

    private:
	/* acquire(exclusive): true, or false when another holds it. */
	Napi::Value acquire(const Napi::CallbackInfo &info)
	{
		Napi::Env env = info.Env();
		const bool exclusive = info[0].IsBoolean() && info[0].As<Napi::Boolean>();
		Fd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC));

		if (!fd.open())
			return throw_errno(env, errno,
					   { "open", "Opening " + path_ + " to lock it" });
		if (flock(fd.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB)) {
			if (errno == EWOULDBLOCK)
				return Napi::Boolean::New(env, false);
			return throw_errno(env, errno, { "flock", "Locking " + path_ });
		}
		fd_ = std::move(fd);
		return Napi::Boolean::New(env, true);
	}

	Napi::Value release(const Napi::CallbackInfo &info)
	{
		fd_.reset();
		return info.Env().Undefined();
	}

	std::string path_;
	Fd fd_;
};

} // namespace

void define_lock(Napi::Env env, Napi::Object exports)
{
	exports.Set("Lock", Lock::define(env));
}

} // namespace nity
