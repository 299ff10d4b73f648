// Kernels that do what they should.
#include <metal_stdlib>
using namespace metal;

struct Args {
    device const float *a;
    device const float *b;
    device float *c;
    int width;
};

struct Step {
    int T;
    float scale[3];
};

constant float weights[4] = {1.0f, 0.5f, 0.25f, 0.125f};

// c[m, n] = sum over k of a[m, k] * b[k, n], all of width 32: 32 by 32 a
// threadgroup of 128 threads, a SIMD group 8 rows.
[[kernel, max_total_threads_per_threadgroup(128)]]
void matmul(
    constant Args &args [[buffer(0)]],
    uint3 group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simd [[simdgroup_index_in_threadgroup]])
{
    threadgroup float a_tile[256];
    threadgroup half b_tile[256];

    const int width = args.width;
    const int m0 = int(group.y) * 32;
    const int n0 = int(group.x) * 32;
    simdgroup_float8x8 acc[4];
    for (int j = 0; j < 4; j++) {
        acc[j] = make_filled_simdgroup_matrix<float, 8>(0.0f);
    }
    for (int k = 0; k < width; k += 8) {
        for (int i = int(thread_index); i < 256; i += 128) {
            a_tile[i] = args.a[(m0 + i / 8) * width + k + i % 8];
            b_tile[i] = half(args.b[(k + i / 32) * width + n0 + i % 32]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        simdgroup_float8x8 left;
        simdgroup_load(left, a_tile + simd * 64, 8);
        for (int j = 0; j < 4; j++) {
            simdgroup_half8x8 right;
            simdgroup_load(right, b_tile + j * 8, 32);
            simdgroup_multiply_accumulate(acc[j], left, right, acc[j]);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (int j = 0; j < 4; j++) {
        simdgroup_store(acc[j], args.c + (m0 + int(simd) * 8) * width + n0 + j * 8, ulong(width));
    }
}

// c[row] = sum of a's row
kernel void row_sum(
    uint lane [[thread_index_in_simdgroup]],
    uint threads [[threads_per_threadgroup]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simd [[simdgroup_index_in_threadgroup]],
    uint row [[threadgroup_position_in_grid]],
    constant Args &args [[buffer(0)]])
{
    threadgroup float sums[32];

    float sum = 0.0f;
    for (int i = int(thread_index); i < args.width; i += int(threads)) {
        sum += args.a[int(row) * args.width + i];
    }
    sum = simd_sum(sum);
    if (lane == 0) {
        sums[simd] = sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (thread_index == 0) {
        float total = 0.0f;
        for (uint s = 0; s < threads / 32; s++) {
            total += sums[s];
        }
        args.c[row] = total;
    }
}

// c[i] = a[i] * scale[i % 3] * weights[i % 4] for i below T
kernel void scaled(device const Step &step [[buffer(1)]], constant Args &args [[buffer(0)]],
                   uint3 at [[thread_position_in_grid]])
{
    const int i = int(at.x);
    if (i < step.T) {
        args.c[i] = args.a[i] * step.scale[i % 3] * weights[i % 4];
    }
}

// c = position, as its digits, of every thread of a grid of 2 by 3 by 2 groups
kernel void where(constant Args &args [[buffer(0)]], uint3 group [[threadgroup_position_in_grid]],
                  ushort thread_index [[thread_index_in_threadgroup]], uint3 groups [[threadgroups_per_grid]])
{
    const uint flat = (group.z * groups.y + group.y) * groups.x + group.x;
    args.c[flat * 40 + thread_index] = float(group.x + 10 * group.y + 100 * group.z + 1000 * thread_index);
}

// c[0] = how many elements of a are negative; c[1] = index of the last of them
kernel void count_negative(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    threadgroup atomic_uint count;
    threadgroup atomic_int last[1];

    if (thread_index == 0) {
        atomic_store_explicit(&count, 0u, memory_order_relaxed);
        atomic_store_explicit(&last[0], -1, memory_order_relaxed);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = int(thread_index); i < args.width; i += 64) {
        if (args.a[i] < 0.0f) {
            atomic_fetch_add_explicit(&count, 1u, memory_order_relaxed);
            atomic_fetch_max_explicit(&last[0], i, memory_order_relaxed);
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
    if (thread_index == 0) {
        args.c[0] = float(atomic_load_explicit(&count, memory_order_relaxed));
        args.c[1] = float(atomic_load_explicit(&last[0], memory_order_relaxed));
    }
}

// c = the transposed 8 by 8 block of a at row 8, column 16 of width, times 2;
// c[64:] = the product of b's first block and half the identity
kernel void blocks(constant Args &args [[buffer(0)]])
{
    simdgroup_float8x8 block;
    simdgroup_load(block, args.a, ulong(args.width), ulong2(16, 8), true);
    simdgroup_float8x8 result;
    simdgroup_multiply(result, block, simdgroup_float8x8(2.0f));
    simdgroup_store(result, args.c);
    simdgroup_half8x8 left;
    for (int i = 0; i < 1; i++) {
        left = simdgroup_half8x8(half(0.5f));
    }
    simdgroup_load(block, args.b, 8);
    simdgroup_multiply_accumulate(result, block, left, make_filled_simdgroup_matrix<float, 8, 8>(1.0f));
    simdgroup_store(result, args.c + 64, 8);
}

// c[thread] = width SIMD sums; c[thread] = width barriers: what they cost.
kernel void many_sums(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    float v = args.a[thread_index];
    for (int i = 0; i < args.width; i++) {
        v = simd_sum(v) * 0.03125f;
    }
    args.c[thread_index] = v;
}

kernel void many_barriers(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    for (int i = 0; i < args.width; i++) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    args.c[thread_index] = args.a[thread_index];
}

kernel void many_products(constant Args &args [[buffer(0)]])
{
    simdgroup_float8x8 a;
    simdgroup_load(a, args.a, 8);
    simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8>(0.0f);
    for (int i = 0; i < args.width; i++) {
        simdgroup_multiply_accumulate(sum, a, a, sum);
    }
    simdgroup_store(sum, args.c, 8);
}
