// Compares the backward (and jvp) of every op linked in with central differences of its forward in 113-bit arithmetic.
// Prints one TSV line per op, draw and input:
//   op draw what size scale math num cond rel ynoise
// scale: largest |difference|; math: |quad backward - difference| / scale; num: |backward - quad backward| / scale; cond: change
// of the quad backward when the inputs move by an ulp / scale; rel: worst |backward - difference| / |difference| of an element.
#include <cstdlib>
#include <memory>
#include <random>
#include "../ops/op.h"
using namespace trial;

struct Tensor { gradus_tensor t{}; std::shared_ptr<char[]> store; };
static size_t width(int dtype, bool q) { return dtype == GRADUS_I64 ? 8 : q ? 16 : dtype == GRADUS_F32 ? 4 : 8; }
static Tensor make(int dtype, int rank, const int64_t* shape, bool q) {
  Tensor r; r.t.dtype = dtype; r.t.rank = rank;
  for (int a = 0; a < rank; ++a) r.t.shape[a] = shape[a];
  size_t n = gradus_numel(&r.t) * width(dtype, q);
  r.store = std::shared_ptr<char[]>(new (std::align_val_t(16)) char[n ? n : 1], [](char* p) { operator delete[](p, std::align_val_t(16)); });
  r.t.data = r.store.get();
  for (int64_t i = 0; i < gradus_numel(&r.t); ++i) {
    if (dtype == GRADUS_I64) ((int64_t*)r.t.data)[i] = -987654321;
    else if (q) ((quad*)r.t.data)[i] = NAN;
    else if (dtype == GRADUS_F32) ((float*)r.t.data)[i] = NAN;
    else ((double*)r.t.data)[i] = NAN;
  }
  return r;
}
static quad get(const gradus_tensor& t, int64_t i, bool q) {
  if (t.dtype == GRADUS_I64) return ((int64_t*)t.data)[i];
  if (q) return ((quad*)t.data)[i];
  if (t.dtype == GRADUS_F32) return ((float*)t.data)[i];
  return ((double*)t.data)[i];
}
static void put(gradus_tensor& t, int64_t i, bool q, quad v) {
  if (t.dtype == GRADUS_I64) ((int64_t*)t.data)[i] = (int64_t)v;
  else if (q) ((quad*)t.data)[i] = v;
  else if (t.dtype == GRADUS_F32) ((float*)t.data)[i] = (float)v;
  else ((double*)t.data)[i] = (double)v;
}
struct Set { std::vector<int64_t> shape; bool has_range = false, has_shape = false; double low = 0, high = 0; };
struct Run {
  const Spec& spec; std::vector<double> attributes; char message[GRADUS_MESSAGE_SIZE];
  std::vector<Tensor> in, out, u;
  bool fail(const char* what) { std::printf("%s\t!\t%s: %s\n", spec.name.c_str(), what, message); return false; }
  gradus_call call() { gradus_call c{}; c.attributes = attributes.data(); c.message = message; message[0] = 0; return c; }
  static std::vector<gradus_tensor> raw(const std::vector<Tensor>& v) { std::vector<gradus_tensor> r; for (auto& t : v) r.push_back(t.t); return r; }
  bool shape_outputs(std::vector<Tensor>& o, bool q) {
    auto i = raw(in); for (auto& t : i) t.data = nullptr;
    std::vector<gradus_tensor> ot(spec.outputs.size()); for (size_t k = 0; k < ot.size(); ++k) ot[k].dtype = spec.outputs[k].dtype;
    gradus_call c = call(); c.inputs = i.data(); c.outputs = ot.data();
    if (spec.shape(&c)) return false;
    o.clear(); for (auto& t : ot) o.push_back(make(t.dtype, t.rank, t.shape, q));
    return true;
  }
  bool forward(const std::vector<Tensor>& x, std::vector<Tensor>& y, bool q) {
    auto i = raw(x), o = raw(y); gradus_call c = call(); c.inputs = i.data(); c.outputs = o.data();
    return !(q ? spec.quad_forward : spec.forward)(&c) || fail("forward");
  }
  bool backward(const std::vector<Tensor>& x, const std::vector<Tensor>& y, const std::vector<Tensor>& cot, std::vector<Tensor>& g, bool q) {
    g.clear();
    for (size_t k = 0; k < x.size(); ++k) { g.push_back(make(x[k].t.dtype, x[k].t.rank, x[k].t.shape, q)); if (!spec.inputs[k].differentiable) g.back().t.data = nullptr; }
    auto i = raw(x), o = raw(y), ut = raw(cot), gt = raw(g);
    for (auto& t : ut) if (t.dtype == GRADUS_I64) t.data = nullptr;
    gradus_call c = call(); c.inputs = i.data(); c.outputs = o.data(); c.cotangents = ut.data(); c.gradients = gt.data();
    return !(q ? spec.quad_backward : spec.backward)(&c) || fail("backward");
  }
};
static std::vector<Tensor> widen(const std::vector<Tensor>& v) {
  std::vector<Tensor> r;
  for (auto& t : v) { r.push_back(make(t.t.dtype, t.t.rank, t.t.shape, true)); for (int64_t i = 0; i < gradus_numel(&t.t); ++i) put(r.back().t, i, true, get(t.t, i, false)); }
  return r;
}
static quad loss(const std::vector<Tensor>& y, const std::vector<Tensor>& u) {
  quad s = 0;
  for (size_t k = 0; k < y.size(); ++k) if (y[k].t.dtype != GRADUS_I64)
    for (int64_t i = 0; i < gradus_numel(&y[k].t); ++i) { quad v = get(y[k].t, i, true); if (finiteq(v)) s += v * get(u[k].t, i, true); }
  return s;
}
int main(int argc, char** argv) {
  int draws = 3, elements = 40; unsigned seed = 1; std::string only; std::vector<std::pair<std::string, Set>> sets; std::vector<std::pair<std::string, double>> attrs; bool fuzz = false;
  for (int a = 1; a < argc; ++a) {
    std::string s = argv[a];
    if (s == "--draws") draws = atoi(argv[++a]); else if (s == "--op") only = argv[++a]; else if (s == "--seed") seed = atoi(argv[++a]); else if (s == "--fuzz") fuzz = true; else if (s == "--elements") elements = atoi(argv[++a]);
    else { size_t e = s.find('='); std::string n = s.substr(0, e), v = s.substr(e + 1);
      if (n[0] == '@') { attrs.emplace_back(n.substr(1), atof(v.c_str())); continue; }
      Set st; size_t colon = v.find(':'); std::string sh = v.substr(0, colon);
      st.has_shape = !sh.empty(); if (sh == "scalar") sh = "";
      for (size_t p = 0; p < sh.size();) { st.shape.push_back(atoll(sh.c_str() + p)); p = sh.find(',', p); if (p == std::string::npos) break; ++p; }
      if (colon != std::string::npos) { st.has_range = true; sscanf(v.c_str() + colon, ":%lf:%lf", &st.low, &st.high); }
      sets.emplace_back(n, st); }
  }
  for (const Spec& spec : registry()) {
    int fuzzed = 0;
    if (!only.empty() && only != spec.name) continue;
    std::mt19937_64 rng(seed);
    for (int draw = 0; draw < draws; ++draw) {
      Run run{spec, {}, {}, {}, {}, {}};
      for (auto& a : spec.attributes) { double v = a.value; for (auto& [n, w] : attrs) if (n == a.name) v = w; run.attributes.push_back(v); }
      
      for (size_t k = 0; k < spec.inputs.size(); ++k) {
        auto input = spec.inputs[k]; double low = input.low, high = input.high;
        for (auto& [n, s] : sets) if (n == input.name) { if (s.has_shape) { input.rank = s.shape.size(); for (size_t a = 0; a < s.shape.size(); ++a) input.shape[a] = s.shape[a]; } if (s.has_range) low = s.low, high = s.high; }
        if (fuzz) { // sizes by letter; or one more everywhere; or anything at all
          int mode = draw % 8;
          if (mode < 6) {
            input.rank = 0;
            for (const Axis& axis : spec.input_axes[k]) {
              std::mt19937_64 by_letter(draw * 1000 + axis.letter);
              if (axis.many) { int extra = by_letter() % 4; for (int e = 0; e < extra; ++e) input.shape[input.rank++] = by_letter() % 5; }
              else input.shape[input.rank++] = axis.letter ? (mode == 5 ? by_letter() % 100 : by_letter() % 10) : axis.declared[0];
            }
          } else if (mode == 6) for (int a = 0; a < input.rank; ++a) ++input.shape[a];
          else { input.rank = rng() % 5; for (int a = 0; a < input.rank; ++a) input.shape[a] = rng() % 5; }
        }
        Tensor t = make(input.dtype, input.rank, input.shape, false);
        double range = low == 0 && high == 0 ? 2 : high - low;
        for (int64_t i = 0; i < gradus_numel(&t.t); ++i) {
          double v; bool near;
          do {
            if (input.dtype == GRADUS_I64) v = (double)((int64_t)low + (int64_t)(rng() % (uint64_t)((int64_t)high - (int64_t)low + 1)));
            else if (low == 0 && high == 0) v = std::normal_distribution<double>()(rng);
            else v = std::uniform_real_distribution<double>(low, high)(rng);
            near = false; for (int q = 0; q < input.kink_count; ++q) near |= fabs(v - input.kinks[q]) < 1e-3 * range;
          } while (near);
          put(t.t, i, false, v);
        }
        run.in.push_back(t);
      }
      std::vector<Tensor> y, yq, g, gq;
      if (!run.shape_outputs(y, false)) { if (!fuzz || draw < 0) std::printf("%s\t!\trefused: %s\n", spec.name.c_str(), run.message); continue; }
      if (fuzz) { // sanitizers watch
        if (!run.forward(run.in, y, false)) continue;
        ++fuzzed; std::vector<Tensor> cot; for (auto& t : y) { cot.push_back(make(t.t.dtype, t.t.rank, t.t.shape, false)); for (int64_t i = 0; i < gradus_numel(&t.t); ++i) put(cot.back().t, i, false, 0.5); }
        run.backward(run.in, y, cot, g, false); continue;
      }
      run.shape_outputs(yq, true);
      std::vector<Tensor> xq = widen(run.in), cot;
      for (auto& t : y) { cot.push_back(make(t.t.dtype, t.t.rank, t.t.shape, false)); for (int64_t i = 0; i < gradus_numel(&t.t); ++i) put(cot.back().t, i, false, std::normal_distribution<double>()(rng)); }
      std::vector<Tensor> cq = widen(cot);
      if (!run.forward(run.in, y, false) || !run.forward(xq, yq, true)) continue;
      quad ynoise = 0, yscale = 0; 
      for (size_t k = 0; k < y.size(); ++k) for (int64_t i = 0; i < gradus_numel(&y[k].t); ++i) { quad a = get(y[k].t, i, false), b = get(yq[k].t, i, true); if (finiteq(b) || finiteq(a)) { ynoise = fmaxq(ynoise, fabsq(a - b)); if (a != a || b != b) ynoise = NAN; yscale = fmaxq(yscale, fabsq(b)); } }
      if (!run.backward(run.in, y, cot, g, false) || !run.backward(xq, yq, cq, gq, true)) continue;
      // conditioning
      std::vector<std::vector<quad>> moved(spec.inputs.size());
      for (int trial = 0; trial < 2; ++trial) {
        std::vector<Tensor> xp = widen(run.in), yp, gp;
        for (size_t k = 0; k < xp.size(); ++k) if (spec.inputs[k].dtype != GRADUS_I64) for (int64_t i = 0; i < gradus_numel(&xp[k].t); ++i)
          put(xp[k].t, i, true, get(xp[k].t, i, true) * (1 + (rng() % 2 ? 1 : -1) * (spec.inputs[k].dtype == GRADUS_F32 ? (quad)6e-8 : (quad)1.1e-16)));
        run.shape_outputs(yp, true);
        if (run.forward(xp, yp, true) && run.backward(xp, yp, cq, gp, true))
          for (size_t k = 0; k < xp.size(); ++k) if (spec.inputs[k].differentiable) { moved[k].resize(gradus_numel(&xp[k].t)); for (int64_t i = 0; i < (int64_t)moved[k].size(); ++i) moved[k][i] = fmaxq(moved[k][i], fabsq(get(gp[k].t, i, true) - get(gq[k].t, i, true))); }
      }
      std::vector<Tensor> yt; run.shape_outputs(yt, true);
      for (size_t k = 0; k < spec.inputs.size(); ++k) {
        if (!spec.inputs[k].differentiable) continue;
        int64_t n = gradus_numel(&run.in[k].t);
        double range = spec.inputs[k].low == 0 && spec.inputs[k].high == 0 ? 1 : fmax(fabs(spec.inputs[k].low), fabs(spec.inputs[k].high));
        std::vector<int64_t> pick; for (int64_t i = 0; i < n; ++i) pick.push_back(i);
        if (n > elements) { std::shuffle(pick.begin() + 1, pick.end() - 1, rng); std::swap(pick[1], pick[n - 1]); pick.resize(elements); }
        auto step = [&](int64_t i) { return (quad)1e-15 * fmaxq(fabsq(get(xq[k].t, i, true)), (quad)(1e-3 * range)); };
        auto difference = [&](const std::vector<std::pair<int64_t, quad>>& direction) {
          quad l[2]; std::vector<Tensor> xp = xq; xp[k] = make(xq[k].t.dtype, xq[k].t.rank, xq[k].t.shape, true);
          for (int side = 0; side < 2; ++side) {
            for (int64_t i = 0; i < n; ++i) put(xp[k].t, i, true, get(xq[k].t, i, true));
            for (auto [i, h] : direction) put(xp[k].t, i, true, get(xq[k].t, i, true) + (side ? -h : h));
            for (size_t q = 0; q < yt.size(); ++q) for (int64_t i = 0; i < gradus_numel(&yt[q].t); ++i) put(yt[q].t, i, true, yt[q].t.dtype == GRADUS_I64 ? 0 : NAN);
            run.forward(xp, yt, true); l[side] = loss(yt, cq);
          }
          return l[0] - l[1];
        };
        quad scale = 0, math = 0, num = 0, cond = 0, rel = 0; std::vector<quad> dq; int64_t worst = -1; bool bad = false;
        for (int64_t i : pick) { quad h = step(i); dq.push_back(difference({{i, h}}) / (2 * h)); scale = fmaxq(scale, fabsq(dq.back())); }
        for (size_t p = 0; p < pick.size(); ++p) {
          int64_t i = pick[p]; quad a = get(g[k].t, i, false), b = get(gq[k].t, i, true);
          if (!finiteq(a)) bad = true;
          math = fmaxq(math, fabsq(b - dq[p])); if (!finiteq(b)) math = HUGE_VAL;
          quad r = fabsq(a - dq[p]) / fmaxq(fabsq(dq[p]), scale * (quad)1e-300); if (dq[p] != 0 && r > rel) rel = r, worst = i;
        }
        for (int64_t i = 0; i < n; ++i) { quad a = get(g[k].t, i, false), b = get(gq[k].t, i, true); num = fmaxq(num, fabsq(a - b)); if (!finiteq(a)) num = HUGE_VAL; if (!moved[k].empty()) cond = fmaxq(cond, moved[k][i]); scale = fmaxq(scale, n > elements && finiteq(b) ? fabsq(b) : scale); }
        quad dense = 0;
        if (n > 1) for (int t = 0; t < 2; ++t) {
          std::vector<std::pair<int64_t, quad>> direction; quad expected = 0, size = 0;
          for (int64_t i = 0; i < n; ++i) { quad h = step(i) * (quad)(2.0 * (rng() % 1000) / 1000 - 1); direction.emplace_back(i, h); quad e = 2 * h * get(gq[k].t, i, true); expected += e; size = fmaxq(size, fabsq(e)); }
          quad got = difference(direction); if (size > 0 || got != 0) dense = fmaxq(dense, fabsq(got - expected) / fmaxq(size, fabsq(got)));
        }
        quad s = scale > 0 ? scale : 1;
        std::printf("%s\t%d\t%s\t%lld\t%.3g\t%.2g\t%.2g\t%.2g\t%.2g\t%.2g\t%.2g\t%lld%s\n", spec.name.c_str(), draw, spec.inputs[k].name, (long long)n, (double)scale, (double)(math / s), (double)(num / s), (double)(cond / s), (double)rel, (double)dense, (double)(ynoise / (yscale > 0 ? yscale : 1)), (long long)worst, bad ? "\tnonfinite" : "");
      }
      if (spec.jvp) {
        auto tangent = [&](bool q) { std::mt19937_64 r(7 + draw); std::vector<Tensor> v; for (size_t k = 0; k < run.in.size(); ++k) { v.push_back(make(run.in[k].t.dtype, run.in[k].t.rank, run.in[k].t.shape, q)); for (int64_t i = 0; i < gradus_numel(&v[k].t); ++i) put(v[k].t, i, q, (float)std::normal_distribution<double>()(r)); if (!spec.inputs[k].differentiable) v[k].t.data = nullptr; } return v; };
        auto t64 = tangent(false), tq = tangent(true);
        std::vector<Tensor> dy, y2; run.shape_outputs(dy, false);
        auto i = Run::raw(run.in), o = Run::raw(y), tt = Run::raw(t64), d = Run::raw(dy); for (auto& t : d) if (t.dtype == GRADUS_I64) t.data = nullptr;
        gradus_call c = run.call(); c.inputs = i.data(); c.outputs = o.data(); c.tangents = tt.data(); c.output_tangents = d.data();
        if (spec.jvp(&c)) { run.fail("jvp"); continue; }
        std::vector<Tensor> yp[2]; quad h = 1e-16;
        for (int side = 0; side < 2; ++side) { auto xp = widen(run.in); for (size_t k = 0; k < xp.size(); ++k) if (tq[k].t.data) for (int64_t e = 0; e < gradus_numel(&xp[k].t); ++e) put(xp[k].t, e, true, get(xq[k].t, e, true) + (side ? -h : h) * get(tq[k].t, e, true)); run.shape_outputs(yp[side], true); run.forward(xp, yp[side], true); }
        quad scale = 0, err = 0, rel = 0; int64_t n = 0;
        for (size_t k = 0; k < dy.size(); ++k) if (dy[k].t.dtype != GRADUS_I64) for (int64_t e = 0; e < gradus_numel(&dy[k].t); ++e, ++n) { quad e1 = (get(yp[0][k].t, e, true) - get(yp[1][k].t, e, true)) / (2 * h), a = get(dy[k].t, e, false); scale = fmaxq(scale, fabsq(e1)); err = fmaxq(err, fabsq(a - e1)); if (!finiteq(a)) err = HUGE_VAL; if (e1 != 0) rel = fmaxq(rel, fabsq(a - e1) / fabsq(e1)); }
        std::printf("%s\t%d\tJVP\t%lld\t%.3g\t%.2g\t0\t0\t%.2g\t0\t0\t-1\n", spec.name.c_str(), draw, (long long)n, (double)scale, (double)(err / (scale > 0 ? scale : 1)), (double)rel);
      }
      std::fflush(stdout);
    }
    if (fuzz) std::printf("%s\tfuzzed\t%d\n", spec.name.c_str(), fuzzed);
  }
}
