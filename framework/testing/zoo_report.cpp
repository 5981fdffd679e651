#include "framework/testing/zoo_report.h"

#include <algorithm>

namespace gradus::testing {
namespace {

/// Of a zoo that nobody has visited: some bugs show in what a call leaves to the next.
std::vector<CheckReport> reports(std::uint64_t seed, double cotangent_scale) {
  std::vector<CheckReport> result;
  CheckOptions options;
  options.seed = seed;
  options.cotangent_scale = cotangent_scale;
  for (const Bug& bug : bug_zoo(seed)) result.push_back(check(bug.subject, bug.inputs, options));
  return result;
}

Answer judge(const Bug& bug, const std::optional<Hint>& hint) {
  if (!hint) return Answer::none;
  if (hint->cause == bug.cause) return Answer::precise;
  return std::ranges::count(bug.also, hint->cause) ? Answer::near : Answer::wrong;
}

std::string yes(bool value) { return value ? "yes" : "**no**"; }

/// A vertical bar would end the cell.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

}  // namespace

std::vector<Sighting> visit_zoo(std::uint64_t seed) {
  const std::vector<Bug> bugs = bug_zoo(seed);
  const std::vector<CheckReport> at_one = reports(seed, 1), at_a_millionth = reports(seed, 1e-6);
  std::vector<Sighting> sightings;
  for (std::size_t n = 0; n < bugs.size(); ++n) {
    sightings.push_back({.bug = bugs[n].name.substr(bugs[n].op.size() + 2),
                         .op = bugs[n].op,
                         .summary = bugs[n].summary,
                         .rejected = at_one[n].verdict == Verdict::disagree,
                         .rejected_when_small = at_a_millionth[n].verdict == Verdict::disagree,
                         .hint = at_one[n].hint,
                         .answer = judge(bugs[n], at_one[n].hint)});
  }
  return sightings;
}

std::string to_markdown(const std::vector<Sighting>& sightings) {
  std::string rows;
  std::size_t rejected = 0, count[4] = {};
  for (const Sighting& seen : sightings) {
    rejected += seen.rejected && seen.rejected_when_small;
    ++count[static_cast<int>(seen.answer)];
    std::string cause = seen.hint ? to_string(seen.hint->cause) : "";
    if (seen.answer == Answer::near) cause += " (near)";
    if (seen.answer == Answer::wrong) cause += " (wrong)";
    rows += fmt::format("| {} | {} | {} | {} / {} | {} | {} |\n", cell(seen.bug), seen.op, cell(seen.summary),
                        yes(seen.rejected), yes(seen.rejected_when_small), cause,
                        seen.hint && seen.hint->share ? fmt::format("{:.0f} %", 100 * *seen.hint->share) : "");
  }
  return fmt::format(
             "# The bug zoo\n\n"
             "Ways to get a gradient wrong, each seeded into an op that is right without it, and what the gradient "
             "checker makes of\nthem. The ops are in `framework/testing/bug_zoo/`; a test compares this page with what "
             "`gradus gradcheck --zoo` prints.\n\n"
             "{} bugs, {} of them rejected both with upstream gradients near 1 and near a millionth. The cause is "
             "named "
             "precisely\nfor {}, nearly for {}, not at all for {}, wrongly for {}. \"Explains\" is the share of the "
             "difference between the\nclaimed and the true gradient that the named cause accounts for,\nwhere it "
             "predicts a gradient.\n\n"
             "| Bug | Op | What is wrong | Rejected at 1 / 1e-6 | Cause named | Explains |\n"
             "|---|---|---|---|---|---|\n",
             sightings.size(), rejected, count[0], count[1], count[2], count[3]) +
         rows;
}

}  // namespace gradus::testing
