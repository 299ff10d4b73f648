// attn_out_a_prefill
//
// products of one input, in tiles
//
// Stands for (region linear):
//   %68 = reshape(%67) {shape = [T, 2, 256]} : tensor<T x 2 x 256 x f32>
//   %69 = dequantize @layers.0.attn.wo_a.weight : tensor<2 x 64 x 256 x f32>
//   %70 = einsum(%68, %69) {spec = "tgi,goi->tgo"} : tensor<T x 2 x 64 x f32>
//   %71 = reshape(%70) {shape = [T, 128]} : tensor<T x 128 x f32>
//
// Launch: threadgroups of 256 threads in SIMD groups of 32 lanes; 20480 bytes of threadgroup memory.
// Schedule: tile = 32 rows x 64 outputs x 32 deep (12 KB of operands leave room for two threadgroups a core;
//     a weight is unpacked once for 32 rows)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float *x;
	device const uint *w;
	device float *y;
};

struct Step {
	int T;
};

[[kernel, max_total_threads_per_threadgroup(256)]]
void attn_out_a_prefill(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup float x_tile[1024];
	threadgroup float w_tile[2048];
	threadgroup float tile[2048];

	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int tid = int(thread_index);
	const int simd_group = int(simd_index);
	device const float *x = args.x;
	device const uint *w = args.w;
	device float *y = args.y;

	const int row0 = group_y * 32;
	const int group = group_x;
	const int first = 0;
	const int first_row = group * 64;
	simdgroup_float8x8 acc = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 acc_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 acc_3 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 acc_4 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 a = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 a_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 b = make_filled_simdgroup_matrix<float, 8>(0.0f);
	simdgroup_float8x8 b_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
	const int row_at = simd_group / 4 * 16;
	const int out_at = simd_group % 4 * 16;
	uint words[2];
	for (int k = 0; k < 256; k += 32) {
		// inputs of this depth
		for (int i = tid; i < 1024; i += 256) {
			const int column = k + i % 32;
			const int tile_row = i / 32;
			const int row = min(row0 + tile_row, step.T - 1);
			x_tile[i] = row0 + tile_row < step.T ? x[(row * 2 + group) * 256 + column] : 0.0f;
		}

		// weights of this depth, unpacked
		for (int i_2 = tid; i_2 < 512; i_2 += 256) {
			const int out = i_2 / 8;
			const int block = i_2 % 8;
			const int w_at = out * 32 + block * 4;
			const int n = first + out;
			const int column_2 = k + block * 4;
			if (n < 64 && column_2 < 256) {
				const int row_word = first_row * 128 + n * 128;
				const int unit = column_2 / 2;
				words[0] = w[row_word + unit];
				words[1] = w[row_word + (unit + 1)];
				#pragma unroll
				for (int i_11 = 0; i_11 < 2; i_11++) {
					w_tile[w_at + i_11 * 2] = as_type<float>((words[i_11] & 0xffffu) << 16);
					w_tile[w_at + (i_11 * 2 + 1)] = as_type<float>((words[i_11] >> 16) << 16);
				}
			} else {
				w_tile[w_at] = 0.0f;
				w_tile[w_at + 1] = 0.0f;
				w_tile[w_at + 2] = 0.0f;
				w_tile[w_at + 3] = 0.0f;
			}
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		#pragma unroll
		for (int i_12 = 0; i_12 < 4; i_12++) {
			simdgroup_load(a, x_tile + row_at * 32 + i_12 * 8, 32);
			simdgroup_load(a_2, x_tile + (row_at + 8) * 32 + i_12 * 8, 32);
			simdgroup_load(b, w_tile + out_at * 32 + i_12 * 8, 32, ulong2(0, 0), true);
			simdgroup_load(b_2, w_tile + (out_at + 8) * 32 + i_12 * 8, 32, ulong2(0, 0), true);
			simdgroup_multiply_accumulate(acc, a, b, acc);
			simdgroup_multiply_accumulate(acc_2, a, b_2, acc_2);
			simdgroup_multiply_accumulate(acc_3, a_2, b, acc_3);
			simdgroup_multiply_accumulate(acc_4, a_2, b_2, acc_4);
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
	}
	simdgroup_store(acc, tile + row_at * 64 + out_at, 64);
	simdgroup_store(acc_2, tile + row_at * 64 + (out_at + 8), 64);
	simdgroup_store(acc_3, tile + (row_at + 8) * 64 + out_at, 64);
	simdgroup_store(acc_4, tile + (row_at + 8) * 64 + (out_at + 8), 64);
	threadgroup_barrier(mem_flags::mem_threadgroup);
	#pragma unroll
	for (int i_13 = 0; i_13 < 8; i_13++) {
		const int i_3 = tid + i_13 * 256;
		const int row_2 = row0 + i_3 / 64;
		const int n_2 = first + i_3 % 64;
		if (row_2 < step.T && n_2 < 64) {
			y[(row_2 * 2 + group) * 64 + n_2] = tile[i_3];
		}
	}
}
