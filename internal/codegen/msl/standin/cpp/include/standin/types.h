// Scalars, vectors, constructors of vectors, as_type, select.
#pragma once

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;
typedef __bf16 bfloat;
typedef unsigned long size_t;

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX 3.402823466e+38f
#define HALF_MAX half(65504.0f)
#define MAXFLOAT FLT_MAX
#define M_PI_F 3.14159265358979323846f

constexpr half operator""h(long double v) { return half(v); }

namespace metal {

template <class T, int N> using vec = T __attribute__((ext_vector_type(N)));

} // namespace metal

#define STANDIN_VECTORS(type)                \
    typedef ::metal::vec<type, 2> type##2;   \
    typedef ::metal::vec<type, 3> type##3;   \
    typedef ::metal::vec<type, 4> type##4;
STANDIN_VECTORS(char)
STANDIN_VECTORS(uchar)
STANDIN_VECTORS(short)
STANDIN_VECTORS(ushort)
STANDIN_VECTORS(int)
STANDIN_VECTORS(uint)
STANDIN_VECTORS(long)
STANDIN_VECTORS(ulong)
STANDIN_VECTORS(half)
STANDIN_VECTORS(float)
#undef STANDIN_VECTORS

// Comparing vectors gives, in clang, integers of the operands' size, 0 or -1;
// so these are the comparisons of 32-bit lanes.
typedef int2 bool2;
typedef int3 bool3;
typedef int4 bool4;

namespace standin {

template <class T> struct shape {
    typedef T element;
    static constexpr int lanes = 1;
};
template <class T, int N> struct shape<T __attribute__((ext_vector_type(N)))> {
    typedef T element;
    static constexpr int lanes = N;
};
template <class T> using element = typename shape<T>::element;
template <class T> constexpr int lanes = shape<T>::lanes;

template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;
template <class T> constexpr bool floating = same<T, float> || same<T, half> || same<T, bfloat>;
template <class T>
constexpr bool integral = same<T, int> || same<T, uint> || same<T, long> || same<T, ulong> || same<T, short> ||
                          same<T, ushort> || same<T, char> || same<T, signed char> || same<T, uchar>;

// each applies a function to every lane of vectors of one type, or to scalars.
template <class T, class F, class... More> inline T each(F f, T x, More... more) {
    if constexpr (lanes<T> == 1) {
        return T(f(x, more...));
    } else {
        T out;
        for (int i = 0; i < lanes<T>; i++) {
            out[i] = element<T>(f(element<T>(x[i]), element<T>(more[i])...));
        }
        return out;
    }
}

// make is a vector of its operands' lanes; a single scalar fills it.
template <class V, class... A> inline V make(A... operands) {
    constexpr int given = (lanes<A> + ...);
    static_assert(given == lanes<V> || (sizeof...(A) == 1 && given == 1), "a vector needs as many lanes as it has");
    V out;
    if constexpr (given == 1) {
        out = V((element<V>(operands), ...));
    } else {
        int at = 0;
        auto put = [&](auto x) {
            if constexpr (lanes<decltype(x)> == 1) {
                out[at++] = element<V>(x);
            } else {
                for (int i = 0; i < lanes<decltype(x)>; i++) {
                    out[at++] = element<V>(x[i]);
                }
            }
        };
        (put(operands), ...);
    }
    return out;
}

} // namespace standin

namespace metal {

template <class T, class U> inline T as_type(U v) {
    static_assert(sizeof(T) == sizeof(U), "as_type needs as many bytes as it has");
    return __builtin_bit_cast(T, v);
}

template <class T> inline T select(T no, T yes, bool condition) {
    static_assert(::standin::lanes<T> == 1, "select of vectors needs a vector of conditions");
    return condition ? yes : no;
}
template <class T, class C, int N> inline vec<T, N> select(vec<T, N> no, vec<T, N> yes, vec<C, N> condition) {
    vec<T, N> out;
    for (int i = 0; i < N; i++) {
        out[i] = condition[i] ? yes[i] : no[i];
    }
    return out;
}

} // namespace metal

// C++ has no constructor of these vectors from several operands. A macro with
// parameters is replaced only where a bracket follows, so types stay types.
#define char2(...) ::standin::make<::char2>(__VA_ARGS__)
#define char3(...) ::standin::make<::char3>(__VA_ARGS__)
#define char4(...) ::standin::make<::char4>(__VA_ARGS__)
#define uchar2(...) ::standin::make<::uchar2>(__VA_ARGS__)
#define uchar3(...) ::standin::make<::uchar3>(__VA_ARGS__)
#define uchar4(...) ::standin::make<::uchar4>(__VA_ARGS__)
#define short2(...) ::standin::make<::short2>(__VA_ARGS__)
#define short3(...) ::standin::make<::short3>(__VA_ARGS__)
#define short4(...) ::standin::make<::short4>(__VA_ARGS__)
#define ushort2(...) ::standin::make<::ushort2>(__VA_ARGS__)
#define ushort3(...) ::standin::make<::ushort3>(__VA_ARGS__)
#define ushort4(...) ::standin::make<::ushort4>(__VA_ARGS__)
#define int2(...) ::standin::make<::int2>(__VA_ARGS__)
#define int3(...) ::standin::make<::int3>(__VA_ARGS__)
#define int4(...) ::standin::make<::int4>(__VA_ARGS__)
#define uint2(...) ::standin::make<::uint2>(__VA_ARGS__)
#define uint3(...) ::standin::make<::uint3>(__VA_ARGS__)
#define uint4(...) ::standin::make<::uint4>(__VA_ARGS__)
#define long2(...) ::standin::make<::long2>(__VA_ARGS__)
#define long3(...) ::standin::make<::long3>(__VA_ARGS__)
#define long4(...) ::standin::make<::long4>(__VA_ARGS__)
#define ulong2(...) ::standin::make<::ulong2>(__VA_ARGS__)
#define ulong3(...) ::standin::make<::ulong3>(__VA_ARGS__)
#define ulong4(...) ::standin::make<::ulong4>(__VA_ARGS__)
#define half2(...) ::standin::make<::half2>(__VA_ARGS__)
#define half3(...) ::standin::make<::half3>(__VA_ARGS__)
#define half4(...) ::standin::make<::half4>(__VA_ARGS__)
#define float2(...) ::standin::make<::float2>(__VA_ARGS__)
#define float3(...) ::standin::make<::float3>(__VA_ARGS__)
#define float4(...) ::standin::make<::float4>(__VA_ARGS__)
#define bool2(...) (::standin::make<::bool2>(__VA_ARGS__) != 0)
#define bool3(...) (::standin::make<::bool3>(__VA_ARGS__) != 0)
#define bool4(...) (::standin::make<::bool4>(__VA_ARGS__) != 0)
