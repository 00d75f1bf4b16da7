// SPDX-License-Identifier: GPL-2.0
/* What the addon exports. State lives in the environment, so threads do not share any. */
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

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
	auto *made = new Classes;

	env.SetInstanceData(made);
	capture_libbpf_log();

	Napi::Function map = Map::define(env);
	Napi::Function program = Program::define(env);
	Napi::Function link = Link::define(env);

	made->map = Napi::Persistent(map);
	made->program = Napi::Persistent(program);
	made->link = Napi::Persistent(link);
	exports.Set("BpfMap", map);
	exports.Set("BpfProgram", program);
	exports.Set("BpfLink", link);
	exports.Set("BpfObject", Object::define(env));
	define_ring_buffer(env, exports);
	define_lock(env, exports);
	define_memory(env, exports);
	define_system(env, exports);
	define_model(env, exports);
	return exports;
}

} // namespace nity

static Napi::Object nity_init(Napi::Env env, Napi::Object exports)
{
	return nity::init(env, exports);
}

NODE_API_MODULE(nity, nity_init)
