/* SPDX-License-Identifier: GPL-2.0 */
/* A file descriptor that is closed once. */
#ifndef NITY_ADDON_FD_H
#define NITY_ADDON_FD_H

#include <unistd.h>

#include <utility>

namespace nity {

class Fd {
    public:
	explicit Fd(int fd = -1) : fd_(fd)
	{
	}
	Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1))
	{
	}
	Fd &operator=(Fd &&other) noexcept
	{
		std::swap(fd_, other.fd_);
		return *this;
	}
	Fd(const Fd &) = delete;
	Fd &operator=(const Fd &) = delete;
	~Fd()
	{
		reset();
	}

	int get() const
	{
		return fd_;
	}
	bool open() const
	{
		return fd_ >= 0;
	}
	void reset()
	{
		if (fd_ >= 0)
			close(std::exchange(fd_, -1));
	}

    private:
	int fd_;
};

} // namespace nity

#endif
