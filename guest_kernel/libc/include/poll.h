#pragma once

#include "kern/uapi.h"

int poll(struct pollfd *fds, nfds_t count, int timeout_ms);
