// How the ops of this trial are registered: a few lines each, against the contract in gradus_op.h.
//
//   op("affine", "a x + b").input("a", "m=3 k=4").input("x", "k").input("b", "m").output("y", "m")
//       .forward(BODY { ... c.x(0)[i * c['k'] + j] ... c.y()[i] ... })
//       .backward(BODY { ... c.u()[i] ... c.g(0)[i * c['k'] + j] ... });
//
// A shape is written as axes: `m=3` names a size and says what it is unless the user asks for another, `m` is the size
// named before, `*b=2,3` any number of axes (c['b'] is their product), `4` a size that cannot change. What does not fit is
// refused. Bodies are templates over the scalar type, so that verify/ can run the same text in 113-bit arithmetic.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "framework/testing/gradus_op.h"
#include "scalar.h"

namespace trial __attribute__((visibility("hidden"))) {  // so that libraries in one process keep apart

  struct Axis {
    char letter = 0;                // 0: a fixed size
    bool many = false;              // any number of axes
    std::vector<int64_t> declared;  // empty: as declared before
  };

  struct Sizes {
    const gradus_call* raw = nullptr;
    const std::vector<gradus_attribute>* attributes = nullptr;
    int64_t count[128];                                        // by letter; -1: unknown
    std::vector<std::pair<char, std::vector<int64_t>>> lists;  // of the `*` axes
    int64_t operator[](char letter) const { return count[static_cast<unsigned char>(letter)]; }
    double a(const char* name) const {
      for (size_t i = 0; i < attributes->size(); ++i)
        if (!std::strcmp((*attributes)[i].name, name)) return raw->attributes[i];
      return NAN;
    }
    int64_t n(const char* name) const { return static_cast<int64_t>(a(name)); }
  };

  struct Spec {
    std::string name, summary;
    std::deque<std::string> strings;
    std::vector<gradus_input> inputs;
    std::vector<gradus_output> outputs;
    std::vector<gradus_attribute> attributes;
    std::vector<std::pair<double, double>> allowed;  // of the attributes
    std::vector<std::vector<Axis>> input_axes, output_axes;
    std::vector<std::pair<char, std::function<int64_t(const Sizes&)>>> derived;
    std::vector<std::pair<std::string, std::function<bool(const Sizes&)>>> requirements;
    int64_t declared[128] = {};
    std::vector<int64_t> declared_list[128];
    gradus_function shape = nullptr, forward = nullptr, backward = nullptr, jvp = nullptr;
    gradus_function quad_forward = nullptr, quad_backward = nullptr, quad_jvp = nullptr;  // used by verify/
    const char* keep(const std::string& text) { return strings.emplace_back(text).c_str(); }
  };

  inline std::deque<Spec>& registry() {
    static std::deque<Spec> specs;
    return specs;
  }

  inline std::vector<Axis> parse_axes(const std::string& text) {
    std::vector<Axis> axes;
    for (size_t at = 0; at < text.size();) {
      if (text[at] == ' ') {
        ++at;
        continue;
      }
      const size_t end = std::min(text.find(' ', at), text.size());
      std::string token = text.substr(at, end - at);
      Axis axis;
      if (token[0] == '*') {
        axis.many = true;
        token.erase(0, 1);
      }
      if (token[0] >= '0' && token[0] <= '9') {
        axis.declared = {std::stoll(token)};
      } else {
        axis.letter = token[0];
        for (size_t digit = token.find('=') + 1; digit && digit < token.size(); ++digit)
          if (token[digit - 1] == '=' || token[digit - 1] == ',') axis.declared.push_back(std::stoll(token.substr(digit)));
      }
      axes.push_back(axis);
      at = end;
    }
    return axes;
  }

  inline bool refuse(const gradus_call* call, const std::string& why) {
    std::snprintf(call->message, GRADUS_MESSAGE_SIZE, "%s", why.c_str());
    return false;
  }

  // Finds the sizes that the letters stand for. False: the shapes do not fit, and the call's message says why.
  inline bool match(const Spec& spec, const gradus_call* call, Sizes& sizes) {
    sizes.raw = call;
    sizes.attributes = &spec.attributes;
    std::fill_n(sizes.count, 128, -1);
    for (size_t i = 0; i < spec.attributes.size(); ++i)
      if (!(call->attributes[i] >= spec.allowed[i].first && call->attributes[i] <= spec.allowed[i].second))
        return refuse(call, std::string(spec.attributes[i].name) + " is out of range");
    for (size_t i = 0; i < spec.inputs.size(); ++i) {
      const gradus_tensor& tensor = call->inputs[i];
      const auto& axes = spec.input_axes[i];
      const std::string who = spec.inputs[i].name;
      const bool many = std::any_of(axes.begin(), axes.end(), [](const Axis& axis) { return axis.many; });
      const int64_t extra = tensor.rank - static_cast<int64_t>(axes.size()) + many;
      if (extra < 0 || (!many && extra)) return refuse(call, who + " has the wrong rank");
      int64_t at = 0;
      for (const Axis& axis : axes) {
        const size_t letter = static_cast<unsigned char>(axis.letter);
        if (axis.many) {
          std::vector<int64_t> list(tensor.shape + at, tensor.shape + at + extra);
          at += extra;
          const auto known =
              std::find_if(sizes.lists.begin(), sizes.lists.end(), [&](auto& l) { return l.first == axis.letter; });
          if (known != sizes.lists.end() && known->second != list) return refuse(call, who + " has other leading sizes");
          if (known == sizes.lists.end()) sizes.lists.emplace_back(axis.letter, list);
          sizes.count[letter] = std::accumulate(list.begin(), list.end(), int64_t{1}, std::multiplies<>());
        } else {
          const int64_t size = tensor.shape[at++];
          if (size < 1) return refuse(call, who + " is empty");
          if (!axis.letter && size != axis.declared[0]) return refuse(call, who + " has a size that has to be fixed");
          if (axis.letter && sizes.count[letter] >= 0 && sizes.count[letter] != size)
            return refuse(call, who + " does not fit: size '" + axis.letter + "'");
          if (axis.letter) sizes.count[letter] = size;
        }
      }
    }
    for (const auto& [why, fits] : spec.requirements)
      if (!fits(sizes)) return refuse(call, why);
    for (const auto& [letter, size] : spec.derived) {
      sizes.count[static_cast<unsigned char>(letter)] = size(sizes);
      if (sizes[letter] < 1) return refuse(call, std::string("nothing left: size '") + letter + "'");
    }
    return true;
  }

  inline int set_shapes(const Spec& spec, const gradus_call* call) {
    Sizes sizes;
    if (!match(spec, call, sizes)) return 1;
    for (size_t k = 0; k < spec.outputs.size(); ++k) {
      gradus_tensor& tensor = call->outputs[k];
      tensor.rank = 0;
      for (const Axis& axis : spec.output_axes[k]) {
        std::vector<int64_t> list{axis.letter ? sizes[axis.letter] : axis.declared[0]};
        if (axis.many)
          for (const auto& [letter, many] : sizes.lists)
            if (letter == axis.letter) list = many;
        for (const int64_t size : list) {
          if (tensor.rank == GRADUS_MAX_RANK) return refuse(call, "too many axes"), 1;
          tensor.shape[tensor.rank++] = size;
        }
      }
    }
    return 0;
  }

  // What a body sees. T is the op's scalar type, Single<T> that of its f32 tensors if it is otherwise in f64.
  template <class T> struct Call : Sizes {
    const T* x(int i = 0) const { return static_cast<const T*>(raw->inputs[i].data); }
    const Single<T>* xs(int i = 0) const { return static_cast<const Single<T>*>(raw->inputs[i].data); }
    const int64_t* index(int i) const { return static_cast<const int64_t*>(raw->inputs[i].data); }
    T* y(int k = 0) const { return static_cast<T*>(raw->outputs[k].data); }
    Single<T>* ys(int k = 0) const { return static_cast<Single<T>*>(raw->outputs[k].data); }
    int64_t* yi(int k = 0) const { return static_cast<int64_t*>(raw->outputs[k].data); }
    const T* u(int k = 0) const { return static_cast<const T*>(raw->cotangents[k].data); }
    const Single<T>* us(int k = 0) const { return static_cast<const Single<T>*>(raw->cotangents[k].data); }
    T* g(int i = 0) const { return static_cast<T*>(raw->gradients[i].data); }
    Single<T>* gs(int i = 0) const { return static_cast<Single<T>*>(raw->gradients[i].data); }
    const T* dx(int i = 0) const { return static_cast<const T*>(raw->tangents[i].data); }
    T* dy(int k = 0) const { return static_cast<T*>(raw->output_tangents[k].data); }
    int64_t numel(int i = 0) const { return gradus_numel(&raw->inputs[i]); }
    int64_t rank(int i = 0) const { return raw->inputs[i].rank; }
    int64_t size(int i, int axis) const { return raw->inputs[i].shape[axis]; }
  };

  template <class F, class T> struct Slot {  // a body, as the contract wants it: a function without a context
    static inline const Spec* spec = nullptr;
    static int run(const gradus_call* raw) {
      try {
        Call<T> call;
        if (!match(*spec, raw, call)) return 1;
        F{}(call);
        return 0;
      } catch (const std::exception& error) { return refuse(raw, error.what()), 1; }
    }
    static int shape(const gradus_call* raw) {
      try {
        return set_shapes(*spec, raw);
      } catch (const std::exception& error) { return refuse(raw, error.what()), 1; }
    }
  };

  struct Range {  // both 0: standard normal
    double low = 0, high = 0;
    std::vector<double> kinks = {};
  };

  template <class T> class Builder {
   public:
    Builder(const char* name, const char* summary) : spec_(registry().emplace_back()) {
      spec_.name = name;
      spec_.summary = summary;
    }
    Builder& input(const char* name, const char* axes, Range range = {}) { return add(name, axes, range, dtype(), 1); }
    Builder& input_f32(const char* name, const char* axes, Range range = {}) { return add(name, axes, range, GRADUS_F32, 1); }
    Builder& input_f64(const char* name, const char* axes, Range range = {}) { return add(name, axes, range, GRADUS_F64, 1); }
    Builder& constant(const char* name, const char* axes, Range range = {}) { return add(name, axes, range, dtype(), 0); }
    Builder& index(const char* name, const char* axes, double low, double high) {
      return add(name, axes, {low, high}, GRADUS_I64, 0);
    }
    Builder& output(const char* name, const char* axes) { return add_output(name, axes, dtype()); }
    Builder& output_f32(const char* name, const char* axes) { return add_output(name, axes, GRADUS_F32); }
    Builder& output_f64(const char* name, const char* axes) { return add_output(name, axes, GRADUS_F64); }
    Builder& output_i64(const char* name, const char* axes) { return add_output(name, axes, GRADUS_I64); }
    Builder& attribute(const char* name, double value, double low = -1e9, double high = 1e9) {
      const bool has_range = low > -1e9 || high < 1e9;
      spec_.attributes.push_back({spec_.keep(name), value, has_range ? low : 0, has_range ? high : 0});
      spec_.allowed.emplace_back(low, high);
      return *this;
    }
    Builder& let(char letter, std::function<int64_t(const Sizes&)> size) {
      spec_.derived.emplace_back(letter, std::move(size));
      return *this;
    }
    Builder& require(const char* why, std::function<bool(const Sizes&)> fits) {
      spec_.requirements.emplace_back(why, std::move(fits));
      return *this;
    }
    template <class F> Builder& forward(F) {
      Slot<F, T>::spec = &spec_;
      spec_.shape = Slot<F, T>::shape;
      spec_.forward = Slot<F, T>::run;
      spec_.quad_forward = quad_run<F>();
      return *this;
    }
    template <class F> Builder& backward(F) {
      Slot<F, T>::spec = &spec_;
      spec_.backward = Slot<F, T>::run;
      spec_.quad_backward = quad_run<F>();
      return *this;
    }
    template <class F> Builder& jvp(F) {
      Slot<F, T>::spec = &spec_;
      spec_.jvp = Slot<F, T>::run;
      spec_.quad_jvp = quad_run<F>();
      return *this;
    }

   private:
    static constexpr int32_t dtype() { return sizeof(T) == 4 ? GRADUS_F32 : GRADUS_F64; }
    template <class F> gradus_function quad_run() {
#ifdef TRIAL_VERIFY
      Slot<F, quad>::spec = &spec_;
      return Slot<F, quad>::run;
#else
      return nullptr;
#endif
    }
    Builder& add(const char* name, const char* text, const Range& range, int32_t dtype, int32_t differentiable) {
      gradus_input input{};
      input.name = spec_.keep(name);
      input.dtype = dtype;
      input.differentiable = differentiable;
      std::vector<Axis> axes = parse_axes(text);
      for (const Axis& axis : axes) {
        std::vector<int64_t>& known = spec_.declared_list[static_cast<unsigned char>(axis.letter)];
        if (!axis.declared.empty()) known = axis.declared;
        for (const int64_t size : known) input.shape[input.rank++] = size;
      }
      input.low = range.low;
      input.high = range.high;
      for (const double kink : range.kinks) input.kinks[input.kink_count++] = kink;
      spec_.inputs.push_back(input);
      spec_.input_axes.push_back(std::move(axes));
      return *this;
    }
    Builder& add_output(const char* name, const char* axes, int32_t dtype) {
      spec_.outputs.push_back({spec_.keep(name), dtype, 0});
      spec_.output_axes.push_back(parse_axes(axes));
      return *this;
    }
    Spec& spec_;
  };

  inline Builder<double> op(const char* name, const char* summary) { return {name, summary}; }
  inline Builder<float> op_f32(const char* name, const char* summary) { return {name, summary}; }

#define BODY []<class T>([[maybe_unused]] Call<T> c)

  struct upto {  // for (auto i : upto(n))
    int64_t count;
    explicit upto(int64_t n) : count(n) {}
    struct iterator {
      int64_t i;
      int64_t operator*() const { return i; }
      void operator++() { ++i; }
      bool operator!=(const iterator& other) const { return i < other.i; }
    };
    iterator begin() const { return {0}; }
    iterator end() const { return {count}; }
  };

  // y = f(x), element by element.
  template <class T, class F, class D>
  Builder<T> each(const char* name, const char* summary, const Range& range, const char* axes) {
    Builder<T> builder(name, summary);
    builder.input("x", axes, range)
        .output("y", "*s")
        .forward([]<class S>(Call<S> c) {
          for (auto i : upto(c.numel())) c.y()[i] = static_cast<S>(F{}(c.x()[i]));
        })
        .backward([]<class S>(Call<S> c) {
          for (auto i : upto(c.numel())) c.g()[i] = static_cast<S>(c.u()[i] * D{}(c.x()[i]));
        });
    return builder;
  }
  template <class F, class D>
  Builder<double> unary(const char* name, const char* summary, const Range& range, F, D, const char* axes = "*s=3,4") {
    return each<double, F, D>(name, summary, range, axes);
  }
  template <class F, class D>
  Builder<float> unary_f32(const char* name, const char* summary, const Range& range, F, D, const char* axes = "*s=3,4") {
    return each<float, F, D>(name, summary, range, axes);
  }

  // y = f(a, b), element by element, for two inputs of one shape.
  template <class F, class A, class B>
  Builder<double> binary(const char* name, const char* summary, const Range& a, const Range& b, F, A, B) {
    Builder<double> builder(name, summary);
    builder.input("a", "*s=3,4", a)
        .input("b", "*s", b)
        .output("y", "*s")
        .forward([]<class S>(Call<S> c) {
          for (auto i : upto(c['s'])) c.y()[i] = F{}(c.x(0)[i], c.x(1)[i]);
        })
        .backward([]<class S>(Call<S> c) {
          for (auto i : upto(c['s'])) {
            c.g(0)[i] = c.u()[i] * A{}(c.x(0)[i], c.x(1)[i]);
            c.g(1)[i] = c.u()[i] * B{}(c.x(0)[i], c.x(1)[i]);
          }
        });
    return builder;
  }

  // Ops on the last axis: r.n elements at a time.
  template <class T> struct Row : Call<T> {
    int64_t row, n;
    const T* x;
    T* y;
    const T* u;
    T* g;
  };
#define ROW []<class T>([[maybe_unused]] Row<T> r)

  template <class F, bool reduces, bool is_backward> struct OnRows {
    template <class T> void operator()(const Call<T>& c) const {
      const int64_t n = c['n'], step = reduces ? 1 : n;
      for (auto row : upto(c['b'])) {
        T* y = c.y() ? c.y() + row * step : nullptr;
        if constexpr (is_backward) F{}(Row<T>{c, row, n, c.x() + row * n, y, c.u() + row * step, c.g() + row * n});
        else F{}(Row<T>{c, row, n, c.x() + row * n, y, nullptr, nullptr});
      }
    }
  };
  // Row to row of the same length.
  template <class T = double, class F, class D>
  Builder<T> row_op(const char* name, const char* summary, const Range& range, const char* axes, F, D) {
    Builder<T> builder(name, summary);
    builder.input("x", axes, range).output("y", "*b n").forward(OnRows<F, false, false>{}).backward(OnRows<D, false, true>{});
    return builder;
  }
  // Row to one number, r.y[0].
  template <class T = double, class F, class D>
  Builder<T> row_sum(const char* name, const char* summary, const Range& range, const char* axes, F, D) {
    Builder<T> builder(name, summary);
    builder.input("x", axes, range).output("y", "*b").forward(OnRows<F, true, false>{}).backward(OnRows<D, true, true>{});
    return builder;
  }

  template <class T> using vec = std::vector<T>;

  inline int64_t wrap(int64_t i, int64_t n) { return ((i % n) + n) % n; }  // indices count modulo the size

  template <class T> T dot(int64_t n, const T* a, const T* b) {
    T sum = 0;
    for (auto i : upto(n)) sum += a[i] * b[i];
    return sum;
  }
  template <class T> T sum(int64_t n, const T* a) { return std::accumulate(a, a + n, T(0)); }
  template <class T> T largest(int64_t n, const T* a) { return *std::max_element(a, a + n); }

  enum Form { plain, turned };  // of a matrix in gemm: as it is, or transposed
  // y (m x n) = a (m x k) b (k x n), or += with `add`.
  template <class T>
  void gemm(int64_t m, int64_t k, int64_t n, const T* a, Form form_a, const T* b, Form form_b, T* y, bool add = false) {
    for (auto i : upto(m))
      for (auto j : upto(n)) {
        T sum = add ? y[i * n + j] : T(0);
        for (auto p : upto(k))
          sum += (form_a == plain ? a[i * k + p] : a[p * m + i]) * (form_b == plain ? b[p * n + j] : b[j * k + p]);
        y[i * n + j] = sum;
      }
  }

  template <class T> void softmax(int64_t n, const T* x, T* y) {
    const T top = largest(n, x);
    T total = 0;
    for (auto i : upto(n)) total += y[i] = exp(x[i] - top);
    for (auto i : upto(n)) y[i] /= total;
  }
  template <class T> void softmax_backward(int64_t n, const T* y, const T* u, T* g) {
    const T inner = dot(n, y, u);
    for (auto i : upto(n)) g[i] = y[i] * (u[i] - inner);
  }
  template <class T> T logsumexp(int64_t n, const T* x) {
    const T top = largest(n, x);
    T total = 0;
    for (auto i : upto(n)) total += exp(x[i] - top);
    return top + log(total);
  }
  template <class T> T sigmoid(T x) { return 1 / (1 + exp(-x)); }
  template <class T> T softplus(T x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
  template <class T> T sign(T x) { return x > 0 ? T(1) : x < 0 ? T(-1) : T(0); }

  // OPS { op(...)...; } registers when the library is loaded.
  struct Registration {
    explicit Registration(void (*add)()) { add(); }
  };
#define OPS                                        \
  static void add_ops();                           \
  static const Registration registration(add_ops); \
  static void add_ops()

  inline const gradus_library* library() {
    static std::vector<gradus_op> ops;
    if (ops.empty())
      for (const Spec& spec : registry())
        ops.push_back({spec.name.c_str(), spec.summary.c_str(), static_cast<int32_t>(spec.inputs.size()),
                       static_cast<int32_t>(spec.outputs.size()), static_cast<int32_t>(spec.attributes.size()),
                       spec.inputs.data(), spec.outputs.data(), spec.attributes.data(), spec.shape, spec.forward, spec.backward,
                       spec.jvp});
    static const gradus_library library{GRADUS_OP_VERSION, static_cast<int32_t>(ops.size()), ops.data()};
    return &library;
  }

}  // namespace trial

extern "C" __attribute__((visibility("default"), used)) inline const gradus_library* gradus_describe(void) {
  return trial::library();
}
