#pragma once

#include <sys/socket.h>

#define INADDR_ANY 0u
#define INADDR_LOOPBACK 0x7f000001u

#define htons(x) __builtin_bswap16(x)
#define ntohs(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)
#define ntohl(x) __builtin_bswap32(x)
