// Ops that let exceptions out.
#include <stdexcept>

#include "framework/testing/gradus_op.h"

namespace {

int throws_error(const gradus_call*) { throw std::runtime_error("the table is empty"); }
int throws_number(const gradus_call*) { throw 42; }
int nothing(const gradus_call*) { return 0; }

const gradus_input input = {"x", GRADUS_F64, 1, 1, {2}, 0, 0, 0, {}};
const gradus_output output = {"y", GRADUS_F64};
const gradus_op ops[] = {
    {"throws_error", nullptr, 1, 1, 0, &input, &output, nullptr, nullptr, throws_error, nothing, nullptr},
    {"throws_number", nullptr, 1, 1, 0, &input, &output, nullptr, throws_number, nothing, nothing, nullptr},
};
const gradus_library library = {GRADUS_OP_VERSION, 2, ops};

}  // namespace

const gradus_library* gradus_describe() { return &library; }
