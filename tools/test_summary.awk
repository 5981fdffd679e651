# Reads what `ctest --output-junit` writes; prints why each skipped test was skipped, and last the count:
#   skipped: cuda_device_test: no CUDA device
#   49 passed, 0 failed, 1 skipped
# A test skips itself, and says why in a line with the word "skipped". One that ctest could not start is called skipped
# too in its report: it has failed.
function plain(text) {
  gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text); gsub(/&quot;/, "\"", text); gsub(/&apos;/, "'", text)
  gsub(/&amp;/, "\\&", text)
  gsub(/^[[:space:]]+|[[:space:]]+$/, "", text)
  return text
}
function attribute(name) {
  if (!match($0, "[[:space:]]" name "=\"[^\"]*\"")) return ""
  return plain(substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4))
}
/<testcase / { ++total; name = attribute("name"); status = attribute("status"); why = said = "" }
/<skipped / { why = attribute("message"); next }
why ~ /^SKIP_/ && said == "" && /skipped/ {
  said = $0
  gsub(/<\/?system-out>/, "", said)
  said = plain(said)
  sub(/^skipped: */, "", said)
  sub(/: skipped$/, "", said)
}
/<\/testcase>/ {
  if (status == "run") ++passed
  else if (status == "disabled" || why ~ /^SKIP_/) {
    ++skipped
    print "skipped: " name ": " (said != "" ? said : why != "" ? why : status)
  }
}
END { printf "%d passed, %d failed, %d skipped\n", passed, total - passed - skipped, skipped }
