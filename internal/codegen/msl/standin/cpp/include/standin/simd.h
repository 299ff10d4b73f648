// Barriers and SIMD-group functions. Every lane of the SIMD group must reach
// the same call: MSL would make do with those that do, smelt's kernels never
// mean to.
#pragma once

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }

} // namespace metal

// The caller's line and column, as a function's last parameters.
#define STANDIN_HERE int line = __builtin_LINE(), int column = __builtin_COLUMN()
#define STANDIN_SITE(name) (::standin::Site{#name, line, column})

namespace standin {

// number: what SIMD-group functions take.
template <class T>
constexpr bool number = (floating<element<T>> || (integral<element<T>> && sizeof(element<T>) <= 4)) && sizeof(T) <= 16;

inline Meeting &meeting() {
    Group *g = current->group;
    return g->meetings[g->turn & 1];
}

// exchange leaves a lane's operand and returns those of all lanes.
template <class T> inline const T *exchange(Meeting &m, Site site, T operand) {
    T *operands = reinterpret_cast<T *>(m.operands);
    operands[current->lane] = operand;
    meet(site);
    return operands;
}

// agree gives every lane what the first to go on computes from all operands.
template <class R, class T, class F> inline const R *agree(Site site, T operand, F compute) {
    Meeting &m = meeting();
    const T *operands = exchange(m, site, operand);
    R *result = reinterpret_cast<R *>(m.result);
    if (!m.computed) {
        compute(operands, current->group->lanes, result);
        m.computed = true;
    }
    return result;
}

template <class T> inline T add(T a, T b) {
    if constexpr (integral<T>) { // wraps
        return T(bits<T>(bits<T>(a) + bits<T>(b)));
    } else {
        return a + b;
    }
}
template <class T> inline T multiply(T a, T b) {
    if constexpr (integral<T>) {
        return T(bits<T>(ulong(a) * ulong(b)));
    } else {
        return a * b;
    }
}

// reduce combines the operands of n lanes. Metal does not say in which order,
// so there are two: by lane, and a tree of lanes 16, 8, 4, 2 and 1 apart.
template <class T, class F> inline T reduce(Site site, T operand, F combine) {
    static_assert(number<T>, "SIMD-group functions take numbers of at most 32 bits");
    return *agree<T>(site, operand, [combine](const T *operands, u32 n, T *result) {
        T sums[max_lanes];
        for (u32 i = 0; i < n; i++) {
            sums[i] = operands[i];
        }
        if (ascending) {
            for (u32 i = 1; i < n; i++) {
                sums[0] = combine(sums[0], sums[i]);
            }
        } else {
            for (u32 apart = max_lanes / 2; apart > 0; apart /= 2) {
                for (u32 i = 0; i < apart && i + apart < n; i++) {
                    sums[i] = combine(sums[i], sums[i + apart]);
                }
            }
        }
        *result = sums[0];
    });
}

// scan combines the operands of the lanes up to each lane, this included, in
// the same two orders.
template <class T, class F> inline const T *scan(Site site, T operand, F combine) {
    static_assert(number<T>, "SIMD-group functions take numbers of at most 32 bits");
    return agree<T>(site, operand, [combine](const T *operands, u32 n, T *result) {
        for (u32 i = 0; i < n; i++) {
            result[i] = operands[i];
        }
        if (ascending) {
            for (u32 i = 1; i < n; i++) {
                result[i] = combine(result[i - 1], result[i]);
            }
            return;
        }
        for (u32 apart = 1; apart < n; apart *= 2) {
            for (u32 i = n - 1; i >= apart; i--) {
                result[i] = combine(result[i - apart], result[i]);
            }
        }
    });
}

// pick is the operand of another lane.
template <class T> inline T pick(Site site, T operand, u32 lane) {
    static_assert(number<T>, "SIMD-group functions take numbers of at most 32 bits");
    Meeting &m = meeting();
    const T *operands = exchange(m, site, operand);
    if (lane >= current->group->lanes) {
        fail(site, "reads a lane that the SIMD group does not have", lane);
    }
    return operands[lane];
}

} // namespace standin

namespace metal {

inline void threadgroup_barrier(mem_flags, STANDIN_HERE) { ::standin::meet_all(STANDIN_SITE(threadgroup_barrier)); }
inline void simdgroup_barrier(mem_flags, STANDIN_HERE) { ::standin::meet(STANDIN_SITE(simdgroup_barrier)); }

#define STANDIN_REDUCE(name, value)                                                              \
    template <class T> inline T name(T operand, STANDIN_HERE) {                                  \
        return ::standin::reduce(STANDIN_SITE(name), operand, [](T a, T b) -> T { return (value); }); \
    }
STANDIN_REDUCE(simd_sum, ::standin::add(a, b))
STANDIN_REDUCE(simd_product, ::standin::multiply(a, b))
STANDIN_REDUCE(simd_max, max(a, b))
STANDIN_REDUCE(simd_min, min(a, b))
STANDIN_REDUCE(simd_and, a & b)
STANDIN_REDUCE(simd_or, a | b)
STANDIN_REDUCE(simd_xor, a ^ b)
#undef STANDIN_REDUCE

template <class T> inline T simd_prefix_inclusive_sum(T operand, STANDIN_HERE) {
    auto sums = ::standin::scan(STANDIN_SITE(simd_prefix_inclusive_sum), operand, ::standin::add<T>);
    return sums[::standin::current->lane];
}
template <class T> inline T simd_prefix_exclusive_sum(T operand, STANDIN_HERE) {
    auto sums = ::standin::scan(STANDIN_SITE(simd_prefix_exclusive_sum), operand, ::standin::add<T>);
    return ::standin::current->lane == 0 ? T(0) : sums[::standin::current->lane - 1];
}

template <class T> inline T simd_broadcast(T operand, ushort lane, STANDIN_HERE) {
    return ::standin::pick(STANDIN_SITE(simd_broadcast), operand, lane);
}
template <class T> inline T simd_broadcast_first(T operand, STANDIN_HERE) {
    return ::standin::pick(STANDIN_SITE(simd_broadcast_first), operand, 0);
}
template <class T> inline T simd_shuffle(T operand, ushort lane, STANDIN_HERE) {
    return ::standin::pick(STANDIN_SITE(simd_shuffle), operand, lane);
}
template <class T> inline T simd_shuffle_xor(T operand, ushort mask, STANDIN_HERE) {
    return ::standin::pick(STANDIN_SITE(simd_shuffle_xor), operand, ::standin::current->lane ^ mask);
}
// Lanes without a lane that far away keep their own operand.
template <class T> inline T simd_shuffle_up(T operand, ushort delta, STANDIN_HERE) {
    uint lane = ::standin::current->lane;
    return ::standin::pick(STANDIN_SITE(simd_shuffle_up), operand, lane < delta ? lane : lane - delta);
}
template <class T> inline T simd_shuffle_down(T operand, ushort delta, STANDIN_HERE) {
    uint lane = ::standin::current->lane;
    bool beyond = lane + delta >= ::standin::current->group->lanes;
    return ::standin::pick(STANDIN_SITE(simd_shuffle_down), operand, beyond ? lane : lane + delta);
}

// simd_vote holds a bit for each lane.
class simd_vote {
  public:
    typedef ulong vote_t;
    explicit constexpr simd_vote(vote_t votes) : votes(votes) {}
    explicit constexpr operator vote_t() const { return votes; }

  private:
    vote_t votes;
};
inline simd_vote simd_ballot(bool vote, STANDIN_HERE) {
    uint bit = uint(vote) << ::standin::current->lane;
    return simd_vote(::standin::reduce(STANDIN_SITE(simd_ballot), bit, [](uint a, uint b) { return a | b; }));
}
inline bool simd_any(bool vote, STANDIN_HERE) {
    return ::standin::reduce(STANDIN_SITE(simd_any), uint(vote), [](uint a, uint b) { return a | b; }) != 0;
}
inline bool simd_all(bool vote, STANDIN_HERE) {
    return ::standin::reduce(STANDIN_SITE(simd_all), uint(vote), [](uint a, uint b) { return a & b; }) != 0;
}

} // namespace metal
