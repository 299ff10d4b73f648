// attn_out_a_decode
//
// products of one input, a SIMD group for each few outputs
//
// Stands for (region linear):
//   %68 = reshape(%67) {shape = [T, 2, 256]} : tensor<T x 2 x 256 x f32>
//   %69 = dequantize @layers.0.attn.wo_a.weight : tensor<2 x 64 x 256 x f32>
//   %70 = einsum(%68, %69) {spec = "tgi,goi->tgo"} : tensor<T x 2 x 64 x f32>
//   %71 = reshape(%70) {shape = [T, 128]} : tensor<T x 128 x f32>
//
// Launch: threadgroups of 64 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Schedule: outputs per SIMD group = 4 (the input is read once for all of them)
// Schedule: rows per threadgroup = 4 (weights are unpacked once for all of them)
// Schedule: outputs per threadgroup = 8 (as many as leave 8 threadgroups for each of 80 cores, or the fewest
//     there can be)
// Schedule: SIMD groups that share columns = 1 (until there are 20 SIMD groups for each core, or 32 bytes of
//     a row left for a lane)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float4 *x;
	device const uint2 *w;
	device float *y;
};

struct Step {
	int T;
};

[[kernel, max_total_threads_per_threadgroup(64)]]
void attn_out_a_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float4 *x = args.x;
	device const uint2 *w = args.w;
	device float *y = args.y;

	const int row0 = group_x * 4;
	const int rows_left = step.T - row0;
	bool lives[3];
	int rows[3];
	#pragma unroll
	for (int i_11 = 0; i_11 < 3; i_11++) {
		lives[i_11] = rows_left > i_11 + 1;
		rows[i_11] = row0 + min(i_11 + 1, rows_left - 1);
	}
	const int group = group_y / 8;
	const int first = group_y % 8 * 8 + simd_group * 4;
	int x_rows[4];
	x_rows[0] = (row0 * 2 + group) * 64;
	#pragma unroll
	for (int i_13 = 0; i_13 < 3; i_13++) {
		x_rows[i_13 + 1] = (rows[i_13] * 2 + group) * 64;
	}
	const int first_row = group * 64;
	int row_words[4];
	#pragma unroll
	for (int i_12 = 0; i_12 < 4; i_12++) {
		row_words[i_12] = first_row * 64 + (first + i_12) * 64;
	}
	float sums_5[16];
	#pragma unroll
	for (int i_10 = 0; i_10 < 4; i_10++) {
		sums_5[i_10] = 0.0f;
		sums_5[i_10 + 4] = 0.0f;
		sums_5[i_10 + 8] = 0.0f;
		sums_5[i_10 + 12] = 0.0f;
	}
	uint2 words[4];
	float4 xs[4];
	for (int i = 0; i < 1; i++) {
		#pragma unroll
		for (int i_2 = 0; i_2 < 2; i_2++) {
			const int run = lane + (i * 2 + i_2) * 32;
			#pragma unroll
			for (int i_5 = 0; i_5 < 4; i_5++) {
				words[i_5] = w[row_words[i_5] + run];
			}
			#pragma unroll
			for (int i_6 = 0; i_6 < 4; i_6++) {
				xs[i_6] = x[x_rows[i_6] + run];
			}
			#pragma unroll
			for (int i_3 = 0; i_3 < 4; i_3++) {
				const float w_2 = as_type<float>((words[i_3].x & 0xffffu) << 16);
				const float w_3 = as_type<float>((words[i_3].x >> 16) << 16);
				const float w_4 = as_type<float>((words[i_3].y & 0xffffu) << 16);
				const float w_5 = as_type<float>((words[i_3].y >> 16) << 16);
				#pragma unroll
				for (int i_4 = 0; i_4 < 4; i_4++) {
					sums_5[i_3 + i_4 * 4] = fma(w_5, xs[i_4].w, fma(w_4, xs[i_4].z,
							fma(w_3, xs[i_4].y, fma(w_2, xs[i_4].x, sums_5[i_3 + i_4 * 4]))));
				}
			}
		}
	}
	float products[4];
	float products_5[12];
	#pragma unroll
	for (int i_9 = 0; i_9 < 4; i_9++) {
		products[i_9] = simd_sum(sums_5[i_9]);
		products_5[i_9] = simd_sum(sums_5[i_9 + 4]);
		products_5[i_9 + 4] = simd_sum(sums_5[i_9 + 8]);
		products_5[i_9 + 8] = simd_sum(sums_5[i_9 + 12]);
	}

	// every lane has the sums; lane 0 writes
	if (lane == 0) {
		#pragma unroll
		for (int i_7 = 0; i_7 < 4; i_7++) {
			y[(row0 * 2 + group) * 64 + (first + i_7)] = products[i_7];
			#pragma unroll
			for (int i_8 = 0; i_8 < 3; i_8++) {
				if (lives[i_8]) {
					y[(rows[i_8] * 2 + group) * 64 + (first + i_7)] = products_5[i_7 + i_8 * 4];
				}
			}
		}
	}
}
