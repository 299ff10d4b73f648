// Barriers and SIMD-group functions. All 32 lanes reach the same call.
#pragma once

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };

constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }

// A barrier orders a block's accesses to the card's memory too, whatever the flags.
inline void threadgroup_barrier(mem_flags) { __syncthreads(); }
inline void simdgroup_barrier(mem_flags) { __syncwarp(); }

} // namespace metal

namespace smelt {

constexpr uint all = 0xffffffffu;

inline uint lane() {
    uint n;
    asm("mov.u32 %0, %%laneid;" : "=r"(n));
    return n;
}

// Of a vector each lane is exchanged by itself.
template <class T> inline T from_lane(const T &x, uint from) {
    return each<T>([from](auto v) { return __shfl_sync(all, v, int(from)); }, x);
}
template <class T> inline T from_xor(const T &x, uint mask) {
    return each<T>([mask](auto v) { return __shfl_xor_sync(all, v, int(mask)); }, x);
}
// Lanes without a lane that far away keep their own.
template <class T> inline T from_below(const T &x, uint delta) {
    return each<T>([delta](auto v) { return __shfl_up_sync(all, v, delta); }, x);
}
template <class T> inline T from_above(const T &x, uint delta) {
    return each<T>([delta](auto v) { return __shfl_down_sync(all, v, delta); }, x);
}

// reduce combines lanes 16, 8, 4, 2 and 1 apart. Both lanes of a pair combine the
// same two operands, so all lanes end with the same bits.
template <class T, class F> inline T reduce(T x, F combine) {
    for (int apart = 16; apart > 0; apart /= 2) {
        x = combine(x, from_xor(x, apart));
    }
    return x;
}

// scan combines the lanes up to each, this included.
template <class T, class F> inline T scan(T x, F combine) {
    for (uint apart = 1; apart < 32; apart *= 2) {
        T below = from_below(x, apart);
        if (lane() >= apart) {
            x = combine(below, x);
        }
    }
    return x;
}

} // namespace smelt

namespace metal {

template <class T> inline T simd_sum(T x) {
    return ::smelt::reduce(x, [](T a, T b) -> T { return a + b; });
}
template <class T> inline T simd_max(T x) {
    return ::smelt::reduce(x, [](T a, T b) -> T { return metal::max(a, b); });
}
template <class T> inline T simd_min(T x) {
    return ::smelt::reduce(x, [](T a, T b) -> T { return metal::min(a, b); });
}
#if __CUDA_ARCH__ >= 800
// Of whole numbers in one instruction, not five that wait for each other.
inline int simd_sum(int x) { return __reduce_add_sync(::smelt::all, x); }
inline uint simd_sum(uint x) { return __reduce_add_sync(::smelt::all, x); }
inline int simd_max(int x) { return __reduce_max_sync(::smelt::all, x); }
inline uint simd_max(uint x) { return __reduce_max_sync(::smelt::all, x); }
inline int simd_min(int x) { return __reduce_min_sync(::smelt::all, x); }
inline uint simd_min(uint x) { return __reduce_min_sync(::smelt::all, x); }
#endif
template <class T> inline T simd_and(T x) {
    return ::smelt::reduce(x, [](T a, T b) -> T { return a & b; });
}
template <class T> inline T simd_or(T x) {
    return ::smelt::reduce(x, [](T a, T b) -> T { return a | b; });
}
template <class T> inline T simd_prefix_inclusive_sum(T x) {
    return ::smelt::scan(x, [](T a, T b) -> T { return a + b; });
}
// The sum of the lanes before, found without a subtraction, which would round.
template <class T> inline T simd_prefix_exclusive_sum(T x) {
    T before = ::smelt::from_below(simd_prefix_inclusive_sum(x), 1);
    return ::smelt::lane() == 0 ? T(0) : before;
}
template <class T> inline T simd_broadcast(T x, ushort from) { return ::smelt::from_lane(x, from); }
template <class T> inline T simd_broadcast_first(T x) { return ::smelt::from_lane(x, 0); }
template <class T> inline T simd_shuffle(T x, ushort from) { return ::smelt::from_lane(x, from); }
template <class T> inline T simd_shuffle_xor(T x, ushort mask) { return ::smelt::from_xor(x, mask); }
template <class T> inline T simd_shuffle_up(T x, ushort delta) { return ::smelt::from_below(x, delta); }
template <class T> inline T simd_shuffle_down(T x, ushort delta) { return ::smelt::from_above(x, delta); }
inline bool simd_any(bool vote) { return __any_sync(::smelt::all, vote); }
inline bool simd_all(bool vote) { return __all_sync(::smelt::all, vote); }

} // namespace metal
