#pragma once

// Everything a program needs: #include <atrous/atrous.h>

#include "atrous/autograd/batch_norm.h"
#include "atrous/autograd/conv_transpose2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/separable_conv2d.h"
#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/gradcheck.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/reduce.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/softmax.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/core/tensor.h"
#include "atrous/io/colormap.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"
