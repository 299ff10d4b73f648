// Rounding to bfloat16, which clang calls where the machine has no instruction
// for it; the C compiler's library may be too old to have it.
#include <stdint.h>

// To the nearest, ties to even; NaN stays NaN.
extern "C" __attribute__((weak)) __bf16 __truncsfbf2(float v) {
    uint32_t bits = __builtin_bit_cast(uint32_t, v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        bits |= 0x00400000u;
    } else {
        bits += 0x7fffu + (bits >> 16 & 1u);
    }
    return __builtin_bit_cast(__bf16, uint16_t(bits >> 16));
}
