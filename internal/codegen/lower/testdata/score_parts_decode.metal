// score_parts_decode
//
// Of a part of a row its largest logit, the sum of all exponentials relative to that,
// and its best tokens, as many as are asked for, by ascending id.
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 2208 bytes of threadgroup memory.
// Schedule: threads = 128 (a few tokens each of a part, which stays in threadgroup memory)
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
	device uint *largest;
	device float *sums;
	device uint *top_keys;
	device int *top_ids;
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
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void score_parts_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup uint part_keys[512];
	threadgroup uint group_keys[4];
	threadgroup float partial[4];
	threadgroup int counts[24];
	threadgroup int taken[8];

	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float *logits = args.logits;
	device uint *largest = args.largest;
	device float *sums = args.sums;
	device uint *top_keys = args.top_keys;
	device int *top_ids = args.top_ids;

	const int ask = group_y;
	const int row = step.score_row[ask];
	const int top = step.score_top[ask];
	const int part = group_x;
	const int first_id = part * 512;
	const int tokens = min(256 - first_id, 512);
	const int base = row * 256 + first_id;

	// The keys of the part's logits, and the largest.
	uint most = 0u;
	for (int i = tid; i < tokens; i += 128) {
		const float logit = logits[base + i];
		const uint bits = as_type<uint>(logit);
		const uint magnitude = bits & 0x7fffffffu;
		const uint key = magnitude > 0x7f800000u ? 0u : magnitude == 0u ? 0x80000000u : bits >= 0x80000000u ?
				~bits : bits | 0x80000000u;
		part_keys[i] = key;
		most = max(most, key);
	}
	const uint most_of_lanes = simd_max(most);
	if (lane == 0) {
		group_keys[simd_group] = most_of_lanes;
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	const uint most_of_all = simd_max(group_keys[min(lane, 3)]);

	// The sum of their exponentials. A logit that is NaN makes it NaN, and so does a largest
	// one that is +Inf: its distance from itself is. Where all are -Inf it is 0.
	threadgroup_barrier(mem_flags::mem_threadgroup);
	const float logit_2 = as_type<float>(most_of_all >= 0x80000000u ? most_of_all ^ 0x80000000u :
			~most_of_all);
	const float relative_to = most_of_all == 0x007fffffu ? 0.0f : logit_2;
	float sum = 0.0f;
	float lost = 0.0f;
	for (int i_2 = tid; i_2 < tokens; i_2 += 128) {
		const float logit_3 = as_type<float>(part_keys[i_2] >= 0x80000000u ? part_keys[i_2] ^ 0x80000000u :
				~part_keys[i_2]);
		const float below = logit_3 - relative_to;
		const float term = precise::exp(below) - lost;
		const float with = sum + term;
		const float added = with - sum;
		lost = added - term;
		sum = with;
	}
	const float part_2 = simd_sum(sum);
	threadgroup_barrier(mem_flags::mem_threadgroup);
	if (lane == 0) {
		partial[simd_group] = part_2;
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	const float total = partial[0] + partial[1] + partial[2] + partial[3];
	if (tid == 0) {
		const int at = ask + part;
		largest[at] = most_of_all;
		sums[at] = total;
	}
	if (top > 0) {
		const int tops = ask * 20 + part * top;
		const int k = min(top, tokens);
		const int run = (tokens + 127) / 128 * 32;
		const int from = simd_group * run;
		const int to = min(from + run, tokens);

		// The k-th largest key, 2 bits a pass.
		uint bound = 0u;
		int above = 0;
		int left = tokens;
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
				const uint key_2 = part_keys[i_3];
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
			if (totals[2] >= k) {
				bound = at_least_3;
				if (totals[2] == k) {
					left = 0;
					above = 0;
				}
			} else {
				above = totals[2];
				if (totals[1] >= k) {
					bound = at_least_2;
					if (totals[1] == k) {
						left = 0;
						above = 0;
					}
				} else {
					above = totals[1];
					if (totals[0] >= k) {
						bound = at_least;
						if (totals[0] == k) {
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
		const int ties = k - above;
		int mine0_2 = 0;
		int mine1_2 = 0;
		for (int first = from; first < to; first += 32) {
			const int i_4 = first + lane;
			const uint key_3 = part_keys[min(i_4, tokens - 1)];
			const int is_larger = i_4 < to && key_3 > bound ? 1 : 0;
			const int is_equal = i_4 < to && key_3 == bound ? 1 : 0;
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
		for (int first_2 = from; first_2 < to; first_2 += 32) {
			const int i_5 = first_2 + lane;
			const uint key_4 = part_keys[min(i_5, tokens - 1)];
			const int is_larger_2 = i_5 < to && key_4 > bound ? 1 : 0;
			const int is_equal_2 = i_5 < to && key_4 == bound ? 1 : 0;
			const int both = is_larger_2 + is_equal_2 * 64;
			const int before = simd_prefix_exclusive_sum(both);
			const int rank = equal + before / 64;
			const int position = larger + (before & 63) + min(rank, ties);
			if (is_larger_2 == 1 || (is_equal_2 == 1 && rank < ties)) {
				const int place_2 = tops + position;
				top_keys[place_2] = key_4;
				top_ids[place_2] = first_id + i_5;
			}
			const int sum_7 = simd_sum(both);
			larger += sum_7 & 63;
			equal += sum_7 / 64;
		}
		for (int none = k + tid; none < top; none += 128) {
			const int place_3 = tops + none;
			top_keys[place_3] = 0u;
			top_ids[place_3] = -1;
		}
	}
}
