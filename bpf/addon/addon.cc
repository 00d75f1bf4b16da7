// SPDX-License-Identifier: GPL-2.0
/* What the addon exports. State lives in the environment, so threads do not share any. */
#include "classes.h"

#include "error.h"

namespace nity {

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
	define_poll(env, exports);
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
