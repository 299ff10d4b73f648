// attn_attend_decode
//
// attention over a window and entries: a tile of them is unpacked for the heads of a threadgroup, of which a
//     SIMD group has a few
//
// Stands for (region attention):
//   %56 = reshape(%47) {shape = [T, 4, 128]} : tensor<T x 4 x 128 x f32>
//   %57 = rms_norm(%56) {eps = 1e-06} : tensor<T x 4 x 128 x f32>
//   %58 = rope(%57, %position) {dims = 64, theta = 10000.0} : tensor<T x 4 x 128 x f32>
//   %59 = index_range(%position) {first = i-15, count = 16, limit = i+1} : tensor<T x 16 x i32>
//   %60 = read(%55, %slot, %59) : tensor<T x 16 x 128 x f32>
//   %61 = einsum(%58, %60) {spec = "thd,tkd->thk"} : tensor<T x 4 x 16 x f32>
//   %62 = scale(%61) {by = 0.08838834764831843} : tensor<T x 4 x 16 x f32>
//   %63 = mask(%62, %59) {fill = -inf} : tensor<T x 4 x 16 x f32>
//   %64 = dequantize @layers.0.attn.attn_sink : tensor<4 x f32>
//   %65 = sink_softmax(%63, %64) : tensor<T x 4 x 16 x f32>
//   %66 = einsum(%65, %60) {spec = "thk,tkd->thd"} : tensor<T x 4 x 128 x f32>
//   %67 = rope(%66, %position) {dims = 64, theta = 10000.0, inverse = true} : tensor<T x 4 x 128 x f32>
//
// Launch: threadgroups of 32 threads in SIMD groups of 32 lanes; 4352 bytes of threadgroup memory.
// Schedule: heads per SIMD group = 4 (threadgroup memory is read once for them; more need too many registers)
// Schedule: SIMD groups = 1 (a key is unpacked once for their 4 heads)
// Schedule: keys = not split (they fit one tile)
// Schedule: tile = bf16 (it has the cache's elements exactly, in half the memory)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const uint *window;
	device const float4 *q;
	device const uint *sink;
	device float4 *result;
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
};

[[kernel, max_total_threads_per_threadgroup(32)]]
void attn_attend_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup uint tile[1024];
	threadgroup float scores[64];

	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const uint *window = args.window;
	device const float4 *q = args.q;
	device const uint *sink = args.sink;
	device float4 *result = args.result;

	const int row = group_y;
	const int position = step.position[row];
	const int first_key = max(15 - position, 0);
	const int slot = step.slot[row];
	const int head = (group_x + simd_group) * 4;
	float4 accs[4];
	float factors[4];
	float sums_8[4];
	float tops[4];
	float4 xs[4];
	#pragma unroll
	for (int i_14 = 0; i_14 < 4; i_14++) {
		const int q_at = (row * 4 + (head + i_14)) * 32;
		xs[i_14] = q[q_at + lane];
		tops[i_14] = as_type<float>(sink[head + i_14]);
		sums_8[i_14] = 1.0f;
		accs[i_14] = float4(0.0f);
		factors[i_14] = 0.088388346f;
	}
	const int used = 16 - first_key;
	uint codes_3[2];
	uint pairs[2];
	uint pairs_2[2];
	float scales[2];
	for (int slot_at = simd_group; slot_at < 16; slot_at += 2) {
		#pragma unroll
		for (int i_2 = 0; i_2 < 2; i_2++) {
			const int window_row = (slot * 512 + ((position - 15 + (first_key +
					min(slot_at + i_2, used - 1))) & 0x01ff)) * 50;
			const int chunk = min(max(lane, 0), 15);
			codes_3[i_2] = window[window_row + chunk * 4 / 4];
			const int block = chunk * 4 / 64;
			scales[i_2] = as_type<float>(((window[window_row + (block / 4 + 48)] >> ((uint(block) &
					3u) << 3)) & 255u) << 23);
			const int chunk_2 = min(max(lane, 16), 31);
			const int at = window_row + ((chunk_2 * 4 - 64) / 2 + 16);
			pairs[i_2] = window[at];
			pairs_2[i_2] = window[at + 1];
		}
		#pragma unroll
		for (int i = 0; i < 2; i++) {
			const float2 halves = float2(as_type<half2>(((codes_3[i] << 8) & 0x80008000u) |
					((codes_3[i] << 7) & 0x3f803f80u)));
			const float2 halves_2 = float2(as_type<half2>((codes_3[i] & 0x80008000u) |
					((codes_3[i] >> 1) & 0x3f803f80u)));
			const float element = halves.x * 256.0f * scales[i];
			const float element_2 = halves_2.x * 256.0f * scales[i];
			const float element_3 = halves.y * 256.0f * scales[i];
			const float element_4 = halves_2.y * 256.0f * scales[i];
			const float4 next4 = float4(as_type<float>(pairs[i] << 16),
					as_type<float>(pairs[i] & 0xffff0000u), as_type<float>(pairs_2[i] << 16),
					as_type<float>(pairs_2[i] & 0xffff0000u));
			const float4 window4 = float4(element, element_2, element_3, element_4);
			const float4 key4 = lane >= 16 ? next4 : window4;
			tile[(slot_at + i) * 64 + lane] = (as_type<uint>(key4.x) >> 16) |
					(as_type<uint>(key4.y) & 0xffff0000u);
			tile[(slot_at + i) * 64 + 32 + lane] = (as_type<uint>(key4.z) >> 16) |
					(as_type<uint>(key4.w) & 0xffff0000u);
		}
	}
	#pragma unroll
	for (int i_15 = 0; i_15 < 4; i_15++) {
		const float4 products = xs[i_15] * xs[i_15];
		factors[i_15] = 0.088388346f / precise::sqrt(simd_sum(products.x + products.y +
				(products.z + products.w)) / 128.0f + 1e-6f);
	}

	// rotary embedding
	const int rope_at = row * 64;
	if (lane >= 16) {
		#pragma unroll
		for (int i_3 = 0; i_3 < 4; i_3++) {
			const int rotated = lane * 4 - 64;
			const float4 turns = float4(step.rope0[rope_at + rotated], step.rope0[rope_at + rotated + 1],
					step.rope0[rope_at + rotated + 2], step.rope0[rope_at + rotated + 3]);
			xs[i_3] = float4(xs[i_3].x * turns.x - xs[i_3].y * turns.y, xs[i_3].x * turns.y +
					xs[i_3].y * turns.x, xs[i_3].z * turns.z - xs[i_3].w * turns.w, xs[i_3].z * turns.w +
					xs[i_3].w * turns.z);
		}
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	float products_25[16];
	float sums_5[8];
	float sums_6[4];
	float sums_7[2];
	for (int key_at = 0; key_at < 16; key_at += 4) {
		#pragma unroll
		for (int i_4 = 0; i_4 < 4; i_4++) {
			const uint word = tile[(key_at + i_4) * 64 + lane];
			const uint word_2 = tile[(key_at + i_4) * 64 + 32 + lane];
			const float4 key4_3 = float4(as_type<float>(word << 16), as_type<float>(word & 0xffff0000u),
					as_type<float>(word_2 << 16), as_type<float>(word_2 & 0xffff0000u));
			#pragma unroll
			for (int i_5 = 0; i_5 < 4; i_5++) {
				const float4 products_5 = xs[i_5] * key4_3;
				products_25[i_4 + i_5 * 4] = products_5.x + products_5.y + (products_5.z + products_5.w);
			}
		}
		const bool upper = (lane & 16) != 0;
		#pragma unroll
		for (int i_6 = 0; i_6 < 2; i_6++) {
			#pragma unroll
			for (int i_7 = 0; i_7 < 4; i_7++) {
				const float give = upper ? products_25[i_6 + i_7 * 4] : products_25[i_6 + (i_7 * 4 + 2)];
				sums_5[i_6 + i_7 * 2] = (upper ? products_25[i_6 + (i_7 * 4 + 2)] :
						products_25[i_6 + i_7 * 4]) + simd_shuffle_xor(give, 16);
			}
		}
		const bool upper_2 = (lane & 8) != 0;
		#pragma unroll
		for (int i_8 = 0; i_8 < 4; i_8++) {
			const float give_9 = upper_2 ? sums_5[i_8 * 2] : sums_5[i_8 * 2 + 1];
			sums_6[i_8] = (upper_2 ? sums_5[i_8 * 2 + 1] : sums_5[i_8 * 2]) + simd_shuffle_xor(give_9, 8);
		}
		const bool upper_3 = (lane & 4) != 0;
		#pragma unroll
		for (int i_9 = 0; i_9 < 2; i_9++) {
			const float give_13 = upper_3 ? sums_6[i_9] : sums_6[i_9 + 2];
			sums_7[i_9] = (upper_3 ? sums_6[i_9 + 2] : sums_6[i_9]) + simd_shuffle_xor(give_13, 4);
		}
		const bool upper_4 = (lane & 2) != 0;
		const float give_15 = upper_4 ? sums_7[0] : sums_7[1];
		const float sum_19 = (upper_4 ? sums_7[1] : sums_7[0]) + simd_shuffle_xor(give_15, 2);
		const float sum_20 = sum_19 + simd_shuffle_xor(sum_19, 1);
		if (lane % 2 == 0 && lane / 2 < 16) {
			scores[(simd_group * 4 + lane / 2 % 4) * 16 + (key_at + lane / 2 / 4)] = sum_20;
		}
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	float highests[4];
	float sum_of_lanes[4];
	#pragma unroll
	for (int i_17 = 0; i_17 < 4; i_17++) {
		highests[i_17] = tops[i_17];
		sum_of_lanes[i_17] = 0.0f;
	}
	for (int slot_of = lane; slot_of < 16; slot_of += 32) {
		const int used_2 = 16 - first_key;
		const bool there = slot_of % 16 < used_2;
		#pragma unroll
		for (int i_10 = 0; i_10 < 4; i_10++) {
			const int score_at = (simd_group * 4 + i_10) * 16 + slot_of;
			const float score = there ? scores[score_at] * factors[i_10] : -INFINITY;
			highests[i_10] = fmax(highests[i_10], score);
			scores[score_at] = score;
		}
	}
	#pragma unroll
	for (int i_18 = 0; i_18 < 4; i_18++) {
		highests[i_18] = simd_max(highests[i_18]);
	}
	for (int slot_of_2 = lane; slot_of_2 < 16; slot_of_2 += 32) {
		#pragma unroll
		for (int i_11 = 0; i_11 < 4; i_11++) {
			const int score_at_5 = (simd_group * 4 + i_11) * 16 + slot_of_2;
			const float score_5 = scores[score_at_5];
			const float weight = score_5 == -INFINITY ? 0.0f : precise::exp(score_5 - highests[i_11]);
			scores[score_at_5] = weight;
			sum_of_lanes[i_11] += weight;
		}
	}
	#pragma unroll
	for (int i_16 = 0; i_16 < 4; i_16++) {
		sums_8[i_16] = fma(sums_8[i_16], precise::exp(tops[i_16] - highests[i_16]),
				simd_sum(sum_of_lanes[i_16]));
		tops[i_16] = highests[i_16];
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	for (int key = 0; key < 16; key++) {
		const uint word_9 = tile[key * 64 + lane];
		const uint word_10 = tile[key * 64 + 32 + lane];
		const float4 key4_7 = float4(as_type<float>(word_9 << 16), as_type<float>(word_9 & 0xffff0000u),
				as_type<float>(word_10 << 16), as_type<float>(word_10 & 0xffff0000u));
		#pragma unroll
		for (int i_12 = 0; i_12 < 4; i_12++) {
			const float weight_5 = scores[(simd_group * 4 + i_12) * 16 + key];
			accs[i_12] = fma(float4(weight_5), key4_7, accs[i_12]);
		}
	}
	#pragma unroll
	for (int i_13 = 0; i_13 < 4; i_13++) {
		accs[i_13] /= float4(sums_8[i_13]);

		// rotary embedding
		const int rope_at_2 = row * 64;
		if (lane >= 16) {
			const int rotated_5 = lane * 4 - 64;
			const float4 turns_5 = float4(step.rope0[rope_at_2 + rotated_5],
					step.rope0[rope_at_2 + rotated_5 + 1], step.rope0[rope_at_2 + rotated_5 + 2],
					step.rope0[rope_at_2 + rotated_5 + 3]);
			accs[i_13] = float4(accs[i_13].x * turns_5.x - accs[i_13].y * -turns_5.y,
					accs[i_13].x * -turns_5.y + accs[i_13].y * turns_5.x, accs[i_13].z * turns_5.z -
					accs[i_13].w * -turns_5.w, accs[i_13].z * -turns_5.w + accs[i_13].w * turns_5.z);
		}
		const int to = (row * 4 + (head + i_13)) * 32;
		result[to + lane] = accs[i_13];
	}
}
