#pragma once

// The headers that nearly every test reads, compiled once for all of them.
#include "atrous/autograd/graph.h"
#include "tests/support/catch.h"
