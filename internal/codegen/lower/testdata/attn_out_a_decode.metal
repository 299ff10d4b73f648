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
// Schedule: SIMD groups that share columns = 1 (until there are 20 SIMD groups for each core, or 2 runs of
//     columns left for a lane)
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

	const int row0 = group_y * 4;
	const int rows_left = step.T - row0;
	if (rows_left == 1) {
		const int group = group_x / 8;
		const int first = group_x % 8 * 8 + simd_group * 4;
		const int x_row = (row0 * 2 + group) * 64;
		const int first_row = group * 64;
		int row_words[4];
		#pragma unroll
		for (int i_5 = 0; i_5 < 4; i_5++) {
			row_words[i_5] = first_row * 64 + (first + i_5) * 64;
		}
		float sums[4];
		sums[0] = 0.0f;
		sums[1] = 0.0f;
		sums[2] = 0.0f;
		sums[3] = 0.0f;
		uint2 words[4];
		#pragma unroll
		for (int i_2 = 0; i_2 < 2; i_2++) {
			#pragma unroll
			for (int i_4 = 0; i_4 < 4; i_4++) {
				words[i_4] = w[row_words[i_4] + (lane * 2 + i_2)];
			}
			const float4 x4 = x[x_row + (lane * 2 + i_2)];
			#pragma unroll
			for (int i_3 = 0; i_3 < 4; i_3++) {
				const float w_2 = as_type<float>((words[i_3].x & 0xffffu) << 16);
				const float w_3 = as_type<float>((words[i_3].x >> 16) << 16);
				const float w_4 = as_type<float>((words[i_3].y & 0xffffu) << 16);
				const float w_5 = as_type<float>((words[i_3].y >> 16) << 16);
				sums[i_3] = fma(w_5, x4.w, fma(w_4, x4.z, fma(w_3, x4.y, fma(w_2, x4.x, sums[i_3]))));
			}
		}
		float products[4];
		#pragma unroll
		for (int i_6 = 0; i_6 < 4; i_6++) {
			products[i_6] = simd_sum(sums[i_6]);
		}

		// every lane has the sums; lane 0 writes
		if (lane == 0) {
			#pragma unroll
			for (int i = 0; i < 4; i++) {
				y[(row0 * 2 + group) * 64 + (first + i)] = products[i];
			}
		}
	} else {
		bool lives[3];
		int rows[3];
		#pragma unroll
		for (int i_16 = 0; i_16 < 3; i_16++) {
			lives[i_16] = rows_left > i_16 + 1;
			rows[i_16] = row0 + min(i_16 + 1, rows_left - 1);
		}
		const int group_2 = group_x / 8;
		const int first_2 = group_x % 8 * 8 + simd_group * 4;
		int x_rows[4];
		x_rows[0] = (row0 * 2 + group_2) * 64;
		#pragma unroll
		for (int i_18 = 0; i_18 < 3; i_18++) {
			x_rows[i_18 + 1] = (rows[i_18] * 2 + group_2) * 64;
		}
		const int first_row_2 = group_2 * 64;
		int row_words_2[4];
		#pragma unroll
		for (int i_17 = 0; i_17 < 4; i_17++) {
			row_words_2[i_17] = first_row_2 * 64 + (first_2 + i_17) * 64;
		}
		float sums_6[16];
		#pragma unroll
		for (int i_15 = 0; i_15 < 4; i_15++) {
			sums_6[i_15] = 0.0f;
			sums_6[i_15 + 4] = 0.0f;
			sums_6[i_15 + 8] = 0.0f;
			sums_6[i_15 + 12] = 0.0f;
		}
		uint2 words_2[4];
		float4 xs[4];
		#pragma unroll
		for (int i_9 = 0; i_9 < 2; i_9++) {
			#pragma unroll
			for (int i_12 = 0; i_12 < 4; i_12++) {
				words_2[i_12] = w[row_words_2[i_12] + (lane * 2 + i_9)];
			}
			#pragma unroll
			for (int i_13 = 0; i_13 < 4; i_13++) {
				xs[i_13] = x[x_rows[i_13] + (lane * 2 + i_9)];
			}
			#pragma unroll
			for (int i_10 = 0; i_10 < 4; i_10++) {
				const float w_34 = as_type<float>((words_2[i_10].x & 0xffffu) << 16);
				const float w_35 = as_type<float>((words_2[i_10].x >> 16) << 16);
				const float w_36 = as_type<float>((words_2[i_10].y & 0xffffu) << 16);
				const float w_37 = as_type<float>((words_2[i_10].y >> 16) << 16);
				#pragma unroll
				for (int i_11 = 0; i_11 < 4; i_11++) {
					sums_6[i_10 + i_11 * 4] = fma(w_37, xs[i_11].w, fma(w_36, xs[i_11].z,
							fma(w_35, xs[i_11].y, fma(w_34, xs[i_11].x, sums_6[i_10 + i_11 * 4]))));
				}
			}
		}
		float products_2[4];
		float products_6[12];
		#pragma unroll
		for (int i_14 = 0; i_14 < 4; i_14++) {
			products_2[i_14] = simd_sum(sums_6[i_14]);
			products_6[i_14] = simd_sum(sums_6[i_14 + 4]);
			products_6[i_14 + 4] = simd_sum(sums_6[i_14 + 8]);
			products_6[i_14 + 8] = simd_sum(sums_6[i_14 + 12]);
		}

		// every lane has the sums; lane 0 writes
		if (lane == 0) {
			#pragma unroll
			for (int i_7 = 0; i_7 < 4; i_7++) {
				y[(row0 * 2 + group_2) * 64 + (first_2 + i_7)] = products_2[i_7];
				#pragma unroll
				for (int i_8 = 0; i_8 < 3; i_8++) {
					if (lives[i_8]) {
						y[(rows[i_8] * 2 + group_2) * 64 + (first_2 + i_7)] = products_6[i_7 + i_8 * 4];
					}
				}
			}
		}
	}
}
