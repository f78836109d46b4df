#pragma once

#include "kern/uapi.h"

int kill(pid_t pid, int signal);
