// Functions of integers.
#pragma once

namespace standin {

template <class T> struct unsigned_of { typedef T type; };
template <> struct unsigned_of<char> { typedef uchar type; };
template <> struct unsigned_of<short> { typedef ushort type; };
template <> struct unsigned_of<int> { typedef uint type; };
template <> struct unsigned_of<long> { typedef ulong type; };
template <class T> using bits = typename unsigned_of<T>::type;

} // namespace standin

namespace metal {

// Of 0, clz and ctz are the number of bits, as MSL says.
#define STANDIN_BITS(name, value)                                                              \
    template <class T> inline T name(T operand) {                                              \
        static_assert(::standin::integral<::standin::element<T>>, "needs integer operands");   \
        return ::standin::each(                                                                \
            [](auto signed_x) {                                                                \
                constexpr int width = 8 * int(sizeof signed_x);                                \
                ulong x = ::standin::bits<decltype(signed_x)>(signed_x);                       \
                return (value);                                                                \
            },                                                                                 \
            operand);                                                                          \
    }
STANDIN_BITS(popcount, (width, __builtin_popcountl(x)))
STANDIN_BITS(clz, x == 0 ? width : __builtin_clzl(x) - (64 - width))
STANDIN_BITS(ctz, x == 0 ? width : __builtin_ctzl(x))
STANDIN_BITS(reverse_bits, __builtin_bitreverse64(x) >> (64 - width))
#undef STANDIN_BITS

// The upper half of the product; of at most 32 bits.
template <class T> inline T mulhi(T a, T b) {
    static_assert(::standin::integral<::standin::element<T>> && sizeof(::standin::element<T>) <= 4,
                  "needs integers of at most 32 bits");
    return ::standin::each([](auto x, auto y) { return (long(x) * long(y)) >> (8 * int(sizeof x)); }, a, b);
}

} // namespace metal
