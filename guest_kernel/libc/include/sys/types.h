#pragma once

#include "kern/uapi.h"
