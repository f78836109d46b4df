/* The two ways out of a machine, and the question whose machine it is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

_Noreturn void power_off(uint32_t status); /* 0: all went well */
_Noreturn void power_restart(void);
bool power_is_leulo(void); /* the hypercall gate is there */
