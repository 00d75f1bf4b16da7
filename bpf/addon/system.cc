// SPDX-License-Identifier: GPL-2.0
/* What the kernel says of itself: its clock, file systems, cgroups and sockets. */
#include <array>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/magic.h>
#include <memory>
#include <sys/vfs.h>

#include "classes.h"
#include "error.h"

namespace nity {

namespace {

Napi::Value monotonic_ns(const Napi::CallbackInfo &info)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	const uint64_t ns = uint64_t(now.tv_sec) * 1000000000 + uint64_t(now.tv_nsec);

	return Napi::BigInt::New(info.Env(), ns);
}

Napi::Value libbpf_version(const Napi::CallbackInfo &info)
{
	return Napi::String::New(info.Env(), libbpf_version_string());
}

Napi::Value file_system_type(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct statfs found;

	if (!info[0].IsString())
		return throw_type(env, "fileSystemType() takes a path.");
	const std::string path = info[0].As<Napi::String>();

	if (statfs(path.c_str(), &found))
		return throw_errno(env, errno, { "statfs", "Looking at " + path });
	switch (found.f_type) {
	case BPF_FS_MAGIC:
		return Napi::String::New(env, "bpf");
	case CGROUP2_SUPER_MAGIC:
		return Napi::String::New(env, "cgroup2");
	default:
		return Napi::String::New(env, "other");
	}
}

/* A cgroup's id is its kernfs file handle (name_to_handle_at(2)). */
Napi::Value cgroup_id(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	struct {
		struct file_handle head;
		uint64_t id;
	} handle = {};
	int mount;

	if (!info[0].IsString())
		return throw_type(env, "cgroupId() takes a path.");
	const std::string path = info[0].As<Napi::String>();

	handle.head.handle_bytes = sizeof(handle.id);
	if (name_to_handle_at(AT_FDCWD, path.c_str(), &handle.head, &mount, 0))
		return throw_errno(env, errno,
				   { "name_to_handle_at", "Identifying the cgroup " + path });
	return Napi::BigInt::New(env, *reinterpret_cast<uint64_t *>(handle.head.f_handle));
}

/*
 * cgroupPath(root, id): where the cgroup of an id is, by its kernfs file handle; undefined
 * if it is gone. open_by_handle_at(2) wants CAP_DAC_READ_SEARCH, and says EPERM without.
 */
Napi::Value cgroup_path(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	/* FILEID_KERNFS, linux/exportfs.h. */
	constexpr int kernfs = 0xfe;
	struct {
		struct file_handle head;
		uint64_t id;
	} handle = {};
	bool lossless;

	if (!info[0].IsString() || !info[1].IsBigInt())
		return throw_type(env, "cgroupPath() takes a path and an id.");
	const std::string root = info[0].As<Napi::String>();
	const uint64_t id = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
	Fd mount(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (!mount.open())
		return throw_errno(env, errno, { "open", "Opening the cgroup " + root });
	handle.head.handle_bytes = sizeof(handle.id);
	handle.head.handle_type = kernfs;
	std::memcpy(handle.head.f_handle, &id, sizeof(id));
	Fd found(open_by_handle_at(mount.get(), &handle.head, O_PATH | O_CLOEXEC));

	if (!found.open() && (errno == ESTALE || errno == ENOENT))
		return env.Undefined();
	if (!found.open())
		return throw_errno(env, errno,
				   { "open_by_handle_at", "Finding a cgroup by its id" });
	const std::string link = "/proc/self/fd/" + std::to_string(found.get());
	std::array<char, PATH_MAX> path;
	const ssize_t length = readlink(link.c_str(), path.data(), path.size());

	if (length < 0)
		return env.Undefined();
	return Napi::String::New(env, path.data(), size_t(length));
}

/*
 * cgroupPrograms(path, attachType, effective): identifiers of the programs that are attached
 * to a cgroup, or, effective, of all that run for it, in the order in which they run.
 */
Napi::Value cgroup_programs(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!info[0].IsString() || !info[1].IsNumber() || !info[2].IsBoolean())
		return throw_type(env,
				  "cgroupPrograms() takes a path, an attach type and a boolean.");
	const std::string path = info[0].As<Napi::String>();
	Fd cgroup(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));

	if (!cgroup.open())
		return throw_errno(env, errno, { "open", "Opening the cgroup " + path });
	/* The kernel's own bound on the programs of one cgroup is BPF_CGROUP_MAX_PROGS, 64. */
	std::array<__u32, 1024> programs = {};
	__u32 count = programs.size();
	__u32 flags = info[2].As<Napi::Boolean>() ? BPF_F_QUERY_EFFECTIVE : 0;
	auto type = bpf_attach_type(info[1].As<Napi::Number>().Uint32Value());

	if (bpf_prog_query(cgroup.get(), type, flags, nullptr, programs.data(), &count))
		return throw_errno(env, errno,
				   { "bpf(BPF_PROG_QUERY)", "Listing the programs of " + path });
	Napi::Array made = Napi::Array::New(env, count);

	for (uint32_t i = 0; i < count; i++)
		made.Set(i, programs[i]);
	return made;
}

/* While the returned function has not been called, the kernel times every program. */
Napi::Value enable_run_time_stats(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();
	auto fd = std::make_shared<Fd>(bpf_enable_stats(BPF_STATS_RUN_TIME));

	if (!fd->open())
		return throw_errno(env, errno, { "bpf(BPF_ENABLE_STATS)", "Timing the programs" });
	return Napi::Function::New(env, [fd](const Napi::CallbackInfo &) { fd->reset(); });
}

struct ObjectCloser {
	void operator()(struct bpf_object *object) const
	{
		bpf_object__close(object);
	}
};

/* iterateSockets(objectPath, flows): the records that sockets.bpf.c writes, end to end. */
Napi::Value iterate_sockets(const Napi::CallbackInfo &info)
{
	Napi::Env env = info.Env();

	if (!info[0].IsString() || !info[1].IsObject())
		return throw_type(env, "iterateSockets() takes an object's path and a BpfMap.");
	const std::string path = info[0].As<Napi::String>();
	const int flows = Map::Unwrap(info[1].As<Napi::Object>())->fd();
	const Attempt attempt = { "bpf", "Listing the sockets that hold a flow" };

	take_libbpf_log();
	std::unique_ptr<struct bpf_object, ObjectCloser> object(
		bpf_object__open_file(path.c_str(), nullptr));

	if (!object)
		return throw_errno(env, errno, attempt, take_libbpf_log());
	struct bpf_map *map = bpf_object__find_map_by_name(object.get(), "sk_flow");
	struct bpf_program *program = bpf_object__next_program(object.get(), nullptr);

	if (!map || !program || bpf_map__reuse_fd(map, flows))
		return throw_errno(env, EINVAL, attempt, take_libbpf_log());
	if (int error = bpf_object__load(object.get()))
		return throw_errno(env, -error, attempt, take_libbpf_log());

	union bpf_iter_link_info target = {};
	LIBBPF_OPTS(bpf_link_create_opts, options, .iter_info = &target,
		    .iter_info_len = sizeof(target));

	target.map.map_fd = flows;
	Fd link(bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, &options));

	if (!link.open())
		return throw_errno(env, errno, attempt);
	Fd iterator(bpf_iter_create(link.get()));

	if (!iterator.open())
		return throw_errno(env, errno, attempt);

	std::vector<uint8_t> bytes;
	uint8_t chunk[16384];
	ssize_t length;

	while ((length = read(iterator.get(), chunk, sizeof(chunk))) != 0) {
		if (length < 0) {
			if (errno == EAGAIN || errno == EINTR)
				continue;
			return throw_errno(env, errno, attempt);
		}
		bytes.insert(bytes.end(), chunk, chunk + length);
	}
	Napi::Uint8Array made = Napi::Uint8Array::New(env, bytes.size());

	std::copy(bytes.begin(), bytes.end(), made.Data());
	return made;
}

} // namespace

void define_system(Napi::Env env, Napi::Object exports)
{
	exports.Set("monotonicNs", Napi::Function::New<monotonic_ns>(env, "monotonicNs"));
	exports.Set("libbpfVersion", Napi::Function::New<libbpf_version>(env, "libbpfVersion"));
	exports.Set("fileSystemType", Napi::Function::New<file_system_type>(env, "fileSystemType"));
	exports.Set("cgroupId", Napi::Function::New<cgroup_id>(env, "cgroupId"));
	exports.Set("cgroupPath", Napi::Function::New<cgroup_path>(env, "cgroupPath"));
	exports.Set("cgroupPrograms", Napi::Function::New<cgroup_programs>(env, "cgroupPrograms"));
	exports.Set("enableRunTimeStats",
		    Napi::Function::New<enable_run_time_stats>(env, "enableRunTimeStats"));
	exports.Set("iterateSockets", Napi::Function::New<iterate_sockets>(env, "iterateSockets"));
}

} // namespace nity
