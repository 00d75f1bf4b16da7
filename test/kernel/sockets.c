// SPDX-License-Identifier: GPL-2.0
/*
 * What Node's sockets cannot do, for the kernel tests. Every loop is bounded.
 *
 *   sockets bound ADDR PORT N            dial N times from one bound source port
 *   sockets endings ADDR PORT N          end N connects in every way there is
 *   sockets dial ADDR PORT MILLISECONDS  dial until then; prints admitted and refused
 *   sockets retry ADDR PORT N            dial N times on the same socket
 *   sockets silent ADDR PORT BACKEND     be a backend at that port that answers no SYN, and dial it
 *   sockets unheard ADDR PORT BACKEND MILLISECONDS  the same, dial once and give up after so long
 *   sockets unsent ADDR PORT N           N connects that fail before their SYN, held for 250 ms
 *   sockets ahead ADDR PORT N            N fast-open sockets opened ahead, and closed unused
 *   sockets as ADDR PORT USER APART N    dial N times as that user, with 1 in a network namespace
 *                                        apart, where nobody listens; print answers and errors
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in target;

static void fail(const char *what)
{
	fprintf(stderr, "sockets: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	if (fd < 0)
		fail("socket");
	return fd;
}

static int dial(int fd)
{
	return connect(fd, (struct sockaddr *)&target, sizeof(target));
}

static void reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* Binds to `port`, or to one that the kernel chooses if it is 0; returns it. */
static int bind_to(int fd, int port)
{
	struct sockaddr_in source = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t size = sizeof(source);
	int yes = 1;

	inet_pton(AF_INET, "127.0.0.1", &source.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)))
		fail("bind");
	if (getsockname(fd, (struct sockaddr *)&source, &size))
		fail("getsockname");
	return ntohs(source.sin_port);
}

static void print_answer(int fd)
{
	char name[64];
	ssize_t length = read(fd, name, sizeof(name) - 1);

	printf("%.*s\n", (int)(length > 0 ? length : 0), name);
	fflush(stdout);
}

static int bound(int times)
{
	/* Keeps the port from other clients between one dial and the next. */
	int keeper = open_socket(0), source = bind_to(keeper, 0);

	for (int i = 0; i < times; i++) {
		int fd = open_socket(0);

		bind_to(fd, source);
		if (dial(fd))
			fail("connect");
		print_answer(fd);
		reset(fd);
	}
	close(keeper);
	return 0;
}

static int retry(int times)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = open_socket(0);

	for (int i = 0; i < times; i++) {
		if (dial(fd))
			fail("connect");
		print_answer(fd);
		/* Dissolves the association: the same socket may dial again. */
		if (connect(fd, &none, sizeof(none)))
			fail("disconnect");
	}
	close(fd);
	return 0;
}

/* A child that is killed while it holds a connection. */
static void be_killed(void)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (!child) {
		dial(open_socket(0));
		pause();
		_exit(0);
	}
	usleep(2000);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* Two sockets on one source to one destination: the second fails before its SYN. */
static void fail_before_syn(void)
{
	int first = open_socket(0), second = open_socket(0);

	bind_to(second, bind_to(first, 0));
	if (!dial(first))
		dial(second);
	reset(second);
	reset(first);
}

static int endings(int times)
{
	for (int i = 0; i < times; i++) {
		int fd = open_socket(i % 8 == 2 ? SOCK_NONBLOCK : 0);
		char byte;

		switch (i % 8) {
		case 0: /* our FIN first */
			if (!dial(fd))
				shutdown(fd, SHUT_WR);
			close(fd);
			break;
		case 1: /* our reset */
			dial(fd);
			reset(fd);
			break;
		case 2: /* closed in SYN_SENT, or just after */
			dial(fd);
			close(fd);
			break;
		case 3: /* the server's FIN first */
			if (!dial(fd))
				while (read(fd, &byte, 1) > 0)
					;
			close(fd);
			break;
		case 4: /* never dialled */
			close(fd);
			break;
		case 5: /* twice on one socket */
			if (!dial(fd)) {
				struct sockaddr none = { .sa_family = AF_UNSPEC };

				connect(fd, &none, sizeof(none));
				dial(fd);
			}
			close(fd);
			break;
		case 6:
			close(fd);
			if (i % 64 == 6)
				be_killed();
			break;
		case 7:
			close(fd);
			fail_before_syn();
			break;
		}
	}
	return 0;
}

/* A listener whose queue is full drops SYNs. */
static void listen_deaf(int port)
{
	struct sockaddr_in backend = { .sin_family = AF_INET, .sin_port = htons(port) };
	int listener = open_socket(0);

	inet_pton(AF_INET, "127.0.0.1", &backend.sin_addr);
	bind_to(listener, port);
	if (listen(listener, 0))
		fail("listen");
	for (int i = 0; i < 2; i++)
		connect(open_socket(SOCK_NONBLOCK), (struct sockaddr *)&backend, sizeof(backend));
	usleep(50000);
}

/* One client gives up before the answer, one after the kernel has; both held an open count. */
static int silent(int port)
{
	int impatient = open_socket(SOCK_NONBLOCK), patient = open_socket(0);
	int once = 1;

	listen_deaf(port);
	if (!dial(impatient) || errno != EINPROGRESS)
		fail("connect at once");
	usleep(300000);
	close(impatient);

	setsockopt(patient, IPPROTO_TCP, TCP_SYNCNT, &once, sizeof(once));
	if (!dial(patient) || errno != ETIMEDOUT)
		fail("connect in the end");
	close(patient);
	return 0;
}

/* TCP sends its SYN again after a second. */
static int unheard(int port, int ms)
{
	int fd = open_socket(SOCK_NONBLOCK);

	listen_deaf(port);
	if (!dial(fd) || errno != EINPROGRESS)
		fail("connect at once");
	usleep(1000 * ms);
	close(fd);
	return 0;
}

/* Sockets that may only speak IPv6 dial an IPv4 address: ENETUNREACH, and nothing is sent. */
static int unsent(int times)
{
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = target.sin_port };
	int fds[64], only = 1;

	mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
	memcpy(mapped.sin6_addr.s6_addr + 12, &target.sin_addr, 4);
	for (int i = 0; i < times && i < 64; i++) {
		fds[i] = socket(AF_INET6, SOCK_STREAM, 0);
		if (fds[i] < 0 ||
		    setsockopt(fds[i], IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)))
			fail("socket");
		if (!connect(fds[i], (struct sockaddr *)&mapped, sizeof(mapped)))
			fail("connect without a SYN");
	}
	usleep(250000);
	for (int i = 0; i < times && i < 64; i++)
		close(fds[i]);
	return 0;
}

/*
 * With TCP_FASTOPEN_NO_COOKIE connect() of a TCP_FASTOPEN_CONNECT socket sends nothing: the
 * SYN goes with the first bytes. Half of the sockets are closed unused, half are used late.
 */
static int ahead(int times)
{
	int yes = 1;

	for (int i = 0; i < times; i++) {
		int fd = open_socket(0);

		if (setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &yes, sizeof(yes)) ||
		    setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &yes, sizeof(yes)))
			fail("fast open");
		if (dial(fd))
			fail("connect");
		usleep(250000);
		if (i % 2) {
			if (write(fd, "x", 1) != 1)
				fail("write");
			print_answer(fd);
		}
		close(fd);
	}
	return 0;
}

/* A network namespace whose only way out leads nowhere, so that a SYN can be sent. */
static void leave_the_network(void)
{
	struct ifreq interface = { .ifr_name = "lo" };
	int fd;

	if (unshare(CLONE_NEWNET))
		fail("unshare");
	fd = open_socket(0);
	interface.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &interface))
		fail("lo");
	close(fd);
}

static int dial_as(int user, int apart, int times)
{

	if (apart)
		leave_the_network();
	if (user && setuid(user))
		fail("setuid");
	for (int i = 0; i < times; i++) {
		int fd = open_socket(0);

		if (dial(fd))
			printf("%s\n", strerrorname_np(errno));
		else
			print_answer(fd);
		close(fd);
	}
	return 0;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int dial_until(long duration_ms)
{
	long admitted = 0, refused = 0, until = now_ms() + duration_ms;

	while (now_ms() < until) {
		int fd = open_socket(0);

		if (!dial(fd))
			admitted++;
		else if (errno == ECONNREFUSED)
			refused++;
		else
			fail("connect");
		reset(fd);
	}
	printf("%ld %ld\n", admitted, refused);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	target.sin_family = AF_INET;
	target.sin_port = htons(atoi(argv[3]));
	if (inet_pton(AF_INET, argv[2], &target.sin_addr) != 1)
		return 2;
	if (!strcmp(argv[1], "bound"))
		return bound(atoi(argv[4]));
	if (!strcmp(argv[1], "endings"))
		return endings(atoi(argv[4]));
	if (!strcmp(argv[1], "dial"))
		return dial_until(atol(argv[4]));
	if (!strcmp(argv[1], "retry"))
		return retry(atoi(argv[4]));
	if (!strcmp(argv[1], "silent"))
		return silent(atoi(argv[4]));
	if (!strcmp(argv[1], "unsent"))
		return unsent(atoi(argv[4]));
	if (!strcmp(argv[1], "ahead"))
		return ahead(atoi(argv[4]));
	if (argc < 6)
		return 2;
	if (!strcmp(argv[1], "unheard"))
		return unheard(atoi(argv[4]), atoi(argv[5]));
	if (argc < 7)
		return 2;
	if (!strcmp(argv[1], "as"))
		return dial_as(atoi(argv[4]), atoi(argv[5]), atoi(argv[6]));
	return 2;
}
