// SPDX-License-Identifier: GPL-2.0
/*
 * A load of bare connects, fast enough that it measures the path and not itself.
 *
 *   connect-load serve ADDR PORT            accept and close, until killed or SECONDS_MAX
 *   connect-load dial ADDR PORT N [SPREAD]  N connects in turn; prints nanoseconds per connect
 *
 * With SPREAD the connects go round SPREAD addresses, of which ADDR is the first.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_MAX 1800

static struct sockaddr_in address_of(const char *ip, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, ip, &address.sin_addr) != 1) {
		fprintf(stderr, "connect-load: %s is not an IPv4 address\n", ip);
		exit(2);
	}
	return address;
}

/* Closing with a reset leaves no TIME_WAIT, so the ports last. */
static void reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static int serve(const char *ip, const char *port)
{
	struct sockaddr_in address = address_of(ip, port);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int yes = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(listener, 4096)) {
		perror("connect-load: listen");
		return 1;
	}
	alarm(SECONDS_MAX);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		/* A reset from here could overtake the client's connect(). */
		if (fd >= 0)
			close(fd);
	}
}

static int dial(const char *ip, const char *port, long connects, long spread)
{
	struct sockaddr_in address = address_of(ip, port);
	const unsigned int first = ntohl(address.sin_addr.s_addr);
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < connects; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		address.sin_addr.s_addr = htonl(first + i % spread);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
			perror("connect-load: connect");
			return 1;
		}
		reset(fd);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.1f\n",
	       ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / connects);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "dial"))
		return dial(argv[2], argv[3], atol(argv[4]), argc == 6 ? atol(argv[5]) : 1);
	fprintf(stderr, "usage: connect-load serve ADDR PORT | "
			"connect-load dial ADDR PORT N [SPREAD]\n");
	return 2;
}
