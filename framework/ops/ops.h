// All ops of Gradus, as functions of tensors.
#pragma once

#include "framework/ops/arithmetic.h"
#include "framework/ops/unary.h"
#include "framework/ops/views.h"
#include "framework/ops/reductions.h"
