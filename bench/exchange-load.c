// SPDX-License-Identifier: GPL-2.0
/*
 * Requests on a connection that is kept alive, one after the other.
 *
 *   exchange-load serve ADDR PORT       answer each read with 64 bytes, until killed
 *   exchange-load ask ADDR PORT N CONNECTIONS
 *
 * asks N times in turn on each of CONNECTIONS at once, and prints nanoseconds per
 * exchange. One connection mostly waits; many keep the CPUs busy.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_MAX 1800
#define BYTES 64
#define CLIENTS_MAX 64

static struct sockaddr_in address_of(const char *ip, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };

	if (inet_pton(AF_INET, ip, &address.sin_addr) != 1) {
		fprintf(stderr, "exchange-load: %s is not an IPv4 address\n", ip);
		exit(2);
	}
	return address;
}

static void no_delay(int fd)
{
	int yes = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

static int serve(const char *ip, const char *port)
{
	struct sockaddr_in address = address_of(ip, port);
	struct pollfd fds[1 + CLIENTS_MAX] = { { .events = POLLIN } };
	char bytes[BYTES] = { 0 };
	int count = 1, yes = 1;

	fds[0].fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fds[0].fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fds[0].fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fds[0].fd, 64)) {
		perror("exchange-load: listen");
		return 1;
	}
	alarm(SECONDS_MAX);
	puts("ready");
	fflush(stdout);
	while (poll(fds, count, -1) > 0) {
		for (int i = count - 1; i > 0; i--) {
			if (!fds[i].revents)
				continue;
			if (read(fds[i].fd, bytes, sizeof(bytes)) <= 0 ||
			    write(fds[i].fd, bytes, sizeof(bytes)) <= 0) {
				close(fds[i].fd);
				fds[i] = fds[--count];
			}
		}
		if (fds[0].revents && count <= CLIENTS_MAX) {
			fds[count] = (struct pollfd){ .fd = accept(fds[0].fd, NULL, NULL),
						      .events = POLLIN };
			no_delay(fds[count++].fd);
		}
	}
	return 1;
}

static int failed(const char *what)
{
	perror(what);
	return 1;
}

static int ask(const char *ip, const char *port, long exchanges, int connections)
{
	struct sockaddr_in address = address_of(ip, port);
	char bytes[BYTES] = { 0 };
	struct timespec from, to;
	int fds[CLIENTS_MAX];

	for (int c = 0; c < connections; c++) {
		fds[c] = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fds[c], (struct sockaddr *)&address, sizeof(address)))
			return failed("exchange-load: connect");
		no_delay(fds[c]);
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < exchanges; i++) {
		for (int c = 0; c < connections; c++)
			if (write(fds[c], bytes, sizeof(bytes)) != BYTES)
				return failed("exchange-load: write");
		for (int c = 0; c < connections; c++)
			if (read(fds[c], bytes, sizeof(bytes)) != BYTES)
				return failed("exchange-load: read");
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.1f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) /
				 (exchanges * connections));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	if (argc == 6 && !strcmp(argv[1], "ask") && atoi(argv[5]) > 0 &&
	    atoi(argv[5]) <= CLIENTS_MAX)
		return ask(argv[2], argv[3], atol(argv[4]), atoi(argv[5]));
	fprintf(stderr, "usage: exchange-load serve ADDR PORT | "
			"exchange-load ask ADDR PORT N CONNECTIONS\n");
	return 2;
}
