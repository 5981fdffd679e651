#include "framework/ops/registry.h"

#include "framework/ops/define_op.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {

const std::vector<const OpSpec*>& all_ops() {
  static const std::vector<const OpSpec*> ops = {
      // arithmetic
      &add_op(),
      &sub_op(),
      &mul_op(),
      &div_op(),
      &maximum_op(),
      &minimum_op(),
      // functions of one tensor
      &neg_op(),
      &exp_op(),
      &log_op(),
      &sqrt_op(),
      &tanh_op(),
      &sigmoid_op(),
      &relu_op(),
      &abs_op(),
      &erf_op(),
      &gelu_op(),
      &gelu_tanh_op(),
      &pow_op(),
      &clamp_op(),
      // views, ranges, copies
      &identity_op(),
      &reshape_op(),
      &permute_op(),
      &broadcast_to_op(),
      &slice_op(),
      &unslice_op(),
      &clone_op(),
      &cast_op(),
      // reductions
      &sum_op(),
      &mean_op(),
      &var_op(),
      &sum_to_shape_op(),
      &max_op(),
      &argmax_op(),
      // choosing, joining, indexing
      &equal_op(),
      &less_op(),
      &greater_op(),
      &not_equal_op(),
      &less_equal_op(),
      &greater_equal_op(),
      &where_op(),
      &masked_fill_op(),
      &concat_op(),
      &stack_op(),
      &repeat_op(),
      &gather_op(),
      &scatter_add_op(),
      &index_select_op(),
      &embedding_op(),
      &embedding_add_op(),
      // neural networks
      &matmul_op(),
      &linear_op(),
      &softmax_op(),
      &log_softmax_op(),
      &layer_norm_op(),
      &dropout_op(),
      &attention_op(),
      &cross_entropy_op(),
      &dropout_add_op(),
      &dropout_add_layer_norm_op(),
      &rotary_embedding_op(),
      // training steps
      &clip_by_global_norm_op(),
      &adamw_op(),
  };
  return ops;
}

const OpSpec& find_op(const std::string& name) {
  for (const OpSpec* op : all_ops()) {
    if (op->name == name) return *op;
  }
  const std::vector<const OpSpec*> own = defined_ops();
  for (const OpSpec* op : own) {
    if (op->name == name) return *op;
  }
  std::string names;
  for (const OpSpec* op : all_ops()) names += (names.empty() ? "" : ", ") + op->name;
  for (const OpSpec* op : own) names += ", " + op->name;
  fail<UsageError>("there is no op '{}'; the ops are: {}", name, names);
}

}  // namespace gradus
