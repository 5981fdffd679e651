// Everything for programs that use Gradus; Gradus itself includes single parts. The same path works in its own tree and
// where it is installed.
#pragma once

#include "framework/autograd/autograd.h"
#include "framework/base/error.h"
#include "framework/data/batch.h"
#include "framework/data/vocabulary.h"
#include "framework/io/safetensors.h"
#include "framework/nn/layers.h"
#include "framework/nn/module.h"
#include "framework/ops/define_op.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "framework/ops/registry.h"
#include "framework/optim/adamw.h"
#include "framework/optim/schedule.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/print.h"
#include "framework/tensor/tensor.h"
#include "framework/testing/gradcheck.h"
#include "framework/testing/op_checks.h"
#include "framework/train/trainer.h"
