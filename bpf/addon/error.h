/* SPDX-License-Identifier: GPL-2.0 */
/* The one place that turns errno into a JavaScript Error. */
#ifndef NITY_ADDON_ERROR_H
#define NITY_ADDON_ERROR_H

#include <napi.h>

#include <string>

namespace nity {

/* What was tried: the system call and one phrase with its object. */
struct Attempt {
	const char *syscall;
	std::string tried;
};

/*
 * Throws an Error with `code` (errno's name), `errno`, `syscall` and `tried`; with
 * `log`, also libbpf's own words. Returns undefined, for the caller to return.
 */
Napi::Value throw_errno(Napi::Env env, int error, const Attempt &attempt,
			const std::string &log = {});
Napi::Value throw_type(Napi::Env env, const std::string &message);
Napi::Value throw_range(Napi::Env env, const std::string &message);

/* libbpf's log on this thread since the last take. The callback is installed once a process. */
void capture_libbpf_log();
std::string take_libbpf_log();

} // namespace nity

#endif
