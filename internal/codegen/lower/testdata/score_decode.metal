// score_decode
//
// How probable tokens are: one of each ask's row, and the most probable ones. A pair of
// words for each: the token, -1 if there is none, and the logarithm of its probability.
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 320 bytes of threadgroup memory.
// Schedule: threads = 128 (a row: they look at the sums of its parts, and at the best tokens of each)
// Schedule: tokens of a part = 512 (1 parts of a row of 256 logits, for all cores to have some)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float *logits;
	device const uint *largest;
	device const float *sums;
	device const uint *top_keys;
	device const int *top_ids;
	device const int *tokens;
	device uint *scores;
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
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void score_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup uint group_keys[4];
	threadgroup float partial[4];
	threadgroup uint best_keys[20];
	threadgroup int best_ids[20];
	threadgroup int counts[24];
	threadgroup int taken[8];

	const int group_x = int(group_position.x);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float *logits = args.logits;
	device const uint *largest = args.largest;
	device const float *sums = args.sums;
	device const uint *top_keys = args.top_keys;
	device const int *top_ids = args.top_ids;
	device const int *tokens = args.tokens;
	device uint *scores = args.scores;

	const int ask = group_x;
	const int row = step.score_row[ask];
	const int top = step.score_top[ask];
	uint most = 0u;
	const int parts = ask;
	for (int i = tid; i < 1; i += 128) {
		const uint key = largest[parts + i];
		most = max(most, key);
	}
	const uint most_of_lanes = simd_max(most);
	if (lane == 0) {
		group_keys[simd_group] = most_of_lanes;
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	const uint most_of_all = simd_max(group_keys[min(lane, 3)]);
	const float logit = as_type<float>(most_of_all >= 0x80000000u ? most_of_all ^ 0x80000000u : ~most_of_all);
	const float largest_2 = logit;
	float sum = 0.0f;
	float lost = 0.0f;
	for (int i_2 = tid; i_2 < 1; i_2 += 128) {
		const int part_at = parts + i_2;
		const float logit_2 = as_type<float>(largest[part_at] >= 0x80000000u ? largest[part_at] ^
				0x80000000u : ~largest[part_at]);
		const float below = logit_2 - largest_2;
		const float term = sums[part_at] * precise::exp(below) - lost;
		const float with = sum + term;
		const float added = with - sum;
		lost = added - term;
		sum = with;
	}
	const float part = simd_sum(sum);
	threadgroup_barrier(mem_flags::mem_threadgroup);
	if (lane == 0) {
		partial[simd_group] = part;
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	const float total = partial[0] + partial[1] + partial[2] + partial[3];
	const float log_total = precise::log(total);
	const int into = step.score_into;
	const int to = (into + ask) * 42;
	if (tid == 0) {
		int token = step.score_token[ask];
		if (token < 0) {
			token = tokens[into + row];
		}
		const bool known = token >= 0;
		const float logit_3 = logits[row * 256 + max(token, 0)];
		const float logit_4 = as_type<float>(0u >= 0x80000000u ? 0u ^ 0x80000000u : ~0u);
		const int pair = to;
		scores[pair] = as_type<uint>(token);
		const float score = (known ? logit_3 : logit_4) - largest_2 - log_total;
		scores[pair + 1] = as_type<uint>(score);
	}
	if (top > 0) {
		const int tops = ask * 20 + 0 * top;
		const int n = top;
		const int run = (n + 127) / 128 * 32;
		const int from = simd_group * run;
		const int to_2 = min(from + run, n);

		// The k-th largest key, 2 bits a pass.
		uint bound = 0u;
		int above = 0;
		int left = n;
		int totals[3];
		for (int pass = 0; pass < 16; pass++) {
			const uint shift = uint(30 - pass * 2);
			const uint at_least = bound + (1u << shift);
			const uint at_least_2 = bound + (2u << shift);
			const uint at_least_3 = bound + (3u << shift);
			int mine0 = 0;
			int mine1 = 0;
			int mine2 = 0;
			for (int i_3 = tid; i_3 < left; i_3 += 128) {
				const uint key_2 = top_keys[tops + i_3];
				mine0 += key_2 >= at_least ? 1 : 0;
				mine1 += key_2 >= at_least_2 ? 1 : 0;
				mine2 += key_2 >= at_least_3 ? 1 : 0;
			}
			const int place = (pass & 1) * 12;
			const int sum_2 = simd_sum(mine0);
			const int sum_3 = simd_sum(mine1);
			const int sum_4 = simd_sum(mine2);
			if (lane == 0) {
				counts[place + simd_group * 3] = sum_2;
				counts[place + simd_group * 3 + 1] = sum_3;
				counts[place + simd_group * 3 + 2] = sum_4;
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			#pragma unroll
			for (int i_6 = 0; i_6 < 3; i_6++) {
				totals[i_6] = simd_sum(lane < 4 ? counts[place + i_6 + min(lane, 3) * 3] : 0);
			}
			if (totals[2] >= top) {
				bound = at_least_3;
				if (totals[2] == top) {
					left = 0;
					above = 0;
				}
			} else {
				above = totals[2];
				if (totals[1] >= top) {
					bound = at_least_2;
					if (totals[1] == top) {
						left = 0;
						above = 0;
					}
				} else {
					above = totals[1];
					if (totals[0] >= top) {
						bound = at_least;
						if (totals[0] == top) {
							left = 0;
							above = 0;
						}
					} else {
						above = totals[0];
					}
				}
			}
		}

		// Emit them in ascending order.
		const int ties = top - above;
		int mine0_2 = 0;
		int mine1_2 = 0;
		for (int first = from; first < to_2; first += 32) {
			const int i_4 = first + lane;
			const uint key_3 = top_keys[tops + min(i_4, n - 1)];
			const int is_larger = i_4 < to_2 && key_3 > bound ? 1 : 0;
			const int is_equal = i_4 < to_2 && key_3 == bound ? 1 : 0;
			mine0_2 += is_larger;
			mine1_2 += is_equal;
		}
		const int sum_5 = simd_sum(mine0_2);
		const int sum_6 = simd_sum(mine1_2);
		if (lane == 0) {
			taken[simd_group * 2] = sum_5;
			taken[simd_group * 2 + 1] = sum_6;
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		int larger = simd_sum(lane < simd_group ? taken[min(lane, 3) * 2] : 0);
		int equal = simd_sum(lane < simd_group ? taken[1 + min(lane, 3) * 2] : 0);
		for (int first_2 = from; first_2 < to_2; first_2 += 32) {
			const int i_5 = first_2 + lane;
			const uint key_4 = top_keys[tops + min(i_5, n - 1)];
			const int is_larger_2 = i_5 < to_2 && key_4 > bound ? 1 : 0;
			const int is_equal_2 = i_5 < to_2 && key_4 == bound ? 1 : 0;
			const int both = is_larger_2 + is_equal_2 * 64;
			const int before = simd_prefix_exclusive_sum(both);
			const int rank = equal + before / 64;
			const int position = larger + (before & 63) + min(rank, ties);
			if (is_larger_2 == 1 || (is_equal_2 == 1 && rank < ties)) {
				best_keys[position] = key_4;
				best_ids[position] = top_ids[tops + i_5];
			}
			const int sum_7 = simd_sum(both);
			larger += sum_7 & 63;
			equal += sum_7 / 64;
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		for (int mine = tid; mine < top; mine += 128) {
			const uint key_5 = best_keys[mine];
			int rank_2 = 1;
			for (int other = 0; other < top; other++) {
				const uint k = best_keys[other];
				rank_2 += k > key_5 || (k == key_5 && other < mine) ? 1 : 0;
			}
			const bool none = key_5 == 0u;
			const float logit_5 = as_type<float>(key_5 >= 0x80000000u ? key_5 ^ 0x80000000u : ~key_5);
			const int pair_2 = to + rank_2 * 2;
			scores[pair_2] = as_type<uint>(none ? -1 : best_ids[mine]);
			const float score_2 = logit_5 - largest_2 - log_total;
			scores[pair_2 + 1] = as_type<uint>(score_2);
		}
	}
}
