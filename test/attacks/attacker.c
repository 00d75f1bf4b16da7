// SPDX-License-Identifier: GPL-2.0
/*
 * An unprivileged process that would like to bend the routing of its neighbours. It opens sockets
 * to VIP in one of the ways below until SECONDS have passed. Everything is bounded: the time, the
 * sockets that it keeps (800 at most) and the pace.
 *
 *   attacker WAY VIP PORT SECONDS ONE_NAME ONE_PORT DEVICE
 *
 * ONE_NAME and ONE_PORT are the name and the port of the backend that some ways single out.
 * Prints how many sockets it used.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_MINTTL
#define IP_MINTTL 21
#endif
#ifndef IP_FREEBIND
#define IP_FREEBIND 15
#endif
#ifndef IP_TTL
#define IP_TTL 2
#endif

#define MOST_KEPT 800

static struct sockaddr_in target;
static const char *vip;
static const char *one_name;
static int one_port;
static const char *device;

static void fail(const char *what)
{
	fprintf(stderr, "attacker: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void set(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)))
		fail("setsockopt");
}

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

static void say(int fd, const char *bytes)
{
	if (send(fd, bytes, strlen(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

static bool connected(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);

	return poll(&ready, 1, 200) == 1 && !getpeername(fd, (struct sockaddr *)&peer, &size);
}

/* Whether the backend is the one that is singled out: it says its name. */
static bool is_the_one(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char name[64];
	ssize_t length;

	say(fd, "N");
	if (poll(&ready, 1, 500) != 1)
		return false;
	length = read(fd, name, sizeof(name) - 1);
	if (length <= 0)
		return false;
	name[length] = 0;
	return !strcmp(name, one_name);
}

/* Before the connect. */

static void source_port_taken(int fd)
{
	static int port;
	struct sockaddr_in source = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t size = sizeof(source);

	inet_pton(AF_INET, "127.0.0.1", &source.sin_addr);
	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, (struct sockaddr *)&source, size))
		fail("bind to a port in use");
	if (getsockname(fd, (struct sockaddr *)&source, &size))
		fail("getsockname");
	port = ntohs(source.sin_port);
}

static void foreign_source(int fd)
{
	struct sockaddr_in source = { .sin_family = AF_INET };

	inet_pton(AF_INET, "192.0.2.1", &source.sin_addr);
	set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)))
		fail("bind to a foreign address");
}

/* Without a cookie, so that no server has to agree: connect() sends nothing. */
static void fast_open(int fd)
{
	set(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
	set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
}

static void other_device(int fd)
{
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device)))
		fail("SO_BINDTODEVICE");
}

static void impatient(int fd)
{
	set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 500);
	set(fd, IPPROTO_TCP, TCP_SYNCNT, 1);
}

static void other_device_impatient(int fd)
{
	other_device(fd);
	impatient(fd);
}

/* The backends have no key, so they drop every SYN. */
static void signed_segments(int fd)
{
	struct tcp_md5sig sig = { .tcpm_keylen = 1, .tcpm_key = "k" };
	struct sockaddr_in *peer = (struct sockaddr_in *)&sig.tcpm_addr;

	peer->sin_family = AF_INET;
	inet_pton(AF_INET, "127.0.0.1", &peer->sin_addr);
	if (setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &sig, sizeof(sig)))
		fail("TCP_MD5SIG");
}

static void signed_segments_impatient(int fd)
{
	signed_segments(fd);
	impatient(fd);
}

/* What comes has lived for too many hops: also the answers to its SYNs are dropped. */
static void deaf(int fd)
{
	set(fd, IPPROTO_IP, IP_MINTTL, 255);
}

static void deaf_impatient(int fd)
{
	deaf(fd);
	impatient(fd);
}

static void one_hop(int fd)
{
	set(fd, IPPROTO_IP, IP_TTL, 1);
}

static void small_buffer(int fd)
{
	set(fd, SOL_SOCKET, SO_RCVBUF, 4096);
}

/* Once connected. False: the socket is of no use, and is closed. */

static bool ask(int fd)
{
	say(fd, "G");
	return true;
}

static bool ask_slow(int fd)
{
	say(fd, "S");
	return true;
}

static bool ask_nothing_back(int fd)
{
	say(fd, "L");
	return true;
}

static bool ask_to_be_closed(int fd)
{
	say(fd, "X");
	return true;
}

static bool ask_to_be_reset(int fd)
{
	say(fd, "R");
	return true;
}

/* The head of a TLS record that does not come. */
static bool begin_tls(int fd)
{
	say(fd, "\x16\x03\x01\x02");
	return true;
}

static bool ask_much(int fd)
{
	say(fd, "F");
	return true;
}

static bool ask_name(int fd)
{
	say(fd, "N");
	return true;
}

static bool begin_upload(int fd)
{
	say(fd, "U");
	return true;
}

static bool close_half(int fd)
{
	say(fd, "S");
	shutdown(fd, SHUT_WR);
	return true;
}

static bool one_ask_slow(int fd)
{
	return is_the_one(fd) && ask_slow(fd);
}

static bool one_quick_others_slow(int fd)
{
	return !is_the_one(fd) && ask_slow(fd);
}

static bool one_unanswered(int fd)
{
	return is_the_one(fd) && ask_nothing_back(fd);
}

static bool one_closed(int fd)
{
	return is_the_one(fd) && ask_to_be_closed(fd);
}

static bool one_reset(int fd)
{
	return is_the_one(fd) && ask_to_be_reset(fd);
}

static bool one_unread(int fd)
{
	return is_the_one(fd) && ask_much(fd);
}

static bool one_idle(int fd)
{
	return is_the_one(fd);
}

static bool others_idle(int fd)
{
	return !is_the_one(fd);
}

static bool one_upload(int fd)
{
	return is_the_one(fd) && begin_upload(fd);
}

/* A socket that dials has its peer in /proc/net/tcp, though getpeername() has none. */
static bool dials_the_one(int fd)
{
	struct sockaddr_in own;
	socklen_t size = sizeof(own);
	FILE *table = fopen("/proc/net/tcp", "r");
	unsigned int local, remote;
	bool found = false;
	char line[512];

	if (!table || getsockname(fd, (struct sockaddr *)&own, &size))
		fail("/proc/net/tcp");
	while (!found && fgets(line, sizeof(line), table))
		found = sscanf(line, " %*d: %*8x:%4x %*8x:%4x", &local, &remote) == 2 &&
			local == ntohs(own.sin_port) && remote == (unsigned int)one_port;
	fclose(table);
	return found;
}

/* From now on it acknowledges nothing, and what it sends is sent again and again. */
static bool one_deafened(int fd)
{
	if (!is_the_one(fd))
		return false;
	deaf(fd);
	set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 1000);
	return ask_slow(fd);
}

struct way {
	const char *name;
	void (*prepare)(int fd);
	bool (*use)(int fd);
	/* The oldest is closed when there are more. */
	int kept;
	int gap_ms;
	/* The gap shrinks to nothing: the load that it offers rises. */
	bool rising;
	bool reset;
	bool drip;
	/* It never connects, and is used while it dials. */
	bool dialling;
};

static const struct way ways[] = {
	{ "source-port-taken", source_port_taken, NULL, 16, 15 },
	{ "foreign-source", foreign_source, NULL, 16, 15 },
	{ "fast-open-unused", fast_open, NULL, 6, 70 },
	{ "abandon-at-once", NULL, NULL, 0, 5 },
	{ "abandon-after-300-ms", NULL, NULL, 30, 10 },
	{ "reset-at-once", NULL, NULL, 0, 5, .reset = true },
	{ "reset-after-request", NULL, ask, 0, 5, .reset = true },
	{ "reset-while-waiting", NULL, ask_slow, 20, 10, .reset = true },
	{ "garbage-closed", NULL, ask_to_be_closed, 4, 10 },
	{ "garbage-reset", NULL, ask_to_be_reset, 4, 10 },
	{ "half-close", NULL, close_half, 100, 10 },
	{ "never-read", small_buffer, ask_much, 20, 100 },
	{ "hold-idle", NULL, NULL, MOST_KEPT, 8 },
	{ "hold-answered", NULL, ask_name, 400, 15 },
	{ "hold-unanswered", NULL, ask_nothing_back, 300, 15 },
	{ "give-up-early", NULL, ask_slow, 10, 10 },
	{ "begin-tls", NULL, begin_tls, 200, 15 },
	{ "rising-unused", NULL, NULL, 300, 40, .rising = true },
	{ "rising-slow", NULL, ask_slow, 300, 40, .rising = true },
	{ "rising-closed", NULL, ask_to_be_closed, 4, 40, .rising = true },
	{ "drip-upload", NULL, begin_upload, 200, 20, .drip = true },
	{ "other-device", other_device, NULL, 64, 40 },
	{ "other-device-impatient", other_device_impatient, NULL, 200, 40 },
	{ "signed", signed_segments, NULL, 64, 40 },
	{ "signed-impatient", signed_segments_impatient, NULL, 200, 40 },
	{ "deaf", deaf, NULL, 64, 40 },
	{ "deaf-impatient", deaf_impatient, NULL, 200, 40 },
	{ "ttl-1", one_hop, ask, 16, 15 },
	{ "ask", NULL, ask, 64, 15 },
	{ "one-deaf", deaf_impatient, dials_the_one, 200, 20, .dialling = true },
	{ "one-deafened", NULL, one_deafened, 200, 20 },
	{ "one-unanswered", NULL, one_unanswered, 200, 10 },
	{ "one-slow", NULL, one_ask_slow, 200, 10 },
	{ "one-quick", NULL, one_quick_others_slow, 200, 10 },
	{ "one-closed", NULL, one_closed, 4, 10 },
	{ "one-reset", NULL, one_reset, 4, 10 },
	{ "one-unread", small_buffer, one_unread, 15, 60 },
	{ "one-idle", NULL, one_idle, 300, 8 },
	{ "others-idle", NULL, others_idle, 600, 8 },
	{ "one-upload", NULL, one_upload, 100, 20, .drip = true },
};

static void finish(int fd, const struct way *way)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (way->reset)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

static int keep_on(const struct way *way, double end)
{
	static int kept[MOST_KEPT + 1];
	double start = now(), dripped = start;
	int count = 0, used = 0;

	while (now() < end) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		if (fd >= 0) {
			used++;
			if (way->prepare)
				way->prepare(fd);
			connect(fd, (struct sockaddr *)&target, sizeof(target));
			if (way->use && !((way->dialling || connected(fd)) && way->use(fd)))
				finish(fd, way);
			else
				kept[count++] = fd;
		}
		if (count > way->kept) {
			finish(kept[0], way);
			memmove(kept, kept + 1, --count * sizeof(kept[0]));
		}
		if (way->drip && now() > dripped + 1) {
			dripped = now();
			for (int i = 0; i < count; i++)
				say(kept[i], "d");
		}
		pause_ms(way->rising ? 1 + way->gap_ms * (end - now()) / (end - start) :
				       way->gap_ms);
	}
	return used;
}

/* The kernel takes no IPv4 address for such a socket, and says that the network is unreachable. */
static int ipv6_only(double end)
{
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = target.sin_port };
	char text[64];
	int used = 0;

	snprintf(text, sizeof(text), "::ffff:%s", vip);
	inet_pton(AF_INET6, text, &mapped.sin6_addr);
	while (now() < end) {
		int fds[16];

		for (int i = 0; i < 16; i++) {
			fds[i] = socket(AF_INET6, SOCK_STREAM, 0);
			set(fds[i], IPPROTO_IPV6, IPV6_V6ONLY, 1);
			connect(fds[i], (struct sockaddr *)&mapped, sizeof(mapped));
		}
		pause_ms(250);
		for (int i = 0; i < 16; i++)
			close(fds[i]);
		used += 16;
	}
	return used;
}

/* One socket dials, dissolves the association, and dials again. */
static int same_socket(double end)
{
	struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	int used = 0;

	while (now() < end) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		for (int i = 0; i < 16; i++, used++) {
			connect(fd, (struct sockaddr *)&target, sizeof(target));
			connect(fd, &nowhere, sizeof(nowhere));
		}
		close(fd);
		pause_ms(60);
	}
	return used;
}

/* Children that die in the middle of their requests. */
static int killed(double end)
{
	int used = 0;

	while (now() < end) {
		pid_t child = fork();

		if (!child) {
			for (int i = 0; i < 30; i++) {
				int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

				connect(fd, (struct sockaddr *)&target, sizeof(target));
				say(fd, "S");
			}
			raise(SIGKILL);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
		used += 30;
		pause_ms(200);
	}
	return used;
}

static int attack(const char *name, double end)
{
	if (!strcmp(name, "ipv6-only"))
		return ipv6_only(end);
	if (!strcmp(name, "same-socket"))
		return same_socket(end);
	if (!strcmp(name, "killed"))
		return killed(end);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(name, ways[i].name))
			return keep_on(&ways[i], end);
	fprintf(stderr, "attacker: there is no way %s\n", name);
	exit(2);
}

int main(int count, char **words)
{
	if (count != 8) {
		fprintf(stderr, "attacker WAY VIP PORT SECONDS ONE_NAME ONE_PORT DEVICE\n");
		return 2;
	}
	if (!getuid() || !geteuid()) {
		fprintf(stderr, "attacker: it is to be run without privileges\n");
		return 2;
	}
	vip = words[2];
	one_name = words[5];
	one_port = atoi(words[6]);
	device = words[7];
	target.sin_family = AF_INET;
	target.sin_port = htons(atoi(words[3]));
	inet_pton(AF_INET, vip, &target.sin_addr);
	printf("%d\n", attack(words[1], now() + atof(words[4])));
	return 0;
}
