// attn_cache_decode
//
// finishes vectors and appends them to caches, a SIMD group each
//
// Stands for (region cache):
//   %448 = rms_norm(%430) {eps = 1e-06} : tensor<T x 128 x f32>
//   %449 = dequantize @layers.2.attn.kv_norm.weight : tensor<128 x f32>
//   %450 = mul(%448, %449) : tensor<T x 128 x f32>
//   %451 = rope(%450, %position) {dims = 64, theta = 160000.0, factor = 4.0, original = 128, betaFast = 32.0,
//       betaSlow = 1.0} : tensor<T x 128 x f32>
//   %452 = state @layers.2.attn.window : state<128 x f32>
//   %453 = round_to(%451) {format = "e4m3", block = 64, count = 64} : tensor<T x 128 x f32>
//   %layers.2.attn.window.row = round_to(%453) {format = "bf16", from = 64, count = 64} : tensor<T x 128 x
//       f32>
//   %455 = append(%452, %slot, %position, %layers.2.attn.window.row) : state<128 x f32>
//   %456 = closing_rows(%position) {ratio = 128} : tensor<E128 x i32>
//   %457 = take_rows(%position, %456) : tensor<E128 x i32>
//   %458 = take_rows(%slot, %456) : tensor<E128 x i32>
//   %459 = index_range(%457) {first = i-127, count = 128, limit = i+1} : tensor<E128 x 128 x i32>
//   %460 = read(%440, %458, %459) : tensor<E128 x 128 x 128 x f32>
//   %461 = index_range(%457) {first = i-127, count = 128, limit = i+1} : tensor<E128 x 128 x i32>
//   %462 = read(%442, %458, %461) {missing = -inf} : tensor<E128 x 128 x 128 x f32>
//   %463 = softmax(%462) {axis = 1} : tensor<E128 x 128 x 128 x f32>
//   %464 = mul(%463, %460) : tensor<E128 x 128 x 128 x f32>
//   %465 = reduce_sum(%464) {axis = 1} : tensor<E128 x 128 x f32>
//   %466 = rms_norm(%465) {eps = 1e-06} : tensor<E128 x 128 x f32>
//   %467 = dequantize @layers.2.attn.compressor.norm.weight : tensor<128 x f32>
//   %468 = mul(%466, %467) : tensor<E128 x 128 x f32>
//   %469 = index_map(%457) {to = i-127} : tensor<E128 x i32>
//   %470 = rope(%468, %469) {dims = 64, theta = 160000.0, factor = 4.0, original = 128, betaFast = 32.0,
//       betaSlow = 1.0} : tensor<E128 x 128 x f32>
//   %471 = index_map(%457) {to = floor(i/128)} : tensor<E128 x i32>
//   %472 = state @layers.2.attn.compressor.entries : state<128 x f32>
//   %473 = round_to(%470) {format = "e4m3", block = 64, count = 64} : tensor<E128 x 128 x f32>
//   %layers.2.attn.compressor.entries.row = round_to(%473) {format = "bf16", from = 64, count = 64} :
//       tensor<E128 x 128 x f32>
//   %475 = append(%472, %458, %471, %layers.2.attn.compressor.entries.row) : state<128 x f32>
//
// Launch: threadgroups of 512 threads in SIMD groups of 32 lanes; 25088 bytes of threadgroup memory.
// Schedule: vectors per threadgroup = 4 (a SIMD group holds one in registers; norm, rotation and rounding
//     need no threadgroup memory)
// Schedule: SIMD groups that pool a block of 128 = 1 by channels, 16 by tokens (a token's row is far away:
//     tokens are asked for beside each other)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float4 *x;
	device uint *cache;
	device const float4 *values;
	device const float4 *scores;
	device uint *cache_2;
	device const ushort *norm;
	device const ushort *norm_2;
};

struct Step {
	int T;
	int W;
	int P;
	int E4;
	int E128;
	int token[16];
	int position[16];
	int slot[16];
	int wanted[16];
	int closing4[16];
	int closing128[16];
	float rope0[1024];
	float rope1[1024];
	float rope2[1024];
	float rope3[1024];
};

[[kernel, max_total_threads_per_threadgroup(512)]]
void attn_cache_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup float shares[6144];
	threadgroup float pooled[128];

	const int group_x = int(group_position.x);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float4 *x = args.x;
	device uint *cache = args.cache;
	device const float4 *values = args.values;
	device const float4 *scores = args.scores;
	device uint *cache_2 = args.cache_2;
	device const ushort *norm = args.norm;
	device const ushort *norm_2 = args.norm_2;

	const int groups = (step.T + 3) / 4;
	if (group_x < groups) {
		// entry 0: each row's vector
		const int job = group_x * 4 + simd_group / 4;
		if (job < step.T && simd_group % 4 == 0) {
			float4 x_2 = x[job * 32 + lane];

			// norm
			const float4 squares = x_2 * x_2;
			const float rms = precise::sqrt(simd_sum(squares.x + squares.y +
					(squares.z + squares.w)) / 128.0f + 1e-6f);
			x_2 = x_2 / float4(rms) * float4(as_type<float>(uint(norm[lane * 4]) << 16),
					as_type<float>(uint(norm[lane * 4 + 1]) << 16), as_type<float>(uint(norm[lane * 4 +
					2]) << 16), as_type<float>(uint(norm[lane * 4 + 3]) << 16));

			// rotary embedding
			const int rope_at = job * 64;
			if (lane >= 16) {
				const int rotated = lane * 4 - 64;
				const float4 turns = float4(step.rope1[rope_at + rotated], step.rope1[rope_at + rotated + 1],
						step.rope1[rope_at + rotated + 2], step.rope1[rope_at + rotated + 3]);
				x_2 = float4(x_2.x * turns.x - x_2.y * turns.y, x_2.x * turns.y + x_2.y * turns.x,
						x_2.z * turns.z - x_2.w * turns.w, x_2.z * turns.w + x_2.w * turns.z);
			}

			// append
			const int cache_row = (step.slot[job] * 512 + (step.position[job] & 0x01ff)) * 50;

			// scale of each block: the least power of two that brings its largest magnitude within the codes
			const float4 magnitudes = fabs(x_2);
			const float amax = lane < 16 ? fmax(fmax(magnitudes.x, magnitudes.y),
					fmax(magnitudes.z, magnitudes.w)) : 0.0f;
			const float amax_2 = fmax(amax, simd_shuffle_xor(amax, 1));
			const float amax_3 = fmax(amax_2, simd_shuffle_xor(amax_2, 2));
			const float amax_4 = fmax(amax_3, simd_shuffle_xor(amax_3, 4));
			const int scale = max(((as_type<int>(fmax(amax_4, simd_shuffle_xor(amax_4, 8))) +
					2097151) >> 23) - 8, 105);
			if (lane < 16) {
				const int to = cache_row + lane;
				const float4 scaled = x_2 * float4(as_type<float>((254 - scale) << 23));
				const int4 exponent = max((as_type<int4>(scaled) >> int4(23)) & int4(255), int4(121));
				const float4 steps = rint(scaled * as_type<float4>((int4(257) - exponent) << int4(23)));
				const uint4 codes = as_type<uint4>((((exponent - int4(121)) << int4(3)) + int4(fabs(steps))) |
						((as_type<int4>(x_2) >> int4(31)) & int4(128)));
				const uint packed = codes.x | (codes.y << 8) | (codes.z << 16) | (codes.w << 24);
				cache[to] = packed;
			}
			const uint scales = uint(simd_shuffle(scale, ushort(0)));
			if (lane == 0) {
				cache[cache_row + 48] = scales;
				cache[cache_row + 49] = 0u;
			}
			if (lane >= 16) {
				const int to_2 = cache_row + ((lane - 16) * 2 + 16);
				const uint4 bf16 = (as_type<uint4>(x_2) + uint4(32767u) +
						((as_type<uint4>(x_2) >> uint4(16u)) & uint4(1u))) & uint4(0xffff0000u);
				cache[to_2] = (bf16.x >> 16) | bf16.y;
				cache[to_2 + 1] = (bf16.z >> 16) | bf16.w;
			}
		}
	} else {
		const int group = group_x - groups;

		// entry 1: a vector for each row that closes a block of 128
		const int job_2 = group + simd_group / 16;
		const int vector = simd_group / 16;
		const int part = 0;
		const int share = simd_group % 16;
		const int shares_at = vector * 6144;
		if (job_2 < step.E128) {
			const int row = step.closing128[job_2];
			const int slot = step.slot[row];
			const int after = step.position[row] + 1;
			const int first = after - 128;
			float4 scores_2[2];
			float4 tops[3];
			float4 values_2[2];
			for (int chunk = part * 32 + lane; chunk < 32; chunk += 32) {
				tops[0] = float4(-3.4028235e38f);
				tops[1] = float4(0.0f);
				tops[2] = float4(0.0f);
				for (int token = first + share * 2; token < after; token += 32) {
					#pragma unroll
					for (int i = 0; i < 2; i++) {
						const int token_2 = min(token + i, after - 1);
						const int scores_row = (slot * 512 + (token_2 & 0x01ff)) * 32;
						scores_2[i] = scores[scores_row + chunk * 4 / 4];
						const int values_row = (slot * 512 + (token_2 & 0x01ff)) * 32;
						values_2[i] = values[values_row + chunk * 4 / 4];
					}
					const float4 highest = fmax(fmax(tops[0], scores_2[0]), scores_2[1]);
					const float4 shrink = precise::exp(tops[0] - highest);
					tops[1] *= shrink;
					tops[2] *= shrink;
					tops[0] = highest;
					#pragma unroll
					for (int i_2 = 0; i_2 < 2; i_2++) {
						const float4 weight = token + i_2 < after ? precise::exp(scores_2[i_2] - highest) :
								float4(0.0f);
						tops[1] += weight;
						tops[2] = fma(weight, values_2[i_2], tops[2]);
					}
				}
				#pragma unroll
				for (int i_3 = 0; i_3 < 3; i_3++) {
					shares[shares_at + (share * 3 + i_3) * 128 + chunk] = tops[i_3].x;
					shares[shares_at + (share * 3 + i_3) * 128 + 32 + chunk] = tops[i_3].y;
					shares[shares_at + (share * 3 + i_3) * 128 + 64 + chunk] = tops[i_3].z;
					shares[shares_at + (share * 3 + i_3) * 128 + 96 + chunk] = tops[i_3].w;
				}
			}
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		const int pooled_at = vector * 128;
		if (job_2 < step.E128 && share == 0) {
			float4 sums[2];
			for (int chunk_2 = part * 32 + lane; chunk_2 < 32; chunk_2 += 32) {
				float4 top_2 = float4(-3.4028235e38f);
				sums[0] = float4(0.0f);
				sums[1] = float4(0.0f);
				for (int of = 0; of < 16; of++) {
					top_2 = fmax(top_2, float4(shares[shares_at + of * 3 * 128 + chunk_2],
							shares[shares_at + of * 3 * 128 + 32 + chunk_2], shares[shares_at + of * 3 * 128 +
							64 + chunk_2], shares[shares_at + of * 3 * 128 + 96 + chunk_2]));
				}
				for (int of_2 = 0; of_2 < 16; of_2++) {
					const float4 weight_3 = precise::exp(float4(shares[shares_at + of_2 * 3 * 128 + chunk_2],
							shares[shares_at + of_2 * 3 * 128 + 32 + chunk_2],
							shares[shares_at + of_2 * 3 * 128 + 64 + chunk_2],
							shares[shares_at + of_2 * 3 * 128 + 96 + chunk_2]) - top_2);
					#pragma unroll
					for (int i_4 = 0; i_4 < 2; i_4++) {
						sums[i_4] = fma(weight_3, float4(shares[shares_at + (of_2 * 3 + (i_4 + 1)) * 128 +
								chunk_2], shares[shares_at + (of_2 * 3 + (i_4 + 1)) * 128 + 32 + chunk_2],
								shares[shares_at + (of_2 * 3 + (i_4 + 1)) * 128 + 64 + chunk_2],
								shares[shares_at + (of_2 * 3 + (i_4 + 1)) * 128 + 96 + chunk_2]), sums[i_4]);
					}
				}
				const float4 mean = sums[1] / sums[0];
				const int to_3 = pooled_at + chunk_2 * 4;
				pooled[to_3] = mean.x;
				pooled[to_3 + 1] = mean.y;
				pooled[to_3 + 2] = mean.z;
				pooled[to_3 + 3] = mean.w;
			}
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		if (job_2 < step.E128 && simd_group % 16 == 0) {
			float4 x_3 = float4(pooled[pooled_at + lane * 4], pooled[pooled_at + (lane * 4 + 1)],
					pooled[pooled_at + (lane * 4 + 2)], pooled[pooled_at + (lane * 4 + 3)]);
			const int closing_row = step.closing128[job_2];

			// norm
			const float4 squares_2 = x_3 * x_3;
			const float rms_2 = precise::sqrt(simd_sum(squares_2.x + squares_2.y +
					(squares_2.z + squares_2.w)) / 128.0f + 1e-6f);
			x_3 = x_3 / float4(rms_2) * float4(as_type<float>(uint(norm_2[lane * 4]) << 16),
					as_type<float>(uint(norm_2[lane * 4 + 1]) << 16), as_type<float>(uint(norm_2[lane * 4 +
					2]) << 16), as_type<float>(uint(norm_2[lane * 4 + 3]) << 16));

			// rotary embedding
			const int rope_at_2 = job_2 * 64;
			if (lane >= 16) {
				const int rotated_2 = lane * 4 - 64;
				const float4 turns_2 = float4(step.rope3[rope_at_2 + rotated_2],
						step.rope3[rope_at_2 + rotated_2 + 1], step.rope3[rope_at_2 + rotated_2 + 2],
						step.rope3[rope_at_2 + rotated_2 + 3]);
				x_3 = float4(x_3.x * turns_2.x - x_3.y * turns_2.y, x_3.x * turns_2.y + x_3.y * turns_2.x,
						x_3.z * turns_2.z - x_3.w * turns_2.w, x_3.z * turns_2.w + x_3.w * turns_2.z);
			}

			// append
			const int cache_row_2 = (step.slot[closing_row] * 512 + step.position[closing_row] / 128) * 50;

			// scale of each block: the least power of two that brings its largest magnitude within the codes
			const float4 magnitudes_2 = fabs(x_3);
			const float amax_5 = lane < 16 ? fmax(fmax(magnitudes_2.x, magnitudes_2.y),
					fmax(magnitudes_2.z, magnitudes_2.w)) : 0.0f;
			const float amax_6 = fmax(amax_5, simd_shuffle_xor(amax_5, 1));
			const float amax_7 = fmax(amax_6, simd_shuffle_xor(amax_6, 2));
			const float amax_8 = fmax(amax_7, simd_shuffle_xor(amax_7, 4));
			const int scale_2 = max(((as_type<int>(fmax(amax_8, simd_shuffle_xor(amax_8, 8))) +
					2097151) >> 23) - 8, 105);
			if (lane < 16) {
				const int to_4 = cache_row_2 + lane;
				const float4 scaled_2 = x_3 * float4(as_type<float>((254 - scale_2) << 23));
				const int4 exponent_2 = max((as_type<int4>(scaled_2) >> int4(23)) & int4(255), int4(121));
				const float4 steps_2 = rint(scaled_2 * as_type<float4>((int4(257) - exponent_2) << int4(23)));
				const uint4 codes_2 = as_type<uint4>((((exponent_2 - int4(121)) << int4(3)) +
						int4(fabs(steps_2))) | ((as_type<int4>(x_3) >> int4(31)) & int4(128)));
				const uint packed_2 = codes_2.x | (codes_2.y << 8) | (codes_2.z << 16) | (codes_2.w << 24);
				cache_2[to_4] = packed_2;
			}
			const uint scales_2 = uint(simd_shuffle(scale_2, ushort(0)));
			if (lane == 0) {
				cache_2[cache_row_2 + 48] = scales_2;
				cache_2[cache_row_2 + 49] = 0u;
			}
			if (lane >= 16) {
				const int to_5 = cache_row_2 + ((lane - 16) * 2 + 16);
				const uint4 bf16_2 = (as_type<uint4>(x_3) + uint4(32767u) +
						((as_type<uint4>(x_3) >> uint4(16u)) & uint4(1u))) & uint4(0xffff0000u);
				cache_2[to_5] = (bf16_2.x >> 16) | bf16_2.y;
				cache_2[to_5 + 1] = (bf16_2.z >> 16) | bf16_2.w;
			}
		}
	}
}
