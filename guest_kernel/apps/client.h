/* What the clients have in common: an address from text, a connection, a clock, figures. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

/* "10.0.2.2:80", "[fd00::2]:80", or either without the port, which then is `port`, and IPv6 without the
 * brackets too: the length of the address, or 0 if `text` is something else. */
socklen_t parse_address(struct sockaddr_storage *to, const char *text, int port);
/* A connected socket, or -1 with the reason printed. A host may be given by its name (names.h). */
int connect_to(const char *name, const char *address, int port);
uint64_t now_ns(void);
/* "1048576 bytes in 12.345 ms, 84.9 MB/s" */
void print_speed(const char *what, uint64_t bytes, uint64_t ns);
