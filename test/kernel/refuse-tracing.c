// SPDX-License-Identifier: GPL-2.0
/*
 * refuse-tracing COMMAND ...: runs a command to which the kernel refuses BPF programs of
 * type tracing with EPERM, and nothing else, as some kernels do to everybody. A seccomp
 * filter hands each BPF_PROG_LOAD to a supervisor, which looks at the type of the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "refuse-tracing: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* The listener of a filter that lets everything pass but BPF_PROG_LOAD. */
static int install_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_bpf, 0, 3),
		/* The lower half: the machines that this runs on are little-endian. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, BPF_PROG_LOAD, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	int listener = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
			       SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);

	if (listener < 0)
		die("seccomp");
	return listener;
}

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_fd(int socket, int fd)
{
	char byte = 0;
	struct iovec data = { &byte, 1 };
	union control control = { 0 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(socket, &message, 0) != 1)
		die("sendmsg");
}

static int receive_fd(int socket)
{
	char byte;
	struct iovec data = { &byte, 1 };
	union control control = { 0 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *head;
	int fd;

	if (recvmsg(socket, &message, 0) != 1)
		exit(125);
	head = CMSG_FIRSTHDR(&message);
	if (!head || head->cmsg_type != SCM_RIGHTS)
		exit(125);
	memcpy(&fd, CMSG_DATA(head), sizeof(fd));
	return fd;
}

/* The first word of the attributes of BPF_PROG_LOAD is the type of the program. */
static int is_tracing(const struct seccomp_notif *asked)
{
	__u32 type = 0;
	struct iovec here = { &type, sizeof(type) };
	struct iovec there = { (void *)asked->data.args[1], sizeof(type) };

	return process_vm_readv(asked->pid, &here, 1, &there, 1, 0) == sizeof(type) &&
	       type == BPF_PROG_TYPE_TRACING;
}

/* Until nobody is left whom the filter holds for. */
static void supervise(int listener)
{
	for (;;) {
		struct pollfd ready = { .fd = listener, .events = POLLIN };
		struct seccomp_notif asked = { 0 };
		struct seccomp_notif_resp answer = { 0 };

		if (poll(&ready, 1, -1) < 0 && errno != EINTR)
			exit(125);
		if (ready.revents & POLLHUP)
			exit(0);
		/* It may be gone by now: ENOENT. */
		if (!(ready.revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
			continue;
		answer.id = asked.id;
		if (is_tracing(&asked))
			answer.error = -EPERM;
		else
			answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
}

/* The command keeps this process; whoever ends it ends the command, and the supervisor with it. */
int main(int argc, char **argv)
{
	int pair[2];
	int listener, null;
	pid_t child;

	if (argc < 2) {
		fprintf(stderr, "usage: refuse-tracing COMMAND ...\n");
		return 125;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		/* Nobody's child, so that the command is not told of its end. */
		if (fork() != 0)
			_exit(0);
		setsid();
		null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd <= 2; fd++)
			dup2(null, fd);
		close(pair[0]);
		supervise(receive_fd(pair[1]));
	}
	waitpid(child, NULL, 0);
	listener = install_filter();
	send_fd(pair[0], listener);
	close(listener);
	execvp(argv[1], argv + 1);
	die(argv[1]);
}
