#pragma once

// Each file of rows registers them here; main calls all.

namespace atrous::bench {

void register_layers();
void register_models();

}  // namespace atrous::bench
