// SPDX-License-Identifier: GPL-2.0
/*
 * A pool's functions take numbers and return one: no object is made by a call, and
 * each call says what time it is. They are plain functions of N-API, for a
 * wrapper's work would be more than the dataplane's own.
 */
#include <arpa/inet.h>

#include "error.h"
#include "model_pool.h"

namespace nity {

namespace {

struct Pool {
	SharedPlane plane;
	std::vector<nity_model_socket> sockets;
	/* A socket's number is used again, its cookie never. */
	uint64_t cookies = 0;
	/* Its functions that JavaScript can still call. */
	int functions = 0;
};

/* The first argument is the socket's number, the second the time in ns. */
struct Call {
	Pool *pool = nullptr;
	nity_model_socket *socket = nullptr;
	double rest[3] = { 0, 0, 0 };

	Call(napi_env env, napi_callback_info info)
	{
		napi_value values[5];
		size_t count = 5;
		void *data;
		uint32_t number = UINT32_MAX;
		double now_ns = 0;

		napi_get_cb_info(env, info, &count, values, nullptr, &data);
		pool = static_cast<Pool *>(data);
		napi_get_value_uint32(env, values[0], &number);
		napi_get_value_double(env, values[1], &now_ns);
		for (size_t i = 2; i < 5 && i < count; i++)
			napi_get_value_double(env, values[i], &rest[i - 2]);
		if (number >= pool->sockets.size()) {
			napi_throw_range_error(env, nullptr,
					       "The pool has no socket of that number.");
			return;
		}
		socket = &pool->sockets[number];
		pool->plane->model.now_ns = static_cast<uint64_t>(now_ns);
	}

	struct nity_model *model() const
	{
		return &pool->plane->model;
	}
};

/*
 * connect(socket, nowNs, address, port, netnsCookie): the port of the backend it
 * goes to, or -1 when refused. No SYN is sent by it.
 */
napi_value dial(napi_env env, napi_callback_info info)
{
	Call call(env, info);
	napi_value went;
	int32_t port = -1;

	if (!call.socket)
		return nullptr;
	nity_model_address to = { htonl(uint32_t(call.rest[0])), htons(uint16_t(call.rest[1])) };

	*call.socket = {};
	call.socket->socket_cookie = ++call.pool->cookies;
	call.socket->netns_cookie = uint64_t(call.rest[2]);
	if (!nity_model_dial(call.model(), call.socket, &to))
		port = ntohs(to.port);
	napi_create_int32(env, port, &went);
	return went;
}

/* connecting(socket, nowNs): the SYN is sent. */
napi_value connecting(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_connecting(call.model(), call.socket);
	return nullptr;
}

/* repeated(socket, nowNs): nobody answered the SYN, and it is sent once more. */
napi_value repeated(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_repeated(call.model(), call.socket);
	return nullptr;
}

napi_value established(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_established(call.model(), call.socket);
	return nullptr;
}

/*
 * sent(socket, nowNs, before, acknowledged): the client sends, after so many sends
 * of this connection, which the backend had acknowledged all or not.
 */
napi_value sent(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_sent(call.model(), call.socket, 1 + uint32_t(call.rest[0]),
				call.rest[1] != 0);
	return nullptr;
}

/* received(socket, nowNs, sends): an answer to all that was sent so far. */
napi_value received(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_received(call.model(), call.socket, 1 + uint32_t(call.rest[0]), 0);
	return nullptr;
}

/* reset(socket, nowNs): the backend refused the connection, or dropped it. */
napi_value reset(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_ended(call.model(), call.socket, 1, 0, 0);
	return nullptr;
}

/* finished(socket, nowNs): the client had sent its FIN, and the backend's came. */
napi_value finished(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_ended(call.model(), call.socket, 1, 0, 1);
	return nullptr;
}

/* closed(socket, nowNs, left): by the client; `left` if the backend's FIN had come before. */
napi_value closed(napi_env env, napi_callback_info info)
{
	Call call(env, info);

	if (call.socket)
		nity_model_release(call.model(), call.socket, call.rest[0] != 0);
	return nullptr;
}

} // namespace

Napi::Object make_pool(Napi::Env env, SharedPlane plane, uint32_t count)
{
	Napi::Object object = Napi::Object::New(env);
	Pool *pool = new Pool{ plane, std::vector<nity_model_socket>(count), 0, 0 };
	const std::pair<const char *, napi_callback> calls[] = {
		{ "connect", dial },	  { "connecting", connecting },
		{ "repeated", repeated }, { "established", established },
		{ "sent", sent },	  { "received", received },
		{ "reset", reset },	  { "finished", finished },
		{ "closed", closed },
	};

	for (const auto &[name, call] : calls) {
		napi_value made;

		napi_create_function(env, name, NAPI_AUTO_LENGTH, call, pool, &made);
		Napi::Function function(env, made);
		pool->functions++;
		function.AddFinalizer(
			[](Napi::Env, Pool *held) {
				if (!--held->functions)
					delete held;
			},
			pool);
		object.Set(name, function);
	}
	return object;
}

} // namespace nity
