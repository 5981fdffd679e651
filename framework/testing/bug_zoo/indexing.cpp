#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {

Exercises indexing_exercises(Generator&) { return {}; }

}  // namespace gradus::testing::zoo
