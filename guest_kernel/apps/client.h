/* What the clients have in common: an address from text, a connection, a clock, figures. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct sockaddr_in;

/* Four numbers below 256 and perhaps a port, else `port`: 0, or -1 if `text` is something else. */
int parse_address(struct sockaddr_in *to, const char *text, int port);
/* "10.0.2.2:80", or without the port, which then is `port`. A connected socket, or -1 with the reason
 * printed. */
int connect_to(const char *name, const char *address, int port);
uint64_t now_ns(void);
/* "1048576 bytes in 12.345 ms, 84.9 MB/s" */
void print_speed(const char *what, uint64_t bytes, uint64_t ns);
