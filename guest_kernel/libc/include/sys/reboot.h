#pragma once

#include "kern/uapi.h"

#define RB_AUTOBOOT REBOOT_RESTART
#define RB_POWER_OFF REBOOT_POWER_OFF

int reboot(int command);
