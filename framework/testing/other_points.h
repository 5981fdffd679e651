// Points to ask again at: a cause that is one is found there, too. They are made of the values that the inputs have, so
// that they lie where the op is meant to be used.
#pragma once

#include <memory>

#include "framework/testing/hint_finder.h"
#include "framework/testing/hints.h"

namespace gradus::testing {

class OtherPoints {
 public:
  OtherPoints(const Subject& subject, const Line& line, const Tensors& cotangents, const CheckReport& report,
              std::size_t input, const JudgeElsewhere& judge);
  OtherPoints(OtherPoints&&);
  ~OtherPoints();

  // Each is made when it is first asked for, with an upstream gradient of its own; null where nothing can be told
  // there.
  HintFinder* shuffled();  ///< the values of every input at other places, ids exchanged for each other
  HintFinder* inner();     ///< only values from the middle half of those of each input

 private:
  struct Point;
  struct Asked {
    bool tried = false;
    std::unique_ptr<Point> point;
  };
  enum class Kind { shuffled, shuffled_but_integers, inner };
  HintFinder* find(Asked& asked, std::initializer_list<Kind> kinds);
  std::unique_ptr<Point> make(Kind kind) const;
  Tensors inputs_of(Kind kind) const;

  const Subject& subject_;
  const Tensors inputs_;
  const Tensors& cotangents_;
  const CheckReport& report_;
  const std::size_t input_;
  const JudgeElsewhere& judge_;
  Asked shuffled_, inner_;
};

}  // namespace gradus::testing
