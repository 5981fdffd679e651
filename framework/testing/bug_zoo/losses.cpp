#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {

Exercises loss_exercises(Generator&) { return {}; }

}  // namespace gradus::testing::zoo
