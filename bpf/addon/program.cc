// SPDX-License-Identifier: GPL-2.0
/* A loaded program by its descriptor. */
#include "classes.h"

#include <array>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <fcntl.h>

#include "error.h"

namespace nity {

Napi::Function Program::define(Napi::Env env)
{
	return DefineClass(env, "BpfProgram",
			   {
				   StaticMethod<&Program::open>("open"),
				   StaticMethod<&Program::by_id>("byId"),
				   InstanceMethod<&Program::info>("info"),
				   InstanceMethod<&Program::attach_cgroup>("attachCgroup"),
				   InstanceMethod<&Program::pin>("pin"),
				   InstanceMethod<&Program::close>("close"),
			   });
}

Program::Program(const Napi::CallbackInfo &info)
	: Napi::ObjectWrap<Program>(info), fd_(unwrap_fd(info)),
	  attach_type_(fd_.open() ? info[1].As<Napi::Number>().Uint32Value() : 0)
{
}

Napi::Value Program::open(const Napi::CallbackInfo &info)
{
	return open_pin(info, "program", classes(info.Env()).program);
}

Napi::Value Program::by_id(const Napi::CallbackInfo &info)
{
	return open_id(info, "program", bpf_prog_get_fd_by_id, classes(info.Env()).program);
}

static std::string hex(const unsigned char *bytes, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	std::string made;

	for (size_t i = 0; i < length; i++) {
		made += digits[bytes[i] >> 4];
		made += digits[bytes[i] & 15];
	}
	return made;
}

Napi::Value Program::info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct bpf_prog_info kernel = {};
	__u32 length = sizeof(kernel);
	std::array<__u32, 64> maps = {};

	/* The kernel fills in as many as fit, and says how many there are. */
	kernel.nr_map_ids = maps.size();
	kernel.map_ids = reinterpret_cast<uintptr_t>(maps.data());
	if (bpf_obj_get_info_by_fd(fd_.get(), &kernel, &length))
		return throw_errno(env, errno,
				   { "bpf(BPF_OBJ_GET_INFO_BY_FD)",
				     "Reading a program's description" });
	Napi::Array ids = Napi::Array::New(env);

	for (uint32_t i = 0; i < kernel.nr_map_ids && i < maps.size(); i++)
		ids.Set(i, maps[i]);
	Napi::Object made = Napi::Object::New(env);

	made.Set("id", kernel.id);
	made.Set("name", kernel.name);
	made.Set("tag", hex(kernel.tag, sizeof(kernel.tag)));
	made.Set("runTimeNs", Napi::BigInt::New(env, uint64_t(kernel.run_time_ns)));
	made.Set("runCount", Napi::BigInt::New(env, uint64_t(kernel.run_cnt)));
	made.Set("verifiedInstructions", kernel.verified_insns);
	made.Set("translatedBytes", kernel.xlated_prog_len);
	made.Set("jitedBytes", kernel.jited_prog_len);
	/* CLOCK_BOOTTIME, unlike all other times here: 0 if the kernel does not tell. */
	made.Set("loadedNs", Napi::BigInt::New(env, uint64_t(kernel.load_time)));
	made.Set("mapIds", ids);
	return made;
}

Napi::Value Program::attach_cgroup(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!info[0].IsString())
		return throw_type(env, "attachCgroup() takes the path of a cgroup.");
	const std::string path = info[0].As<Napi::String>();
	Fd cgroup(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (!cgroup.open())
		return throw_errno(env, errno, { "open", "Opening the cgroup " + path });

	Fd link(bpf_link_create(fd_.get(), cgroup.get(), bpf_attach_type(attach_type_), nullptr));

	if (!link.open())
		return throw_errno(env, errno,
				   { "bpf(BPF_LINK_CREATE)", "Attaching a program to " + path });
	return wrap_fd(classes(env).link, std::move(link));
}

Napi::Value Program::pin(const Napi::CallbackInfo &info)
{
	return pin_fd(info, "program", fd_.get());
}

Napi::Value Program::close(const Napi::CallbackInfo &info)
{
	fd_.reset();
	return info.Env().Undefined();
}

} // namespace nity
