/* SPDX-License-Identifier: GPL-2.0 */
/* The JavaScript classes, and how one makes another. */
#ifndef NITY_ADDON_CLASSES_H
#define NITY_ADDON_CLASSES_H

#include <napi.h>

#include "fd.h"

struct bpf_object;

namespace nity {

/* The constructors of one environment: a worker thread has its own. */
struct Classes {
	Napi::FunctionReference map;
	Napi::FunctionReference program;
	Napi::FunctionReference link;
	Napi::FunctionReference socket;
};

inline Classes &classes(Napi::Env env)
{
	return *env.GetInstanceData<Classes>();
}

/* An object of a class that takes over `fd`: constructors are not for JavaScript. */
Napi::Value wrap_fd(const Napi::FunctionReference &constructor, Fd fd, uint32_t detail = 0);

/* What open(path) and byId(id) of every class do; `kind` is the word for it. */
Napi::Value open_pin(const Napi::CallbackInfo &info, const char *kind,
		     const Napi::FunctionReference &constructor);
Napi::Value open_id(const Napi::CallbackInfo &info, const char *kind, int (*get_fd)(uint32_t id),
		    const Napi::FunctionReference &constructor);
Napi::Value pin_fd(const Napi::CallbackInfo &info, const char *kind, int fd);

/* The descriptor that a constructor was handed by wrap_fd(), or a thrown TypeError. */
Fd unwrap_fd(const Napi::CallbackInfo &info);

class Map : public Napi::ObjectWrap<Map> {
    public:
	static Napi::Function define(Napi::Env env);
	explicit Map(const Napi::CallbackInfo &info);
	int fd() const
	{
		return fd_.get();
	}

    private:
	static Napi::Value open(const Napi::CallbackInfo &info);
	static Napi::Value by_id(const Napi::CallbackInfo &info);
	Napi::Value info(const Napi::CallbackInfo &info);
	Napi::Value lookup(const Napi::CallbackInfo &info);
	Napi::Value update(const Napi::CallbackInfo &info);
	Napi::Value remove(const Napi::CallbackInfo &info);
	Napi::Value update_batch(const Napi::CallbackInfo &info);
	Napi::Value entries(const Napi::CallbackInfo &info);
	Napi::Value mmap(const Napi::CallbackInfo &info);
	Napi::Value pin(const Napi::CallbackInfo &info);
	Napi::Value close(const Napi::CallbackInfo &info);

	/* False, with an exception pending, unless open and of the right lengths. */
	bool ready(Napi::Env env);
	bool key_of(Napi::Env env, Napi::Value value, const uint8_t **key);
	bool value_of(Napi::Env env, Napi::Value value, const uint8_t **bytes);

	Fd fd_;
	std::string name_;
	uint32_t type_ = 0;
	uint32_t flags_ = 0;
	uint32_t id_ = 0;
	uint32_t key_size_ = 0;
	uint32_t value_size_ = 0;
	uint32_t max_entries_ = 0;
	/* Bytes that a lookup returns: for a per-CPU map, one value for each possible CPU. */
	size_t slot_size_ = 0;
};

class Program : public Napi::ObjectWrap<Program> {
    public:
	static Napi::Function define(Napi::Env env);
	explicit Program(const Napi::CallbackInfo &info);
	int fd() const
	{
		return fd_.get();
	}

    private:
	static Napi::Value open(const Napi::CallbackInfo &info);
	static Napi::Value by_id(const Napi::CallbackInfo &info);
	Napi::Value info(const Napi::CallbackInfo &info);
	Napi::Value attach_cgroup(const Napi::CallbackInfo &info);
	Napi::Value pin(const Napi::CallbackInfo &info);
	Napi::Value close(const Napi::CallbackInfo &info);

	Fd fd_;
	/* What libbpf read from the program's section; 0 if it did not come from an object. */
	uint32_t attach_type_;
};

class Link : public Napi::ObjectWrap<Link> {
    public:
	static Napi::Function define(Napi::Env env);
	explicit Link(const Napi::CallbackInfo &info);

    private:
	static Napi::Value open(const Napi::CallbackInfo &info);
	Napi::Value info(const Napi::CallbackInfo &info);
	Napi::Value update(const Napi::CallbackInfo &info);
	Napi::Value pin(const Napi::CallbackInfo &info);
	Napi::Value detach(const Napi::CallbackInfo &info);
	Napi::Value close(const Napi::CallbackInfo &info);

	Fd fd_;
};

class Object : public Napi::ObjectWrap<Object> {
    public:
	static Napi::Function define(Napi::Env env);
	explicit Object(const Napi::CallbackInfo &info);
	~Object();

    private:
	Napi::Value maps(const Napi::CallbackInfo &info);
	Napi::Value set_max_entries(const Napi::CallbackInfo &info);
	Napi::Value reuse_map(const Napi::CallbackInfo &info);
	Napi::Value load(const Napi::CallbackInfo &info);
	Napi::Value map(const Napi::CallbackInfo &info);
	Napi::Value program(const Napi::CallbackInfo &info);
	Napi::Value close(const Napi::CallbackInfo &info);

	bool ready(Napi::Env env);

	struct bpf_object *object_ = nullptr;
	std::string path_;
};

void define_ring_buffer(Napi::Env env, Napi::Object exports);
void define_poll(Napi::Env env, Napi::Object exports);
void define_lock(Napi::Env env, Napi::Object exports);
void define_model(Napi::Env env, Napi::Object exports);
void define_memory(Napi::Env env, Napi::Object exports);
void define_system(Napi::Env env, Napi::Object exports);

} // namespace nity

#endif
