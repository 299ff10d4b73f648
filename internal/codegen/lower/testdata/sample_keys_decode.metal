// sample_keys_decode
//
// The keys of a part's tokens that may be picked, after the changes of their logits,
// and the part's best token. Rows with a negative inverse temperature are left alone.
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 2080 bytes of threadgroup memory.
// Schedule: threads = 128 (a thread has four tokens of a part, one load of logits)
// Schedule: tokens of a part = 512 (1 parts of a row of 256 logits, for all cores to have some)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float4 *logits;
	device uint *keys;
	device uint *best_keys;
	device int *best_ids;
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
	int source[16];
	int score_row[16];
	int score_token[16];
	int score_top[16];
	int score_into;
	int sample_into;
	float sample_inv[16];
	int sample_top_k[16];
	int sample_top_p[16];
	int sample_min_p[16];
	int sample_random[16];
	int sample_mask[16];
	int sample_from[16];
	int sample_to[16];
	float sample_positive[16];
	float sample_negative[16];
	int sample_masks[128];
	int sample_tokens[1024];
	float sample_less[1024];
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void sample_keys_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup uint part_keys[512];
	threadgroup uint group_keys[4];
	threadgroup int group_ids[4];

	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float4 *logits = args.logits;
	device uint *keys = args.keys;
	device uint *best_keys = args.best_keys;
	device int *best_ids = args.best_ids;

	const int row = group_y;
	const int base = row * 256;
	const float inv = step.sample_inv[row];
	if (inv >= 0.0f) {
		const int first_id = group_x * 512;
		const int end_id = min(first_id + 512, 256);
		const bool draws = inv > 0.0f;
		const int changes_from = step.sample_from[row];
		const int changes_to = step.sample_to[row];
		const bool changes = changes_from < changes_to;
		uint best_key = 0u;
		int best_id = -1;
		const int mask = step.sample_mask[row] * 8;
		for (int run = simd_group; run < 4; run += 4) {
			const int run_id = first_id + run * 128;
			const int first_of_run = run_id + lane * 4;
			if (first_of_run < 256) {
				const float4 x = logits[(base + first_of_run) / 4];
				const uint allowed = as_type<uint>(step.sample_masks[mask + first_of_run / 32]);
				const uint allowed_from = allowed >> as_type<uint>(first_of_run & 31);
				const float logit = x.x;
				const uint bits = as_type<uint>(logit);
				const uint magnitude = bits & 0x7fffffffu;
				const uint key = (allowed_from & 1u) == 0u ? 0u : magnitude > 0x7f800000u ? 0u : magnitude ==
						0u ? 0x80000000u : bits >= 0x80000000u ? ~bits : bits | 0x80000000u;
				const int i = first_of_run - first_id;
				if (changes) {
					part_keys[i] = key;
				} else {
					const int id = first_id + i;
					if (key > best_key) {
						best_key = key;
						best_id = id;
					}
					if (draws) {
						keys[base + id] = key;
					}
				}
				const float logit_2 = x.y;
				const uint bits_2 = as_type<uint>(logit_2);
				const uint magnitude_2 = bits_2 & 0x7fffffffu;
				const uint key_2 = (allowed_from & 2u) == 0u ? 0u : magnitude_2 > 0x7f800000u ? 0u :
						magnitude_2 == 0u ? 0x80000000u : bits_2 >= 0x80000000u ? ~bits_2 : bits_2 |
						0x80000000u;
				const int i_2 = first_of_run - first_id + 1;
				if (changes) {
					part_keys[i_2] = key_2;
				} else {
					const int id_2 = first_id + i_2;
					if (key_2 > best_key) {
						best_key = key_2;
						best_id = id_2;
					}
					if (draws) {
						keys[base + id_2] = key_2;
					}
				}
				const float logit_3 = x.z;
				const uint bits_3 = as_type<uint>(logit_3);
				const uint magnitude_3 = bits_3 & 0x7fffffffu;
				const uint key_3 = (allowed_from & 4u) == 0u ? 0u : magnitude_3 > 0x7f800000u ? 0u :
						magnitude_3 == 0u ? 0x80000000u : bits_3 >= 0x80000000u ? ~bits_3 : bits_3 |
						0x80000000u;
				const int i_3 = first_of_run - first_id + 2;
				if (changes) {
					part_keys[i_3] = key_3;
				} else {
					const int id_3 = first_id + i_3;
					if (key_3 > best_key) {
						best_key = key_3;
						best_id = id_3;
					}
					if (draws) {
						keys[base + id_3] = key_3;
					}
				}
				const float logit_4 = x.w;
				const uint bits_4 = as_type<uint>(logit_4);
				const uint magnitude_4 = bits_4 & 0x7fffffffu;
				const uint key_4 = (allowed_from & 8u) == 0u ? 0u : magnitude_4 > 0x7f800000u ? 0u :
						magnitude_4 == 0u ? 0x80000000u : bits_4 >= 0x80000000u ? ~bits_4 : bits_4 |
						0x80000000u;
				const int i_4 = first_of_run - first_id + 3;
				if (changes) {
					part_keys[i_4] = key_4;
				} else {
					const int id_4 = first_id + i_4;
					if (key_4 > best_key) {
						best_key = key_4;
						best_id = id_4;
					}
					if (draws) {
						keys[base + id_4] = key_4;
					}
				}
			}
		}
		if (changes) {
			threadgroup_barrier(mem_flags::mem_threadgroup);

			// Logits are changed as pick.Changes says.
			const float positive = step.sample_positive[row];
			const float negative = step.sample_negative[row];
			int n_ats[4];
			int tokens[4];
			int tokens_2[4];
			for (int n = changes_from + tid; n < changes_to; n += 512) {
				#pragma unroll
				for (int i_7 = 0; i_7 < 4; i_7++) {
					n_ats[i_7] = n + i_7 * 128;
					tokens[i_7] = step.sample_tokens[min(n_ats[i_7], changes_to - 1)];
					tokens_2[i_7] = tokens[i_7] < 0 ? -1 - tokens[i_7] : tokens[i_7];
				}
				#pragma unroll
				for (int i_6 = 0; i_6 < 4; i_6++) {
					if (n_ats[i_6] < changes_to && tokens_2[i_6] >= first_id && tokens_2[i_6] < end_id) {
						const int place = tokens_2[i_6] - first_id;
						const uint key_5 = part_keys[place];
						if (key_5 > 0u) {
							const float logit_5 = as_type<float>(key_5 >= 0x80000000u ? key_5 ^ 0x80000000u :
									~key_5);
							const float logit_6 = (as_type<uint>(logit_5) & 0x7fffffffu) < 0x00800000u ?
									0.0f : logit_5;
							const float factor = tokens[i_6] < 0 ? 1.0f : logit_6 > 0.0f ? positive :
									negative;
							const float scaled = logit_6 * factor;
							const float less = ((as_type<uint>(scaled) & 0x7fffffffu) < 0x00800000u ? 0.0f :
									scaled) - step.sample_less[n_ats[i_6]];
							const float changed = (as_type<uint>(less) & 0x7fffffffu) < 0x00800000u ? 0.0f :
									less;
							const uint bits_5 = as_type<uint>(changed);
							const uint magnitude_5 = bits_5 & 0x7fffffffu;
							part_keys[place] = magnitude_5 > 0x7f800000u ? 0u : magnitude_5 == 0u ?
									0x80000000u : bits_5 >= 0x80000000u ? ~bits_5 : bits_5 | 0x80000000u;
						}
					}
				}
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			for (int i_5 = tid; i_5 < end_id - first_id; i_5 += 128) {
				const uint key_9 = part_keys[i_5];
				const int id_5 = first_id + i_5;
				if (key_9 > best_key) {
					best_key = key_9;
					best_id = id_5;
				}
				if (draws) {
					keys[base + id_5] = key_9;
				}
			}
		}
		const uint most = simd_max(best_key);
		const int first = simd_min(best_key == most ? best_id : 1073741824);
		if (lane == 0) {
			group_keys[simd_group] = most;
			group_ids[simd_group] = first;
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		uint row_key = 0u;
		int row_id = -1;
		for (int g = 0; g < 4; g++) {
			const uint k = group_keys[g];
			const int id_6 = group_ids[g];
			if (k > row_key || (k == row_key && id_6 < row_id)) {
				row_key = k;
				row_id = id_6;
			}
		}
		if (tid == 0) {
			const int at = row + group_x;
			best_keys[at] = row_key;
			best_ids[at] = row_id;
		}
	}
}
