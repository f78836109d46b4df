/* No handlers: a signal ends the process, or is ignored. */
#pragma once

#include "kern/uapi.h"

typedef void (*signal_action)(int);
#define SIG_DFL ((signal_action)0)
#define SIG_IGN ((signal_action)SIG_IGN_VALUE)
#define SIG_ERR ((signal_action)-1)

signal_action signal(int number, signal_action action);
int kill(pid_t pid, int number);
