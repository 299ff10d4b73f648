// Functions of floating-point numbers. The precise and fast variants are the
// same here: the C library's, or correctly rounded.
#pragma once

namespace metal {

// Operands must have one type: where they differ MSL finds the call ambiguous.
// half and bfloat are computed in float and rounded.
#define STANDIN_FLOAT(T) static_assert(::standin::floating<::standin::element<T>>, "needs floating-point operands")
#define STANDIN_FLOAT1(name, value)                                                 \
    template <class T> inline T name(T operand) {                                   \
        STANDIN_FLOAT(T);                                                           \
        return ::standin::each([](float x) -> float { return (value); }, operand);  \
    }
#define STANDIN_FLOAT2(name, value)                                                       \
    template <class T> inline T name(T first, T second) {                                 \
        STANDIN_FLOAT(T);                                                                 \
        return ::standin::each([](float x, float y) -> float { return (value); }, first, second); \
    }

STANDIN_FLOAT1(exp, __builtin_expf(x))
STANDIN_FLOAT1(exp2, __builtin_exp2f(x))
STANDIN_FLOAT1(log, __builtin_logf(x))
STANDIN_FLOAT1(log2, __builtin_log2f(x))
STANDIN_FLOAT1(log10, __builtin_log10f(x))
STANDIN_FLOAT1(sqrt, __builtin_sqrtf(x))
STANDIN_FLOAT1(rsqrt, float(1.0 / __builtin_sqrt(double(x))))
STANDIN_FLOAT1(sin, __builtin_sinf(x))
STANDIN_FLOAT1(cos, __builtin_cosf(x))
STANDIN_FLOAT1(tan, __builtin_tanf(x))
STANDIN_FLOAT1(tanh, __builtin_tanhf(x))
STANDIN_FLOAT1(fabs, __builtin_fabsf(x))
STANDIN_FLOAT1(floor, __builtin_floorf(x))
STANDIN_FLOAT1(ceil, __builtin_ceilf(x))
STANDIN_FLOAT1(trunc, __builtin_truncf(x))
STANDIN_FLOAT1(rint, __builtin_rintf(x))
STANDIN_FLOAT1(round, __builtin_roundf(x))
STANDIN_FLOAT1(sign, x > 0 ? 1.0f : x < 0 ? -1.0f : x == 0 ? x : 0.0f)
STANDIN_FLOAT1(saturate, __builtin_fminf(__builtin_fmaxf(x, 0.0f), 1.0f))
STANDIN_FLOAT2(fmin, __builtin_fminf(x, y))
STANDIN_FLOAT2(fmax, __builtin_fmaxf(x, y))
STANDIN_FLOAT2(fmod, __builtin_fmodf(x, y))
STANDIN_FLOAT2(pow, __builtin_powf(x, y))
STANDIN_FLOAT2(copysign, __builtin_copysignf(x, y))
#undef STANDIN_FLOAT1
#undef STANDIN_FLOAT2

// fma of float is rounded once. That of half goes through double, where the
// product is exact.
template <class T> inline T fma(T a, T b, T c) {
    STANDIN_FLOAT(T);
    if constexpr (::standin::same<::standin::element<T>, float>) {
        return ::standin::each([](float x, float y, float z) { return __builtin_fmaf(x, y, z); }, a, b, c);
    } else {
        return ::standin::each([](auto x, auto y, auto z) { return __builtin_fma(double(x), double(y), double(z)); }, a, b, c);
    }
}

template <class T, int N> inline T dot(vec<T, N> a, vec<T, N> b) {
    STANDIN_FLOAT(T);
    T sum = a[0] * b[0];
    for (int i = 1; i < N; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

// Tests: of scalars only.
#define STANDIN_TEST(name, value)                                                                    \
    template <class T> inline bool name(T operand) {                                                 \
        static_assert(::standin::floating<T>, "needs a floating-point scalar");                      \
        float x = float(operand);                                                                    \
        return (value);                                                                              \
    }
STANDIN_TEST(isnan, __builtin_isnan(x))
STANDIN_TEST(isinf, __builtin_isinf(x))
STANDIN_TEST(isfinite, __builtin_isfinite(x))
STANDIN_TEST(signbit, __builtin_signbit(x))
#undef STANDIN_TEST
#undef STANDIN_FLOAT

// min, max and clamp are for integers too. Of floats, a NaN loses.
template <class T> inline T min(T a, T b) {
    if constexpr (::standin::floating<::standin::element<T>>) {
        return fmin(a, b);
    } else {
        return ::standin::each([](auto x, auto y) { return y < x ? y : x; }, a, b);
    }
}
template <class T> inline T max(T a, T b) {
    if constexpr (::standin::floating<::standin::element<T>>) {
        return fmax(a, b);
    } else {
        return ::standin::each([](auto x, auto y) { return x < y ? y : x; }, a, b);
    }
}
template <class T> inline T clamp(T x, T low, T high) { return min(max(x, low), high); }

template <class T> inline T abs(T a) {
    if constexpr (::standin::floating<::standin::element<T>>) {
        return fabs(a);
    } else {
        return ::standin::each([](auto x) { return x < 0 ? -x : x; }, a);
    }
}

#define STANDIN_VARIANT(name)                                                    \
    namespace name {                                                             \
    using metal::abs, metal::ceil, metal::clamp, metal::copysign, metal::cos;    \
    using metal::exp, metal::exp2, metal::fabs, metal::floor, metal::fma;        \
    using metal::fmax, metal::fmin, metal::fmod, metal::log, metal::log10;       \
    using metal::log2, metal::max, metal::min, metal::pow, metal::rint;          \
    using metal::round, metal::rsqrt, metal::sign, metal::sin, metal::sqrt;      \
    using metal::tan, metal::tanh, metal::trunc;                                 \
    }
STANDIN_VARIANT(precise)
STANDIN_VARIANT(fast)
#undef STANDIN_VARIANT

} // namespace metal
