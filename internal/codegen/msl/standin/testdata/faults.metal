// Kernels that do what they should not, chosen by width.
#include <metal_stdlib>
using namespace metal;

struct Args {
    device const float *a;
    device float *c;
    int width;
};

kernel void barrier_missed(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    if (thread_index == 7) {
        return;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    args.c[thread_index] = 1.0f;
}

kernel void barriers_crossed(uint thread_index [[thread_index_in_threadgroup]])
{
    if (thread_index < 33) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
    } else {
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
}

kernel void sum_missed(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    if (thread_index != 40) {
        args.c[thread_index] = simd_sum(1.0f);
    }
}

kernel void sum_before_barrier(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    float v = 0.0f;
    if (thread_index != 3) {
        v = simd_sum(1.0f);
    }
    threadgroup_barrier(mem_flags::mem_none);
    args.c[thread_index] = v;
}

kernel void sums_crossed(constant Args &args [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    args.c[lane] = lane % 2 == 0 ? simd_sum(1.0f) : simd_sum(2.0f);
}

kernel void sums_uneven(constant Args &args [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    float v = 1.0f;
    for (uint i = 0; i <= lane / 31; i++) {
        v = simd_sum(v);
    }
    args.c[lane] = v;
}

kernel void product_missed(constant Args &args [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8>(1.0f);
    if (lane != 9) {
        simdgroup_multiply_accumulate(m, m, m, m);
    }
    args.c[lane] = 0.0f;
}

kernel void endless(uint thread_index [[thread_index_in_threadgroup]])
{
    threadgroup atomic_uint flag[1];

    atomic_store_explicit(&flag[0], 0u, memory_order_relaxed);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (thread_index == 5) {
        while (atomic_load_explicit(&flag[0], memory_order_relaxed) == 0u) {
        }
    }
}

kernel void lane_beyond(constant Args &args [[buffer(0)]], uint lane [[thread_index_in_simdgroup]])
{
    args.c[lane] = simd_shuffle(float(lane), ushort(lane + 1));
}

kernel void too_much_memory(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    threadgroup float first[4096];
    threadgroup float second[4097];

    first[thread_index] = 1.0f;
    second[thread_index] = 2.0f;
    args.c[thread_index] = first[thread_index] + second[thread_index];
}

kernel void divides(constant Args &args [[buffer(0)]])
{
    args.c[0] = float(7 / args.width);
}

kernel void unreachable_memory(constant Args &args [[buffer(0)]])
{
    device float *nothing = args.c + (1ul << 44);
    *nothing = 1.0f;
}

kernel void read_beyond(constant Args &args [[buffer(0)]])
{
    args.c[0] = args.a[args.width];
}

kernel void write_beyond(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    args.c[int(thread_index) + args.width] = 1.0f;
}

kernel void shared_beyond(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    threadgroup float tile[64];
    threadgroup float other[64];

    tile[int(thread_index) + args.width] = 1.0f;
    other[thread_index] = 2.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    args.c[thread_index] = tile[thread_index] + other[thread_index];
}

// A pointer hides the array's length from the compiler.
kernel void matrix_beyond(constant Args &args [[buffer(0)]])
{
    threadgroup float tile[64];

    simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8>(1.0f);
    simdgroup_store(m, tile, ulong(args.width));
    args.c[0] = tile[0];
}

kernel void overflows(constant Args &args [[buffer(0)]])
{
    args.c[0] = float(args.width * 65536);
}

kernel void shifts_far(constant Args &args [[buffer(0)]])
{
    args.c[0] = float(1u << uint(args.width));
}

// Reads what it wrote if width is the number of threads, and more otherwise.
kernel void unwritten(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    threadgroup float tile[64];

    if (int(thread_index) < args.width) {
        tile[thread_index] = float(thread_index);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    args.c[thread_index] = tile[63 - thread_index];
}

// Without the barrier between writing and reading.
kernel void barrier_forgotten(constant Args &args [[buffer(0)]], uint thread_index [[thread_index_in_threadgroup]])
{
    threadgroup float tile[64];

    tile[thread_index] = 0.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    tile[thread_index] = float(thread_index) + 1.0f;
    args.c[thread_index] = tile[63 - thread_index];
}

// The order of threadgroups shows.
kernel void groups_depend(constant Args &args [[buffer(0)]], uint group [[threadgroup_position_in_grid]])
{
    args.c[group] = group > 0 ? args.c[group - 1] + 1.0f : 1.0f;
}
