// matmul_tiles
//
// c[m, n] = sum over k of a[m, k] * b[n, k]
//
// Launch: threadgroups of 64 threads in SIMD groups of 32 lanes; 512 bytes of threadgroup memory.
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float *a;
	device const float *b;
	device float *c;
};

[[kernel, max_total_threads_per_threadgroup(64)]]
void matmul_tiles(
	constant Args &args [[buffer(0)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup float a_tile[128];

	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int tid = int(thread_index);
	const int simd_group = int(simd_index);
	device const float *a = args.a;
	device const float *b = args.b;
	device float *c = args.c;

	const int m0 = group_y * 16;
	const int n0 = group_x * 32 + simd_group * 16;
	simdgroup_float8x8 acc = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 acc_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 acc_3 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 acc_4 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	for (int k = 0; k < 24; k += 8) {
		for (int i = tid; i < 128; i += 64) {
			a_tile[i] = a[(m0 + i / 8) * 24 + k + i % 8];
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		simdgroup_float8x8 left;
		simdgroup_load(left, a_tile, 8);
		simdgroup_float8x8 right;
		simdgroup_load(right, b + n0 * 24 + k, 24, ulong2(0, 0), true);
		simdgroup_float8x8 left_2;
		simdgroup_load(left_2, a_tile + 64, 8);
		simdgroup_float8x8 right_2;
		simdgroup_load(right_2, b + (n0 + 8) * 24 + k, 24, ulong2(0, 0), true);
		simdgroup_multiply_accumulate(acc, left, right, acc);
		simdgroup_multiply_accumulate(acc_2, left, right_2, acc_2);
		simdgroup_multiply_accumulate(acc_3, left_2, right, acc_3);
		simdgroup_multiply_accumulate(acc_4, left_2, right_2, acc_4);
		threadgroup_barrier(mem_flags::mem_threadgroup);
	}
	simdgroup_store(acc, c + m0 * 64 + n0, 64);
	simdgroup_store(acc_2, c + m0 * 64 + n0 + 8, 64);
	simdgroup_store(acc_3, c + (m0 + 8) * 64 + n0, 64);
	simdgroup_store(acc_4, c + (m0 + 8) * 64 + n0 + 8, 64);
}
