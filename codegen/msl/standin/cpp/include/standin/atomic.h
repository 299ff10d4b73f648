// Atomic integers in device and threadgroup memory. Threads change places only
// where they wait for each other, so plain accesses are atomic.
#pragma once

namespace metal {

enum memory_order { memory_order_relaxed };

template <class T> struct atomic {
    static_assert(::standin::same<T, int> || ::standin::same<T, uint>, "atomics are of int or uint");
    T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;

// The operations that return the value before.
#define STANDIN_FETCH(space, name, after)                                                               \
    template <class T> inline T name(volatile space atomic<T> *object, T operand, memory_order) {       \
        T before = object->value;                                                                       \
        object->value = (after);                                                                        \
        return before;                                                                                  \
    }
#define STANDIN_ATOMICS(space)                                                                          \
    template <class T> inline T atomic_load_explicit(const volatile space atomic<T> *object, memory_order) { \
        return object->value;                                                                           \
    }                                                                                                   \
    template <class T> inline void atomic_store_explicit(volatile space atomic<T> *object, T operand, memory_order) { \
        object->value = operand;                                                                        \
    }                                                                                                   \
    template <class T>                                                                                  \
    inline bool atomic_compare_exchange_weak_explicit(volatile space atomic<T> *object, thread T *expected, T desired, \
                                                      memory_order, memory_order) {                     \
        T before = object->value;                                                                       \
        bool equal = before == *expected;                                                               \
        if (equal) {                                                                                    \
            object->value = desired;                                                                    \
        }                                                                                               \
        *expected = before;                                                                             \
        return equal;                                                                                   \
    }                                                                                                   \
    STANDIN_FETCH(space, atomic_exchange_explicit, operand)                                             \
    STANDIN_FETCH(space, atomic_fetch_add_explicit, ::standin::add(before, operand))                    \
    STANDIN_FETCH(space, atomic_fetch_sub_explicit, T(uint(before) - uint(operand)))                    \
    STANDIN_FETCH(space, atomic_fetch_min_explicit, min(before, operand))                               \
    STANDIN_FETCH(space, atomic_fetch_max_explicit, max(before, operand))                               \
    STANDIN_FETCH(space, atomic_fetch_and_explicit, before & operand)                                   \
    STANDIN_FETCH(space, atomic_fetch_or_explicit, before | operand)                                    \
    STANDIN_FETCH(space, atomic_fetch_xor_explicit, before ^ operand)
STANDIN_ATOMICS(device)
#ifdef STANDIN_CHECK
STANDIN_ATOMICS(threadgroup)
#endif
#undef STANDIN_ATOMICS
#undef STANDIN_FETCH

} // namespace metal
