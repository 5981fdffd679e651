// CUDA kernels of the ops that read and add by index. The records have checked the indices.
#include "framework/kernels/cuda/indexing.h"

#include "framework/kernels/elements.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::cuda {
namespace {

/// Slices of `table` along `axis` by the positions in `index`.
void select_slices(const Tensor& out, const Tensor& table, const Tensor& index, int axis) {
  const Tensor from = elements::contiguous(table), positions = elements::contiguous(index);
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= table.shape()[i];
  for (int i = axis + 1; i < table.rank(); ++i) inner *= table.shape()[i];
  index_select(from.bytes(), positions.device_data<std::int64_t>(), out.bytes(), outer, table.shape()[axis],
               positions.numel(), inner * size_in_bytes(table.dtype()), compute_stream());
}

void gather_elements(ForwardCall& call) {
  const Tensor x = elements::contiguous(call.input(0)), index = elements::contiguous(call.input(1));
  visit_dtype(x.dtype(), [&]<class T>() {
    gather<T>(x.device_data<T>(), index.device_data<std::int64_t>(), call.output(0).device_data<T>(), x.shape(),
              index.shape(), normalize_axis(call.integer("axis"), x.rank()), compute_stream());
  });
}

void scatter_elements(ForwardCall& call) {
  const Tensor source = elements::contiguous(call.input(0)), index = elements::contiguous(call.input(1));
  const Shape& shape = call.promised()[0].shape;
  visit_floating_dtype(source.dtype(), [&]<class T>() {
    scatter_add<T>(source.device_data<T>(), index.device_data<std::int64_t>(), call.output(0).device_data<T>(), shape,
                   index.shape(), normalize_axis(call.integer("axis"), shape.rank()), compute_stream());
  });
}

void add_rows(ForwardCall& call) {
  const Tensor source = elements::contiguous(call.input(0)), ids = elements::contiguous(call.input(1));
  const std::int64_t count = ids.numel(), rows = call.integer("rows"), columns = source.shape()[1];
  visit_floating_dtype(source.dtype(), [&]<class T>() {
    const Tensor partials =
        Tensor::empty({embedding_add_partials(count, rows, columns)}, dtype_of<Arithmetic<T>>, source.device());
    embedding_add<T>(source.device_data<T>(), ids.device_data<std::int64_t>(), call.output(0).device_data<T>(),
                     partials.device_data<Arithmetic<T>>(), count, rows, columns, compute_stream());
  });
}

}  // namespace

std::int64_t first_outside(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except) {
  const Tensor packed = elements::contiguous(index), left = zeros({1}, DType::i64, index.device());
  find_outside(static_cast<unsigned long long*>(left.bytes()), packed.device_data<std::int64_t>(), packed.numel(), size,
               except, compute_stream());
  const std::int64_t from_the_end = left.to_vector<std::int64_t>()[0];
  return from_the_end == 0 ? -1 : index.numel() - from_the_end;
}

void install_indexing() {
  const auto select = [](ForwardCall& call) {
    select_slices(call.output(0), call.input(0), call.input(1),
                  normalize_axis(call.integer("axis"), call.input(0).rank()));
  };
  const auto embed = [](ForwardCall& call) { select_slices(call.output(0), call.input(0), call.input(1), 0); };
  install_kernels(Device::Kind::cuda, index_select_op(), {.forward = select, .bf16 = true});
  install_kernels(Device::Kind::cuda, embedding_op(), {.forward = embed, .bf16 = true});
  install_kernels(Device::Kind::cuda, gather_op(), {.forward = gather_elements, .bf16 = true});
  install_kernels(Device::Kind::cuda, scatter_add_op(), {.forward = scatter_elements, .bf16 = true});
  install_kernels(Device::Kind::cuda, embedding_add_op(), {.forward = add_rows, .bf16 = true});
}

}  // namespace gradus::cuda
