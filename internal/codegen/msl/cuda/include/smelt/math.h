// Functions of numbers. precise and fast are the same here: within two units in the
// last place, or rounded once where the name of the CUDA function says so.
#pragma once

// Of vectors, lane by lane.
#define SMELT_FLOAT1(name, value) \
    template <class T> inline T name(const T &a) { return ::smelt::each<T>([](float x) -> float { return value; }, a); }
#define SMELT_FLOAT2(name, value)                                                               \
    template <class T> inline T name(const T &a, const T &b) {                                  \
        return ::smelt::each<T>([](float x, float y) -> float { return value; }, a, b);         \
    }

namespace metal {

namespace precise {

SMELT_FLOAT1(exp, ::expf(x))
SMELT_FLOAT1(exp2, ::exp2f(x))
SMELT_FLOAT1(log, ::logf(x))
SMELT_FLOAT1(log2, ::log2f(x))
SMELT_FLOAT1(sqrt, __fsqrt_rn(x))
SMELT_FLOAT1(rsqrt, __frsqrt_rn(x))
SMELT_FLOAT1(sin, ::sinf(x))
SMELT_FLOAT1(cos, ::cosf(x))
SMELT_FLOAT1(tan, ::tanf(x))
SMELT_FLOAT1(tanh, ::tanhf(x))
SMELT_FLOAT2(pow, ::powf(x, y))

} // namespace precise

namespace fast = precise;

// These stand in the text without a variant. Those of scalars are CUDA's, which are
// found first; where CUDA has none of that name and type, these are.
SMELT_FLOAT1(fabs, ::fabsf(x))
SMELT_FLOAT1(floor, ::floorf(x))
SMELT_FLOAT1(ceil, ::ceilf(x))
SMELT_FLOAT1(trunc, ::truncf(x))
SMELT_FLOAT1(rint, ::rintf(x))
SMELT_FLOAT2(fmin, ::fminf(x, y))
SMELT_FLOAT2(fmax, ::fmaxf(x, y))

template <class T> inline T fma(const T &a, const T &b, const T &c) {
    return ::smelt::each<T>([](float x, float y, float z) { return __fmaf_rn(x, y, z); }, a, b, c);
}

// Of floats, a NaN loses.
template <class T> inline T min(const T &a, const T &b) {
    if constexpr (::smelt::same<::smelt::element<T>, float>) {
        return fmin(a, b);
    } else {
        return ::smelt::each<T>([](auto x, auto y) { return y < x ? y : x; }, a, b);
    }
}
template <class T> inline T max(const T &a, const T &b) {
    if constexpr (::smelt::same<::smelt::element<T>, float>) {
        return fmax(a, b);
    } else {
        return ::smelt::each<T>([](auto x, auto y) { return x < y ? y : x; }, a, b);
    }
}
template <class T> inline T clamp(const T &x, const T &low, const T &high) { return metal::min(metal::max(x, low), high); }

} // namespace metal

#undef SMELT_FLOAT1
#undef SMELT_FLOAT2
