// SPDX-License-Identifier: GPL-2.0
/* A BPF object file between opening and closing: what libbpf does for us. */
#include "classes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <fcntl.h>

#include "error.h"

namespace nity {

Napi::Function Object::define(Napi::Env env)
{
	return DefineClass(env, "BpfObject",
			   {
				   InstanceMethod<&Object::maps>("maps"),
				   InstanceMethod<&Object::set_max_entries>("setMaxEntries"),
				   InstanceMethod<&Object::reuse_map>("reuseMap"),
				   InstanceMethod<&Object::load>("load"),
				   InstanceMethod<&Object::map>("map"),
				   InstanceMethod<&Object::program>("program"),
				   InstanceMethod<&Object::close>("close"),
			   });
}

Object::Object(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Object>(info)
{
	Napi::Env env = info.Env();

	if (!info[0].IsString()) {
		throw_type(env, "BpfObject takes the path of an object file.");
		return;
	}
	path_ = info[0].As<Napi::String>();
	take_libbpf_log();
	object_ = bpf_object__open_file(path_.c_str(), nullptr);
	if (!object_)
		throw_errno(env, errno, { "open", "Opening the object " + path_ },
			    take_libbpf_log());
}

Object::~Object()
{
	bpf_object__close(object_);
}

bool Object::ready(Napi::Env env)
{
	if (object_)
		return true;
	throw_errno(env, EBADF, { "bpf", "Using " + path_ + " after close()" });
	return false;
}

Napi::Value Object::maps(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Napi::Array made = Napi::Array::New(env);
	struct bpf_map *map;

	if (!ready(env))
		return env.Undefined();
	bpf_object__for_each_map(map, object_) {
		Napi::Object one = Napi::Object::New(env);

		one.Set("name", bpf_map__name(map));
		one.Set("type", uint32_t(bpf_map__type(map)));
		one.Set("keySize", bpf_map__key_size(map));
		one.Set("valueSize", bpf_map__value_size(map));
		one.Set("maxEntries", bpf_map__max_entries(map));
		made.Set(made.Length(), one);
	}
	return made;
}

/* The named map, or null with an exception pending. */
static struct bpf_map *map_named(Napi::Env env, struct bpf_object *object, Napi::Value name)
{
	struct bpf_map *map;

	if (!name.IsString()) {
		throw_type(env, "A map is named by a string.");
		return nullptr;
	}
	const std::string text = name.As<Napi::String>();

	map = bpf_object__find_map_by_name(object, text.c_str());
	if (!map)
		throw_errno(env, ENOENT, { "bpf", "Finding the map " + text + " in the object" });
	return map;
}

Napi::Value Object::set_max_entries(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct bpf_map *map;

	if (!ready(env) || !(map = map_named(env, object_, info[0])))
		return env.Undefined();
	if (!info[1].IsNumber())
		return throw_type(env, "setMaxEntries() takes a map and a number.");
	if (int error = bpf_map__set_max_entries(map, info[1].As<Napi::Number>().Uint32Value()))
		return throw_errno(env, -error,
				   { "bpf", std::string("Sizing ") + bpf_map__name(map) });
	return env.Undefined();
}

Napi::Value Object::reuse_map(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct bpf_map *map;

	if (!ready(env) || !(map = map_named(env, object_, info[0])))
		return env.Undefined();
	if (!info[1].IsObject())
		return throw_type(env, "reuseMap() takes a map's name and a BpfMap.");
	if (int error = bpf_map__reuse_fd(map, Map::Unwrap(info[1].As<Napi::Object>())->fd()))
		return throw_errno(env, -error,
				   { "bpf", std::string("Reusing the map ") + bpf_map__name(map) });
	return env.Undefined();
}

Napi::Value Object::load(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!ready(env))
		return env.Undefined();
	take_libbpf_log();
	if (int error = bpf_object__load(object_))
		return throw_errno(env, -error, { "bpf(BPF_PROG_LOAD)", "Loading " + path_ },
				   take_libbpf_log());
	return env.Undefined();
}

static Fd duplicate(int fd)
{
	return Fd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

Napi::Value Object::map(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct bpf_map *map;

	if (!ready(env) || !(map = map_named(env, object_, info[0])))
		return env.Undefined();
	Fd fd = duplicate(bpf_map__fd(map));

	if (!fd.open())
		return throw_errno(env, errno,
				   { "fcntl",
				     std::string("Taking the map ") + bpf_map__name(map) });
	return wrap_fd(classes(env).map, std::move(fd));
}

Napi::Value Object::program(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!ready(env))
		return env.Undefined();
	if (!info[0].IsString())
		return throw_type(env, "program() takes a program's name.");
	const std::string name = info[0].As<Napi::String>();
	struct bpf_program *program = bpf_object__find_program_by_name(object_, name.c_str());

	if (!program)
		return throw_errno(env, ENOENT, { "bpf", "Finding the program " + name });
	Fd fd = duplicate(bpf_program__fd(program));

	if (!fd.open())
		return throw_errno(env, errno, { "fcntl", "Taking the program " + name });
	return wrap_fd(classes(env).program, std::move(fd),
		       bpf_program__expected_attach_type(program));
}

Napi::Value Object::close(const Napi::CallbackInfo &info)
{
	bpf_object__close(object_);
	object_ = nullptr;
	return info.Env().Undefined();
}

} // namespace nity
