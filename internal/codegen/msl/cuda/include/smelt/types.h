// Scalars, vectors, constructors of vectors, as_type, select. The vectors are
// CUDA's own, whose layout is Metal's.
#pragma once

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fc00000)
#endif
#define FLT_MAX 3.402823466e+38f
#define MAXFLOAT FLT_MAX
#define M_PI_F 3.14159265358979323846f

// half holds the bits; it computes in float and rounds, as the conversions say.
struct half {
    half() = default;
    explicit half(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }

    ushort bits;
};
struct __align__(4) half2 {
    half x, y;
};
struct __align__(8) half3 {
    half x, y, z;
};
struct __align__(8) half4 {
    half x, y, z, w;
};

struct bool2 {
    bool x, y;
};
struct bool3 {
    bool x, y, z;
};
struct bool4 {
    bool x, y, z, w;
};

namespace smelt {

template <class A, class B> struct same_type { static constexpr bool value = false; };
template <class A> struct same_type<A, A> { static constexpr bool value = true; };
template <class A, class B> constexpr bool same = same_type<A, B>::value;

// shape is what a vector is made of; a scalar has one lane.
template <class T> struct shape {
    typedef T element;
    static constexpr int lanes = 1;
};
#define SMELT_SHAPES(name, type)                          \
    template <> struct shape<::name##2> {                 \
        typedef type element;                             \
        static constexpr int lanes = 2;                   \
    };                                                    \
    template <> struct shape<::name##3> {                 \
        typedef type element;                             \
        static constexpr int lanes = 3;                   \
    };                                                    \
    template <> struct shape<::name##4> {                 \
        typedef type element;                             \
        static constexpr int lanes = 4;                   \
    };
SMELT_SHAPES(char, signed char)
SMELT_SHAPES(uchar, uchar)
SMELT_SHAPES(short, short)
SMELT_SHAPES(ushort, ushort)
SMELT_SHAPES(int, int)
SMELT_SHAPES(uint, uint)
SMELT_SHAPES(long, long)
SMELT_SHAPES(ulong, ulong)
SMELT_SHAPES(half, half)
SMELT_SHAPES(float, float)
SMELT_SHAPES(bool, bool)
#undef SMELT_SHAPES

template <class T> using element = typename shape<T>::element;
template <class T> constexpr int lanes = shape<T>::lanes;

// lane_of is a lane by its number, known when compiled.
template <int I, class T> inline auto lane_of(const T &v) {
    if constexpr (lanes<T> == 1) {
        return v;
    } else if constexpr (I == 0) {
        return v.x;
    } else if constexpr (I == 1) {
        return v.y;
    } else if constexpr (I == 2) {
        return v.z;
    } else {
        return v.w;
    }
}

// each applies a function to every lane of vectors, or to scalars. A scalar among
// vectors stands for all lanes.
template <class V, class F, class... A> inline V each(F f, const A &...a) {
    typedef element<V> E;
    if constexpr (lanes<V> == 1) {
        return V(f(a...));
    } else if constexpr (lanes<V> == 2) {
        return V{E(f(lane_of<0>(a)...)), E(f(lane_of<1>(a)...))};
    } else if constexpr (lanes<V> == 3) {
        return V{E(f(lane_of<0>(a)...)), E(f(lane_of<1>(a)...)), E(f(lane_of<2>(a)...))};
    } else {
        return V{E(f(lane_of<0>(a)...)), E(f(lane_of<1>(a)...)), E(f(lane_of<2>(a)...)), E(f(lane_of<3>(a)...))};
    }
}

// make is a vector of its operands. A single one is converted lane by lane, or fills
// the vector.
template <class V, class A> inline V make(A a) {
    static_assert(lanes<A> == 1 || lanes<A> == lanes<V>, "a vector needs as many lanes as it has");
    return each<V>([](auto x) { return element<V>(x); }, a);
}
template <class V, class A, class B, class... More> inline V make(A a, B b, More... more) {
    static_assert(2 + sizeof...(More) == lanes<V>, "a vector needs as many operands as it has lanes");
    return V{element<V>(a), element<V>(b), element<V>(more)...};
}

template <bool B, class T> struct enable {};
template <class T> struct enable<true, T> { typedef T type; };
// vector is V, where V has several lanes.
template <class V> using vector = typename enable<(lanes<V> > 1), V>::type;

} // namespace smelt

#define SMELT_OPERATOR(sign)                                                                                          \
    template <class V> inline ::smelt::vector<V> operator sign(const V &a, const V &b) {                              \
        return ::smelt::each<V>([](auto x, auto y) { return x sign y; }, a, b);                                       \
    }                                                                                                                 \
    template <class V> inline ::smelt::vector<V> &operator sign##=(V &a, const V &b) { return a = a sign b; }
SMELT_OPERATOR(+)
SMELT_OPERATOR(-)
SMELT_OPERATOR(*)
SMELT_OPERATOR(/)
SMELT_OPERATOR(%)
SMELT_OPERATOR(&)
SMELT_OPERATOR(|)
SMELT_OPERATOR(^)
#undef SMELT_OPERATOR
#define SMELT_SHIFT(sign)                                                                        \
    template <class V> inline ::smelt::vector<V> operator sign(const V &a, const V &b) {         \
        return ::smelt::each<V>([](auto x, auto y) { return x sign y; }, a, b);                  \
    }                                                                                            \
    template <class V> inline ::smelt::vector<V> operator sign(const V &a, int by) {             \
        return ::smelt::each<V>([by](auto x) { return x sign by; }, a);                          \
    }
SMELT_SHIFT(<<)
SMELT_SHIFT(>>)
#undef SMELT_SHIFT
template <class V> inline ::smelt::vector<V> operator-(const V &a) {
    return ::smelt::each<V>([](auto x) { return -x; }, a);
}
template <class V> inline ::smelt::vector<V> operator~(const V &a) {
    return ::smelt::each<V>([](auto x) { return ~x; }, a);
}

namespace metal {

template <class T, class U> inline T as_type(U v) {
    static_assert(sizeof(T) == sizeof(U), "as_type needs as many bytes as it has");
    if constexpr (::smelt::same<T, float> && ::smelt::same<U, uint>) {
        return __uint_as_float(v);
    } else if constexpr (::smelt::same<T, float> && ::smelt::same<U, int>) {
        return __int_as_float(v);
    } else if constexpr (::smelt::same<T, uint> && ::smelt::same<U, float>) {
        return __float_as_uint(v);
    } else if constexpr (::smelt::same<T, int> && ::smelt::same<U, float>) {
        return __float_as_int(v);
    } else {
        return __builtin_bit_cast(T, v);
    }
}

// A condition of a vector has a lane for each of its lanes.
template <class T, class C> inline T select(const T &no, const T &yes, const C &condition) {
    return ::smelt::each<T>([](auto n, auto y, bool c) { return c ? y : n; }, no, yes, condition);
}

} // namespace metal

// A macro with parameters is replaced only where a bracket follows, so types stay
// types.
#define char2(...) ::smelt::make<::char2>(__VA_ARGS__)
#define char3(...) ::smelt::make<::char3>(__VA_ARGS__)
#define char4(...) ::smelt::make<::char4>(__VA_ARGS__)
#define uchar2(...) ::smelt::make<::uchar2>(__VA_ARGS__)
#define uchar3(...) ::smelt::make<::uchar3>(__VA_ARGS__)
#define uchar4(...) ::smelt::make<::uchar4>(__VA_ARGS__)
#define short2(...) ::smelt::make<::short2>(__VA_ARGS__)
#define short3(...) ::smelt::make<::short3>(__VA_ARGS__)
#define short4(...) ::smelt::make<::short4>(__VA_ARGS__)
#define ushort2(...) ::smelt::make<::ushort2>(__VA_ARGS__)
#define ushort3(...) ::smelt::make<::ushort3>(__VA_ARGS__)
#define ushort4(...) ::smelt::make<::ushort4>(__VA_ARGS__)
#define int2(...) ::smelt::make<::int2>(__VA_ARGS__)
#define int3(...) ::smelt::make<::int3>(__VA_ARGS__)
#define int4(...) ::smelt::make<::int4>(__VA_ARGS__)
#define uint2(...) ::smelt::make<::uint2>(__VA_ARGS__)
#define uint3(...) ::smelt::make<::uint3>(__VA_ARGS__)
#define uint4(...) ::smelt::make<::uint4>(__VA_ARGS__)
#define long2(...) ::smelt::make<::long2>(__VA_ARGS__)
#define long3(...) ::smelt::make<::long3>(__VA_ARGS__)
#define long4(...) ::smelt::make<::long4>(__VA_ARGS__)
#define ulong2(...) ::smelt::make<::ulong2>(__VA_ARGS__)
#define ulong3(...) ::smelt::make<::ulong3>(__VA_ARGS__)
#define ulong4(...) ::smelt::make<::ulong4>(__VA_ARGS__)
#define half2(...) ::smelt::make<::half2>(__VA_ARGS__)
#define half3(...) ::smelt::make<::half3>(__VA_ARGS__)
#define half4(...) ::smelt::make<::half4>(__VA_ARGS__)
#define float2(...) ::smelt::make<::float2>(__VA_ARGS__)
#define float3(...) ::smelt::make<::float3>(__VA_ARGS__)
#define float4(...) ::smelt::make<::float4>(__VA_ARGS__)
#define bool2(...) ::smelt::make<::bool2>(__VA_ARGS__)
#define bool3(...) ::smelt::make<::bool3>(__VA_ARGS__)
#define bool4(...) ::smelt::make<::bool4>(__VA_ARGS__)
