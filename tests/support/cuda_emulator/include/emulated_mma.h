#pragma once

#include "tests/support/cuda_emulator/mma.h"
