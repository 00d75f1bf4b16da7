// SPDX-License-Identifier: GPL-2.0
/* What maps, programs and links have in common: a descriptor, found by pin or id. */
#include <bpf/bpf.h>
#include <cerrno>

#include "classes.h"
#include "error.h"

namespace nity {

Napi::Value wrap_fd(const Napi::FunctionReference &constructor, Fd fd, uint32_t detail)
{
	Napi::Env env = constructor.Env();

	return constructor.New(
		{ Napi::External<Fd>::New(env, &fd), Napi::Number::New(env, detail) });
}

Fd unwrap_fd(const Napi::CallbackInfo &info)
{
	if (info.Length() != 2 || !info[0].IsExternal()) {
		throw_type(info.Env(), "This class is made by its static functions.");
		return Fd();
	}
	return std::move(*info[0].As<Napi::External<Fd>>().Data());
}

Napi::Value open_pin(const Napi::CallbackInfo &info, const char *kind,
		     const Napi::FunctionReference &constructor)
{
	if (!info[0].IsString())
		return throw_type(info.Env(), "open() takes the path of a pin.");
	const std::string path = info[0].As<Napi::String>();
	Fd fd(bpf_obj_get(path.c_str()));

	if (!fd.open())
		return throw_errno(info.Env(), errno,
				   { "bpf(BPF_OBJ_GET)",
				     std::string("Opening the ") + kind + " at " + path });
	return wrap_fd(constructor, std::move(fd));
}

Napi::Value open_id(const Napi::CallbackInfo &info, const char *kind, int (*get_fd)(uint32_t id),
		    const Napi::FunctionReference &constructor)
{
	if (!info[0].IsNumber())
		return throw_type(info.Env(), "byId() takes an id.");
	const uint32_t id = info[0].As<Napi::Number>().Uint32Value();
	Fd fd(get_fd(id));

	if (!fd.open())
		return throw_errno(info.Env(), errno,
				   { "bpf(GET_FD_BY_ID)",
				     std::string("Opening ") + kind + " " + std::to_string(id) });
	return wrap_fd(constructor, std::move(fd));
}

Napi::Value pin_fd(const Napi::CallbackInfo &info, const char *kind, int fd)
{
	if (!info[0].IsString())
		return throw_type(info.Env(), "pin() takes a path.");
	const std::string path = info[0].As<Napi::String>();

	if (bpf_obj_pin(fd, path.c_str()))
		return throw_errno(info.Env(), errno,
				   { "bpf(BPF_OBJ_PIN)",
				     std::string("Pinning the ") + kind + " at " + path });
	return info.Env().Undefined();
}

} // namespace nity
