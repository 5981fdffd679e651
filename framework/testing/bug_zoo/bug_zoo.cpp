#include "framework/testing/bug_zoo.h"

#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing {
namespace {

using namespace zoo;

Arrays to_arrays(const Tensors& tensors) {
  Arrays arrays;
  for (const Tensor& tensor : tensors) arrays.push_back(to_array(tensor));
  return arrays;
}

/// `backward` as the checker wants it: undefined upstream gradients are zeros, ids and masks get none.
Subject make_subject(const Exercise& exercise, const Backward& backward) {
  Subject subject;
  subject.name = exercise.op;
  subject.inputs = exercise.inputs;
  subject.outputs = exercise.outputs;
  for (const Tensor& value : exercise.values) subject.differentiable.push_back(is_floating(value.dtype()));
  subject.forward = [forward = exercise.forward](const Tensors& inputs) {
    Tensors outputs;
    for (const Array& output : forward(to_arrays(inputs))) outputs.push_back(to_tensor(output));
    return outputs;
  };
  subject.backward = [forward = exercise.forward, backward](const Tensors& inputs, const Tensors& cotangents) {
    const Arrays arrays = to_arrays(inputs);
    Arrays upstream;
    for (std::size_t k = 0; k < cotangents.size(); ++k)
      upstream.push_back(cotangents[k].defined() ? to_array(cotangents[k]) : Array(forward(arrays)[k].shape));
    Tensors gradients;
    for (const Array& gradient : backward(arrays, upstream))
      gradients.push_back(gradient.values.empty() ? Tensor() : to_tensor(gradient));
    return gradients;
  };
  return subject;
}

Subject make_subject(const Exercise& exercise, const Mistake& mistake) {
  if (const auto* backward = std::get_if<Backward>(&mistake.wrong)) return make_subject(exercise, *backward);
  Subject subject = make_subject(exercise, exercise.backward);
  std::get<Damage>(mistake.wrong)(subject);
  return subject;
}

Exercises all_exercises(std::uint64_t seed) {
  Exercises all;
  std::uint64_t stream = 0;
  for (auto family : {linear_algebra_exercises, broadcasting_exercises, normalisation_exercises, attention_exercises,
                      elementwise_exercises, indexing_exercises, loss_exercises, contract_exercises, dropout_exercises,
                      sharing_exercises}) {
    Generator generator(seed, stream += 100);
    for (Exercise& exercise : family(generator)) all.push_back(std::move(exercise));
  }
  return all;
}

}  // namespace

std::vector<Bug> bug_zoo(std::uint64_t seed) {
  std::vector<Bug> bugs;
  for (const Exercise& exercise : all_exercises(seed))
    for (const Mistake& mistake : exercise.mistakes)
      bugs.push_back({.name = exercise.op + ": " + mistake.name,
                      .op = exercise.op,
                      .summary = mistake.summary,
                      .cause = mistake.cause,
                      .also = mistake.also,
                      .subject = make_subject(exercise, mistake),
                      .inputs = exercise.values});
  return bugs;
}

std::vector<CorrectOp> zoo_ops(std::uint64_t seed) {
  std::vector<CorrectOp> ops;
  for (const Exercise& exercise : all_exercises(seed))
    ops.push_back({exercise.op, make_subject(exercise, exercise.backward), exercise.values});
  return ops;
}

}  // namespace gradus::testing
