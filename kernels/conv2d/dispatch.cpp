#include "atrous/kernels/conv2d/dispatch.h"

#include <sstream>

namespace atrous::kernels {

void say_dispatch(const char* direction, Dtype dtype, const Conv2dDims& d, const std::string& chosen) {
  std::ostringstream line;
  line << "conv2d " << direction << ' ' << dtype << " [" << d.batch << ", " << d.in_h << ", " << d.in_w
       << ", " << d.in_channels << "], window " << d.window_h << 'x' << d.window_w << 'x' << d.out_channels
       << ", stride " << d.stride << ", rate " << d.rate << ": " << chosen;
  say_once(line.str());
}

}  // namespace atrous::kernels
