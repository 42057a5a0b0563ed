#pragma once

#include "tests/support/cuda_emulator/wgmma.h"
