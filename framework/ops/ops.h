// All ops of Gradus, as functions of tensors.
#pragma once

#include "framework/ops/arithmetic.h"
#include "framework/ops/unary.h"
#include "framework/ops/views.h"
#include "framework/ops/reductions.h"
#include "framework/ops/select.h"
#include "framework/ops/joining.h"
#include "framework/ops/indexing.h"
#include "framework/ops/matmul.h"
#include "framework/ops/softmax.h"
#include "framework/ops/layer_norm.h"
#include "framework/ops/dropout.h"
#include "framework/ops/attention.h"
#include "framework/ops/cross_entropy.h"
#include "framework/ops/optimizer_steps.h"
