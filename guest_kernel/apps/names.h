/* Hosts by name: a name server is asked, as /etc/resolv.conf or the kernel tells which [RFC 1035]. */
#pragma once

#include <sys/socket.h>

/* The address of "HOST:PORT", or of "HOST" with `port`: as parse_address() has it, or HOST is a name
 * and looked up. Its length, or 0 with the reason printed after `program`. */
socklen_t find_address(const char *program, struct sockaddr_storage *to, const char *text, int port);
