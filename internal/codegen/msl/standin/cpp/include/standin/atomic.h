// Atomic integers in device and threadgroup memory. Threads change places only
// where they wait for each other, so plain accesses are atomic.
#pragma once

namespace metal {

enum memory_order { memory_order_relaxed };

// Enumerations, since clang lets no class live in another address space.
enum class atomic_int : int {};
enum class atomic_uint : uint {};

} // namespace metal

namespace standin {

template <class A> struct atomic_value;
template <> struct atomic_value<metal::atomic_int> { typedef int type; };
template <> struct atomic_value<metal::atomic_uint> { typedef uint type; };
template <class A> using value_of = typename atomic_value<A>::type;

} // namespace standin

namespace metal {

// The operations that return the value before.
#define STANDIN_FETCH(space, name, after)                                                                           \
    template <class A> inline auto name(volatile space A *object, ::standin::value_of<A> operand, memory_order) {   \
        auto before = ::standin::value_of<A>(*object);                                                              \
        *object = A(after);                                                                                         \
        return before;                                                                                              \
    }
#define STANDIN_ATOMICS(space)                                                                                      \
    template <class A> inline auto atomic_load_explicit(const volatile space A *object, memory_order) {             \
        return ::standin::value_of<A>(*object);                                                                     \
    }                                                                                                               \
    template <class A>                                                                                              \
    inline void atomic_store_explicit(volatile space A *object, ::standin::value_of<A> operand, memory_order) {     \
        *object = A(operand);                                                                                       \
    }                                                                                                               \
    template <class A>                                                                                              \
    inline bool atomic_compare_exchange_weak_explicit(volatile space A *object, thread ::standin::value_of<A> *expected, \
                                                      ::standin::value_of<A> desired, memory_order, memory_order) { \
        auto before = ::standin::value_of<A>(*object);                                                              \
        bool equal = before == *expected;                                                                           \
        if (equal) {                                                                                                \
            *object = A(desired);                                                                                   \
        }                                                                                                           \
        *expected = before;                                                                                         \
        return equal;                                                                                               \
    }                                                                                                               \
    STANDIN_FETCH(space, atomic_exchange_explicit, operand)                                                         \
    STANDIN_FETCH(space, atomic_fetch_add_explicit, uint(before) + uint(operand))                                   \
    STANDIN_FETCH(space, atomic_fetch_sub_explicit, uint(before) - uint(operand))                                   \
    STANDIN_FETCH(space, atomic_fetch_min_explicit, min(before, operand))                                           \
    STANDIN_FETCH(space, atomic_fetch_max_explicit, max(before, operand))                                           \
    STANDIN_FETCH(space, atomic_fetch_and_explicit, before & operand)                                               \
    STANDIN_FETCH(space, atomic_fetch_or_explicit, before | operand)                                                \
    STANDIN_FETCH(space, atomic_fetch_xor_explicit, before ^ operand)
STANDIN_ATOMICS(device)
#ifdef STANDIN_CHECK // otherwise both spaces are one
STANDIN_ATOMICS(threadgroup)
#endif
#undef STANDIN_ATOMICS
#undef STANDIN_FETCH

} // namespace metal
