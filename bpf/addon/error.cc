// SPDX-License-Identifier: GPL-2.0
#include "error.h"

#include <bpf/libbpf.h>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>

namespace nity {

namespace {

/* The end of a long log says what failed; the verifier writes megabytes before it. */
constexpr size_t log_limit = 64 << 10;

thread_local std::string libbpf_log;

int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[4096];
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	length = vsnprintf(line, sizeof(line), format, args);
	libbpf_log += line;
	if (libbpf_log.size() > log_limit)
		libbpf_log.erase(0, libbpf_log.size() - log_limit);
	return length;
}

Napi::Error make_error(Napi::Env env, int error, const Attempt &attempt)
{
	const char *name = strerrorname_np(error);
	const std::string code = name ? name : "EUNKNOWN";
	Napi::Error made = Napi::Error::New(env, attempt.tried + ": " + code + " (" +
							 strerrordesc_np(error) + ")");

	made.Set("code", Napi::String::New(env, code));
	made.Set("errno", Napi::Number::New(env, error));
	made.Set("syscall", Napi::String::New(env, attempt.syscall));
	made.Set("tried", Napi::String::New(env, attempt.tried));
	return made;
}

} // namespace

Napi::Value throw_errno(Napi::Env env, int error, const Attempt &attempt, const std::string &log)
{
	/* libbpf returns errors of its own above the system's. */
	Napi::Error made = make_error(env, strerrorname_np(error) ? error : EINVAL, attempt);

	if (!log.empty())
		made.Set("log", Napi::String::New(env, log));
	made.ThrowAsJavaScriptException();
	return env.Undefined();
}

Napi::Value throw_type(Napi::Env env, const std::string &message)
{
	Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
	return env.Undefined();
}

Napi::Value throw_range(Napi::Env env, const std::string &message)
{
	Napi::RangeError::New(env, message).ThrowAsJavaScriptException();
	return env.Undefined();
}

void capture_libbpf_log()
{
	static std::once_flag once;

	std::call_once(once, [] { libbpf_set_print(keep_log); });
}

std::string take_libbpf_log()
{
	std::string taken;

	taken.swap(libbpf_log);
	return taken;
}

} // namespace nity
