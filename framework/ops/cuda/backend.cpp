#include "framework/ops/cuda/backend.h"

#include "framework/ops/cuda/families.h"

namespace gradus {

void install_cuda() {
  cuda::install_memory();
  cuda::install_elements();
  cuda::install_attention();
  cuda::install_dropout();
  cuda::install_elementwise();
  cuda::install_indexing();
  cuda::install_optimizer();
  cuda::install_products();
  cuda::install_reductions();
  cuda::install_rows();
}

}  // namespace gradus
