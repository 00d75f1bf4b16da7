// SPDX-License-Identifier: GPL-2.0
/* A program's attachment to a cgroup. It lasts as long as a pin or a descriptor of it. */
#include "classes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <fstream>
#include <string>

#include "error.h"

namespace nity {

/*
 * The tag of the program behind a link, which the link tells its holder in fdinfo. The program
 * itself can be asked only through a descriptor, and one by its number needs CAP_SYS_ADMIN.
 */
static Napi::Value program_tag(Napi::Env env, int fd)
{
	std::ifstream fdinfo("/proc/self/fdinfo/" + std::to_string(fd));
	std::string key, value;

	while (fdinfo >> key >> value)
		if (key == "prog_tag:")
			return Napi::String::New(env, value);
	return env.Null();
}

Napi::Function Link::define(Napi::Env env)
{
	return DefineClass(env, "BpfLink",
			   {
				   StaticMethod<&Link::open>("open"),
				   InstanceMethod<&Link::info>("info"),
				   InstanceMethod<&Link::update>("update"),
				   InstanceMethod<&Link::pin>("pin"),
				   InstanceMethod<&Link::detach>("detach"),
				   InstanceMethod<&Link::close>("close"),
			   });
}

Link::Link(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Link>(info), fd_(unwrap_fd(info))
{
}

Napi::Value Link::open(const Napi::CallbackInfo &info)
{
	return open_pin(info, "link", classes(info.Env()).link);
}

Napi::Value Link::info(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct bpf_link_info kernel = {};
	__u32 length = sizeof(kernel);

	if (bpf_obj_get_info_by_fd(fd_.get(), &kernel, &length))
		return throw_errno(env, errno,
				   { "bpf(BPF_OBJ_GET_INFO_BY_FD)",
				     "Reading a link's description" });
	Napi::Object made = Napi::Object::New(env);

	made.Set("id", kernel.id);
	made.Set("programId", kernel.prog_id);
	made.Set("programTag", program_tag(env, fd_.get()));
	/* 0 once the cgroup is gone: the link then runs for nobody. */
	made.Set("cgroupId", Napi::BigInt::New(env, uint64_t(kernel.cgroup.cgroup_id)));
	made.Set("attachType", kernel.cgroup.attach_type);
	return made;
}

Napi::Value Link::update(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!info[0].IsObject())
		return throw_type(env, "update() takes a BpfProgram.");
	if (bpf_link_update(fd_.get(), Program::Unwrap(info[0].As<Napi::Object>())->fd(), nullptr))
		return throw_errno(env, errno,
				   { "bpf(BPF_LINK_UPDATE)", "Replacing an attached program" });
	return env.Undefined();
}

Napi::Value Link::pin(const Napi::CallbackInfo &info)
{
	return pin_fd(info, "link", fd_.get());
}

Napi::Value Link::detach(const Napi::CallbackInfo &info)
{
	if (bpf_link_detach(fd_.get()))
		return throw_errno(info.Env(), errno,
				   { "bpf(BPF_LINK_DETACH)", "Detaching a program" });
	return info.Env().Undefined();
}

Napi::Value Link::close(const Napi::CallbackInfo &info)
{
	fd_.reset();
	return info.Env().Undefined();
}

} // namespace nity
