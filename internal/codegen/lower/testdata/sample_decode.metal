// sample_decode
//
// The token of each wanted row, of those its mask allows: the best of all parts, or one
// drawn by temperature, top-k, top-p and min-p. Rows with a negative inverse temperature
// are left alone.
//
// Launch: threadgroups of 512 threads in SIMD groups of 32 lanes; 13184 bytes of threadgroup memory.
// Schedule: threads = 512 (a row: they look at the sums of its parts, one bucket of its ranking and one part)
// Schedule: tokens of a part = 512 (1 parts of a row of 256 logits, for all cores to have some)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const uint *best_keys;
	device const int *best_ids;
	device const uint *keys;
	device const uint *ranked_keys;
	device const int *ranked_ids;
	device const uint *ranked_weights;
	device const long *through;
	device int *tokens;
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
};

[[kernel, max_total_threads_per_threadgroup(512)]]
void sample_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup uint group_keys[16];
	threadgroup int group_ids[16];
	threadgroup uint group_through_low[512];
	threadgroup uint group_through_high[512];
	threadgroup uint sums_through_low[32];
	threadgroup uint sums_through_high[32];
	threadgroup int member_start[2];
	threadgroup int member_from[1];
	threadgroup uint member_sums_low[16];
	threadgroup uint member_sums_high[16];
	threadgroup int cut_bucket[1];
	threadgroup uint least_keys[16];
	threadgroup uint most_keys[16];
	threadgroup uint digit_sums_low[1024];
	threadgroup uint digit_sums_high[1024];
	threadgroup int found[1];
	threadgroup uint found_before_low[1];
	threadgroup uint found_before_high[1];
	threadgroup uint run_sums_low[16];
	threadgroup uint run_sums_high[16];
	threadgroup uint part_sums_low[1];
	threadgroup uint part_sums_high[1];

	const int group_x = int(group_position.x);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const uint *best_keys = args.best_keys;
	device const int *best_ids = args.best_ids;
	device const uint *keys = args.keys;
	device const uint *ranked_keys = args.ranked_keys;
	device const int *ranked_ids = args.ranked_ids;
	device const uint *ranked_weights = args.ranked_weights;
	device const long *through = args.through;
	device int *tokens = args.tokens;

	const int row = group_x;
	const int base = row * 256;
	const float inv = step.sample_inv[row];
	if (inv >= 0.0f) {
		uint best_key = 0u;
		int best_id = -1;
		for (int n = tid; n < 1; n += 512) {
			const int at = row + n;
			const uint key = best_keys[at];
			const int id = best_ids[at];
			if (key > best_key) {
				best_key = key;
				best_id = id;
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
		for (int g = 0; g < 16; g++) {
			const uint k = group_keys[g];
			const int id_2 = group_ids[g];
			if (k > row_key || (k == row_key && id_2 < row_id)) {
				row_key = k;
				row_id = id_2;
			}
		}
		int picked = row_id;
		if (inv > 0.0f && row_key > 0u) {
			const float logit = as_type<float>(row_key >= 0x80000000u ? row_key ^ 0x80000000u : ~row_key);
			const float largest = (as_type<uint>(logit) & 0x7fffffffu) < 0x00800000u ? 0.0f : logit;
			const uint sample_min_p = as_type<uint>(step.sample_min_p[row]);
			int cut = 31;
			uint bound = 0u;
			int last = -1;
			const uint sample_top_p = as_type<uint>(step.sample_top_p[row]);
			const bool has_top_p = sample_top_p > 0u;
			const int top_k = step.sample_top_k[row];
			const bool has_top_k = top_k > 0 && top_k < 256;
			for (int plane = 0; plane < 2; plane++) {
				const bool counts = plane == 0;
				if ((counts && has_top_k) || (!counts && has_top_p)) {
					long bucket_sum = 0l;
					for (int part = simd_group; part < 1; part += 16) {
						bucket_sum += through[(row * 3 + plane + part) * 32 + lane];
					}
					group_through_low[tid] = uint(bucket_sum & 4194303l);
					group_through_high[tid] = uint(bucket_sum >> 22);
					threadgroup_barrier(mem_flags::mem_threadgroup);
					for (int bucket = simd_group; bucket < 32; bucket += 16) {
						const int group = min(lane, 15);
						const uint low = simd_sum(lane < 16 ? group_through_low[group * 32 + bucket] : 0u);
						const uint high = simd_sum(lane < 16 ? group_through_high[group * 32 + bucket] : 0u);
						if (lane == 0) {
							const long all = (long(high) << 22) + long(low);
							sums_through_low[bucket] = uint(all & 4194303l);
							sums_through_high[bucket] = uint(all >> 22);
						}
					}
					threadgroup_barrier(mem_flags::mem_threadgroup);
					long sum_of_members = 0l;
					if (cut < 31) {
						long sum = 0l;
						const int i_end = member_start[1];
						for (int i = tid; i < i_end; i += 512) {
							int part_2 = 0;
							int half_ = 2;
							for (int halving = 0; halving < 1; halving++) {
								half_ >>= 1;
								const int next = min(part_2 + half_, 1);
								part_2 = member_start[next] <= i ? next : part_2;
							}
							const int at_2 = base + part_2 * 512 + member_from[part_2] + i -
									member_start[part_2];
							const uint key_2 = ranked_keys[at_2];
							sum += long(key_2 > bound || (key_2 == bound && ranked_ids[at_2] <= last) ?
									(1 == 0 ? 1u : ranked_weights[at_2]) : 0u);
						}
						const uint low_2 = simd_sum(uint(sum & 4194303l));
						const uint high_2 = simd_sum(uint(sum >> 22));
						if (lane == 0) {
							const long mine = (long(high_2) << 22) + long(low_2);
							member_sums_low[simd_group] = uint(mine & 4194303l);
							member_sums_high[simd_group] = uint(mine >> 22);
						}
						threadgroup_barrier(mem_flags::mem_threadgroup);
						const int group_2 = min(lane, 15);
						const uint low_3 = simd_sum(lane < 16 ? member_sums_low[group_2] : 0u);
						const uint high_3 = simd_sum(lane < 16 ? member_sums_high[group_2] : 0u);
						const long sum_of_groups = (long(high_3) << 22) + long(low_3);
						sum_of_members = sum_of_groups;
					}
					const long kept_sum = (cut > 0 ? (long(sums_through_high[max(cut - 1, 0)]) << 22) +
							long(sums_through_low[max(cut - 1, 0)]) : 0l) + sum_of_members;
					const long wide = long(sample_top_p);
					const long cut_target = counts ? long(step.sample_top_k[row]) :
							max(((kept_sum >> 16) * wide + (((kept_sum & 65535l) * wide) >> 16)) >> 16, 1l);
					const int first_reached = simd_min(lane < cut && (long(sums_through_high[lane]) << 22) +
							long(sums_through_low[lane]) >= cut_target ? lane : cut);
					if (tid == 0) {
						cut_bucket[0] = first_reached;
					}
					threadgroup_barrier(mem_flags::mem_threadgroup);
					const int new_cut = cut_bucket[0];
					if (new_cut < 31) {
						const long better = new_cut > 0 ? (long(sums_through_high[max(new_cut - 1,
								0)]) << 22) + long(sums_through_low[max(new_cut - 1, 0)]) : 0l;
						threadgroup_barrier(mem_flags::mem_threadgroup);
						for (int part_3 = tid; part_3 < 1; part_3 += 512) {
							const int from = int(new_cut > 0 ? through[(row * 3 + part_3) * 32 +
									max(new_cut - 1, 0)] : 0l);
							const int to = int(through[(row * 3 + part_3) * 32 + new_cut]);
							member_from[part_3] = from;
							member_start[part_3] = to - from;
						}
						threadgroup_barrier(mem_flags::mem_threadgroup);
						if (simd_group == 0) {
							int members = 0;
							for (int at_3 = 0; at_3 < 1; at_3 += 32) {
								const int part_4 = at_3 + lane;
								const bool has = part_4 < 1;
								int n_2 = 0;
								if (has) {
									n_2 = member_start[part_4];
								}
								const int start = members + simd_prefix_exclusive_sum(n_2);
								if (has) {
									member_start[part_4] = start;
								}
								members += simd_sum(n_2);
							}
							if (lane == 0) {
								member_start[1] = members;
							}
						}
						threadgroup_barrier(mem_flags::mem_threadgroup);
						const int members_2 = member_start[1];
						uint least = 0xffffffffu;
						uint most_2 = 0u;
						for (int i_2 = tid; i_2 < members_2; i_2 += 512) {
							int part_5 = 0;
							int half_2 = 2;
							for (int halving_2 = 0; halving_2 < 1; halving_2++) {
								half_2 >>= 1;
								const int next_2 = min(part_5 + half_2, 1);
								part_5 = member_start[next_2] <= i_2 ? next_2 : part_5;
							}
							const int at_4 = base + part_5 * 512 + member_from[part_5] + i_2 -
									member_start[part_5];
							const uint key_3 = ranked_keys[at_4];
							least = min(least, key_3);
							most_2 = max(most_2, key_3);
						}
						const uint least_2 = simd_min(least);
						const uint most_3 = simd_max(most_2);
						if (lane == 0) {
							least_keys[simd_group] = least_2;
							most_keys[simd_group] = most_3;
						}
						threadgroup_barrier(mem_flags::mem_threadgroup);
						uint lowest = 0xffffffffu;
						uint highest = 0u;
						for (int g_2 = 0; g_2 < 16; g_2++) {
							lowest = min(lowest, least_keys[g_2]);
							highest = max(highest, most_keys[g_2]);
						}
						uint key_bound = 0u;
						long above = better;
						for (int pass = 0; pass < 7; pass++) {
							const uint digit_shift = uint((6 - pass) * 5);
							if ((lowest >> digit_shift) == (highest >> digit_shift)) {
								key_bound = (highest >> digit_shift) << digit_shift;
							} else {
								long of_digit = 0l;
								for (int at_5 = simd_group * 32; at_5 < members_2; at_5 += 512) {
									const int i_3 = at_5 + lane;
									int part_6 = 0;
									int half_3 = 2;
									for (int halving_3 = 0; halving_3 < 1; halving_3++) {
										half_3 >>= 1;
										const int next_3 = min(part_6 + half_3, 1);
										part_6 = member_start[next_3] <= min(i_3, members_2 - 1) ? next_3 :
												part_6;
									}
									const int at_6 = base + part_6 * 512 + member_from[part_6] +
											min(i_3, members_2 - 1) - member_start[part_6];
									const uint key_4 = ranked_keys[at_6];
									const uint digit = (key_4 - key_bound) >> digit_shift;
									const bool in = i_3 < members_2 && digit < 32u;
									const uint v = in ? (key_4 > bound || (key_4 == bound &&
											ranked_ids[at_6] <= last) ? (plane == 0 ? 1u :
											ranked_weights[at_6]) : 0u) : 0u;
									const uint any = simd_max(v);
									if (any > 0u) {
										for (int l = 0; l < 32; l++) {
											const uint digit_of = simd_shuffle(digit, ushort(l));
											const uint v_of = simd_shuffle(v, ushort(l));
											of_digit += long(digit_of == as_type<uint>(lane) ? v_of : 0u);
										}
									}
								}
								const int digits_at = (pass & 1) * 512;
								digit_sums_low[digits_at + tid] = uint(of_digit & 4194303l);
								digit_sums_high[digits_at + tid] = uint(of_digit >> 22);
								threadgroup_barrier(mem_flags::mem_threadgroup);
								of_digit = 0l;
								for (int g_3 = 0; g_3 < 16; g_3++) {
									of_digit += (long(digit_sums_high[digits_at + g_3 * 32 + lane]) << 22) +
											long(digit_sums_low[digits_at + g_3 * 32 + lane]);
								}
								const uint low_4 = simd_sum(uint(of_digit & 4194303l));
								const uint high_4 = simd_sum(uint(of_digit >> 22));
								const long sum_of_lanes = (long(high_4) << 22) + long(low_4);
								const uint low_5 = simd_prefix_exclusive_sum(uint(of_digit & 4194303l));
								const uint high_5 = simd_prefix_exclusive_sum(uint(of_digit >> 22));
								const long sum_before = (long(high_5) << 22) + long(low_5);
								const long from_digit = above + sum_of_lanes - sum_before;
								const int chosen = simd_max(from_digit >= cut_target ? lane : 0);
								const uint low_6 = simd_sum(uint((lane > chosen ? of_digit : 0l) & 4194303l));
								const uint high_6 = simd_sum(uint((lane > chosen ? of_digit : 0l) >> 22));
								const long sum_of_lanes_2 = (long(high_6) << 22) + long(low_6);
								above += sum_of_lanes_2;
								key_bound += as_type<uint>(chosen) << digit_shift;
							}
						}

						// Of the members with that key the first ids, until they get there.
						const long missing = cut_target - above - 1l;
						threadgroup_barrier(mem_flags::mem_threadgroup);
						if (tid == 0) {
							found[0] = -1;
						}
						const int run = (members_2 + 511) / 512 * 32;
						const int run_from = min(simd_group * run, members_2);
						const int run_to = min(run_from + run, members_2);
						long mine_2 = 0l;
						for (int i_4 = run_from + lane; i_4 < run_to; i_4 += 32) {
							int part_7 = 0;
							int half_4 = 2;
							for (int halving_4 = 0; halving_4 < 1; halving_4++) {
								half_4 >>= 1;
								const int next_4 = min(part_7 + half_4, 1);
								part_7 = member_start[next_4] <= i_4 ? next_4 : part_7;
							}
							const int at_7 = base + part_7 * 512 + member_from[part_7] + i_4 -
									member_start[part_7];
							const uint key_5 = ranked_keys[at_7];
							const long tie = long(key_5 == key_bound ? (key_5 > bound ||
									(key_5 == bound && ranked_ids[at_7] <= last) ?
									(plane == 0 ? 1u : ranked_weights[at_7]) : 0u) : 0u);
							mine_2 += tie;
						}
						const uint low_7 = simd_sum(uint(mine_2 & 4194303l));
						const uint high_7 = simd_sum(uint(mine_2 >> 22));
						const long sum_of_lanes_3 = (long(high_7) << 22) + long(low_7);
						if (lane == 0) {
							run_sums_low[simd_group] = uint(sum_of_lanes_3 & 4194303l);
							run_sums_high[simd_group] = uint(sum_of_lanes_3 >> 22);
						}
						threadgroup_barrier(mem_flags::mem_threadgroup);
						const int group_3 = min(lane, 15);
						const uint low_8 = simd_sum(lane < simd_group ? run_sums_low[group_3] : 0u);
						const uint high_8 = simd_sum(lane < simd_group ? run_sums_high[group_3] : 0u);
						const long sum_of_groups_2 = (long(high_8) << 22) + long(low_8);
						long running = sum_of_groups_2;
						if (running <= missing && running + sum_of_lanes_3 > missing) {
							for (int at_8 = run_from; at_8 < run_to; at_8 += 32) {
								const int i_5 = at_8 + lane;
								long v_2 = 0l;
								if (i_5 < run_to) {
									int part_8 = 0;
									int half_5 = 2;
									for (int halving_5 = 0; halving_5 < 1; halving_5++) {
										half_5 >>= 1;
										const int next_5 = min(part_8 + half_5, 1);
										part_8 = member_start[next_5] <= i_5 ? next_5 : part_8;
									}
									const int at_9 = base + part_8 * 512 + member_from[part_8] + i_5 -
											member_start[part_8];
									const uint key_6 = ranked_keys[at_9];
									const long tie_2 = long(key_6 == key_bound ?
											(key_6 > bound || (key_6 == bound && ranked_ids[at_9] <= last) ?
											(plane == 0 ? 1u : ranked_weights[at_9]) : 0u) : 0u);
									v_2 = tie_2;
								}
								const uint low_9 = simd_prefix_exclusive_sum(uint(v_2 & 4194303l));
								const uint high_9 = simd_prefix_exclusive_sum(uint(v_2 >> 22));
								const long sum_before_2 = (long(high_9) << 22) + long(low_9);
								const long start_2 = running + sum_before_2;
								if (start_2 <= missing && start_2 + v_2 > missing) {
									found[0] = i_5;
									found_before_low[0] = uint(start_2 & 4194303l);
									found_before_high[0] = uint(start_2 >> 22);
								}
								const uint low_10 = simd_sum(uint(v_2 & 4194303l));
								const uint high_10 = simd_sum(uint(v_2 >> 22));
								const long sum_of_lanes_4 = (long(high_10) << 22) + long(low_10);
								running += sum_of_lanes_4;
							}
						}
						threadgroup_barrier(mem_flags::mem_threadgroup);
						const int located = found[0];
						const long located_before = (long(found_before_high[0]) << 22) +
								long(found_before_low[0]);
						int part_9 = 0;
						int half_6 = 2;
						for (int halving_6 = 0; halving_6 < 1; halving_6++) {
							half_6 >>= 1;
							const int next_6 = min(part_9 + half_6, 1);
							part_9 = member_start[next_6] <= located ? next_6 : part_9;
						}
						const int at_10 = base + part_9 * 512 + member_from[part_9] + located -
								member_start[part_9];
						const int last_id = ranked_ids[at_10];
						cut = new_cut;
						bound = key_bound;
						last = last_id;
					}
				}
			}

			// The draw: first the part, then the token.
			for (int part_10 = tid; part_10 < 1; part_10 += 512) {
				const long better_2 = cut > 0 ? through[(row * 3 + 2 + part_10) * 32 + max(cut - 1, 0)] : 0l;
				part_sums_low[part_10] = uint(better_2 & 4194303l);
				part_sums_high[part_10] = uint(better_2 >> 22);
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			if (cut < 31) {
				for (int part_11 = simd_group; part_11 < 1; part_11 += 16) {
					const int part_start = member_start[part_11];
					const int part_count = member_start[part_11 + 1] - part_start;
					if (part_count > 0) {
						const int part_at = base + part_11 * 512 + member_from[part_11];
						long sum_2 = 0l;
						for (int i_6 = lane; i_6 < part_count; i_6 += 32) {
							const int member = part_at + i_6;
							const uint key_7 = ranked_keys[member];
							const uint weight = ranked_weights[member];
							sum_2 += long(key_7 > bound || (key_7 == bound && ranked_ids[member] <= last) ?
									(weight >= sample_min_p ? weight : 0u) : 0u);
						}
						const uint low_11 = simd_sum(uint(sum_2 & 4194303l));
						const uint high_11 = simd_sum(uint(sum_2 >> 22));
						const long sum_of_lanes_5 = (long(high_11) << 22) + long(low_11);
						if (lane == 0) {
							const long all_2 = sum_of_lanes_5 + ((long(part_sums_high[part_11]) << 22) +
									long(part_sums_low[part_11]));
							part_sums_low[part_11] = uint(all_2 & 4194303l);
							part_sums_high[part_11] = uint(all_2 >> 22);
						}
					}
				}
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			long sum_of_parts = 0l;
			for (int part_12 = lane; part_12 < 1; part_12 += 32) {
				sum_of_parts += (long(part_sums_high[part_12]) << 22) + long(part_sums_low[part_12]);
			}
			const uint low_12 = simd_sum(uint(sum_of_parts & 4194303l));
			const uint high_12 = simd_sum(uint(sum_of_parts >> 22));
			const long sum_of_lanes_6 = (long(high_12) << 22) + long(low_12);
			const uint sample_random = as_type<uint>(step.sample_random[row]);
			const long wide_2 = long(sample_random);
			const long target = ((sum_of_lanes_6 >> 16) * wide_2 + (((sum_of_lanes_6 &
					65535l) * wide_2) >> 16)) >> 16;
			threadgroup_barrier(mem_flags::mem_threadgroup);
			if (tid == 0) {
				found[0] = -1;
			}
			const int run_2 = 32;
			const int run_from_2 = min(simd_group * run_2, 1);
			const int run_to_2 = min(run_from_2 + run_2, 1);
			long mine_3 = 0l;
			for (int i_7 = run_from_2 + lane; i_7 < run_to_2; i_7 += 32) {
				mine_3 += (long(part_sums_high[i_7]) << 22) + long(part_sums_low[i_7]);
			}
			const uint low_13 = simd_sum(uint(mine_3 & 4194303l));
			const uint high_13 = simd_sum(uint(mine_3 >> 22));
			const long sum_of_lanes_7 = (long(high_13) << 22) + long(low_13);
			if (lane == 0) {
				run_sums_low[simd_group] = uint(sum_of_lanes_7 & 4194303l);
				run_sums_high[simd_group] = uint(sum_of_lanes_7 >> 22);
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			const int group_4 = min(lane, 15);
			const uint low_14 = simd_sum(lane < simd_group ? run_sums_low[group_4] : 0u);
			const uint high_14 = simd_sum(lane < simd_group ? run_sums_high[group_4] : 0u);
			const long sum_of_groups_3 = (long(high_14) << 22) + long(low_14);
			long running_2 = sum_of_groups_3;
			if (running_2 <= target && running_2 + sum_of_lanes_7 > target) {
				for (int at_11 = run_from_2; at_11 < run_to_2; at_11 += 32) {
					const int i_8 = at_11 + lane;
					long v_3 = 0l;
					if (i_8 < run_to_2) {
						v_3 = (long(part_sums_high[i_8]) << 22) + long(part_sums_low[i_8]);
					}
					const uint low_15 = simd_prefix_exclusive_sum(uint(v_3 & 4194303l));
					const uint high_15 = simd_prefix_exclusive_sum(uint(v_3 >> 22));
					const long sum_before_3 = (long(high_15) << 22) + long(low_15);
					const long start_3 = running_2 + sum_before_3;
					if (start_3 <= target && start_3 + v_3 > target) {
						found[0] = i_8;
						found_before_low[0] = uint(start_3 & 4194303l);
						found_before_high[0] = uint(start_3 >> 22);
					}
					const uint low_16 = simd_sum(uint(v_3 & 4194303l));
					const uint high_16 = simd_sum(uint(v_3 >> 22));
					const long sum_of_lanes_8 = (long(high_16) << 22) + long(low_16);
					running_2 += sum_of_lanes_8;
				}
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			const int located_2 = found[0];
			const long located_before_2 = (long(found_before_high[0]) << 22) + long(found_before_low[0]);
			const int first_id = located_2 * 512;
			const int end_id = min(first_id + 512, 256);
			const long missing_2 = target - located_before_2;
			threadgroup_barrier(mem_flags::mem_threadgroup);
			if (tid == 0) {
				found[0] = -1;
			}
			const int run_3 = (end_id - first_id + 511) / 512 * 32;
			const int run_from_3 = min(simd_group * run_3, end_id - first_id);
			const int run_to_3 = min(run_from_3 + run_3, end_id - first_id);
			long mine_4 = 0l;
			for (int i_9 = run_from_3 + lane; i_9 < run_to_3; i_9 += 32) {
				const int id_3 = first_id + i_9;
				const uint key_8 = keys[base + id_3];
				const float logit_2 = as_type<float>(key_8 >= 0x80000000u ? key_8 ^ 0x80000000u : ~key_8);
				const float below = ((as_type<uint>(logit_2) & 0x7fffffffu) < 0x00800000u ? 0.0f : logit_2) -
						largest;
				const float d = ((as_type<uint>(below) & 0x7fffffffu) < 0x00800000u ? 0.0f : below) * inv;
				const float d_2 = d >= -17.5f ? d : -17.5f;
				const uint n_3 = as_type<uint>(int(-d_2 * 6.7108864e7f));
				const uint z = uint((long(n_3) * 3098164009l) >> 31);
				const uint octaves = key_8 == row_key ? 0u : z;
				const uint bucket_2 = key_8 > 0u && octaves <= 0x64000000u ?
						(octaves < 0x30000000u ? octaves >> 25 : ((octaves - 0x30000000u) >> 27) + 24u) : 31u;
				const uint f = octaves & 0x03ffffffu;
				const uint power = 0x00152985u - uint((123394l * long(f)) >> 26);
				const uint power_2 = 0x009d3ce2u - uint((long(power) * long(f)) >> 26);
				const uint power_3 = 0x038d4ca4u - uint((long(power_2) * long(f)) >> 26);
				const uint power_4 = 0x0f5fdd42u - uint((long(power_3) * long(f)) >> 26);
				const uint power_5 = 0x2c5c85f8u - uint((long(power_4) * long(f)) >> 26);
				const uint power_6 = 0x40000000u - uint((long(power_5) * long(f)) >> 26);
				const uint shift = (octaves >> 26) + 6u;
				const uint weight_2 = (power_6 + (1u << (shift - 1u))) >> shift;
				const uint weight_3 = key_8 == row_key ? 0x01000000u : weight_2;
				const long kept_weight = long(as_type<int>(bucket_2) < cut ||
						(key_8 > bound || (key_8 == bound && id_3 <= last)) ?
						((key_8 > 0u ? weight_3 : 0u) >= sample_min_p ? (key_8 > 0u ? weight_3 : 0u) : 0u) :
						0u);
				mine_4 += kept_weight;
			}
			const uint low_17 = simd_sum(uint(mine_4 & 4194303l));
			const uint high_17 = simd_sum(uint(mine_4 >> 22));
			const long sum_of_lanes_9 = (long(high_17) << 22) + long(low_17);
			if (lane == 0) {
				run_sums_low[simd_group] = uint(sum_of_lanes_9 & 4194303l);
				run_sums_high[simd_group] = uint(sum_of_lanes_9 >> 22);
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			const int group_5 = min(lane, 15);
			const uint low_18 = simd_sum(lane < simd_group ? run_sums_low[group_5] : 0u);
			const uint high_18 = simd_sum(lane < simd_group ? run_sums_high[group_5] : 0u);
			const long sum_of_groups_4 = (long(high_18) << 22) + long(low_18);
			long running_3 = sum_of_groups_4;
			if (running_3 <= missing_2 && running_3 + sum_of_lanes_9 > missing_2) {
				for (int at_12 = run_from_3; at_12 < run_to_3; at_12 += 32) {
					const int i_10 = at_12 + lane;
					long v_4 = 0l;
					if (i_10 < run_to_3) {
						const int id_4 = first_id + i_10;
						const uint key_9 = keys[base + id_4];
						const float logit_3 = as_type<float>(key_9 >= 0x80000000u ? key_9 ^ 0x80000000u :
								~key_9);
						const float below_2 = ((as_type<uint>(logit_3) & 0x7fffffffu) < 0x00800000u ? 0.0f :
								logit_3) - largest;
						const float d_3 = ((as_type<uint>(below_2) & 0x7fffffffu) < 0x00800000u ? 0.0f :
								below_2) * inv;
						const float d_4 = d_3 >= -17.5f ? d_3 : -17.5f;
						const uint n_4 = as_type<uint>(int(-d_4 * 6.7108864e7f));
						const uint z_2 = uint((long(n_4) * 3098164009l) >> 31);
						const uint octaves_2 = key_9 == row_key ? 0u : z_2;
						const uint bucket_3 = key_9 > 0u && octaves_2 <= 0x64000000u ?
								(octaves_2 < 0x30000000u ? octaves_2 >> 25 : ((octaves_2 -
								0x30000000u) >> 27) + 24u) : 31u;
						const uint f_2 = octaves_2 & 0x03ffffffu;
						const uint power_7 = 0x00152985u - uint((123394l * long(f_2)) >> 26);
						const uint power_8 = 0x009d3ce2u - uint((long(power_7) * long(f_2)) >> 26);
						const uint power_9 = 0x038d4ca4u - uint((long(power_8) * long(f_2)) >> 26);
						const uint power_10 = 0x0f5fdd42u - uint((long(power_9) * long(f_2)) >> 26);
						const uint power_11 = 0x2c5c85f8u - uint((long(power_10) * long(f_2)) >> 26);
						const uint power_12 = 0x40000000u - uint((long(power_11) * long(f_2)) >> 26);
						const uint shift_2 = (octaves_2 >> 26) + 6u;
						const uint weight_4 = (power_12 + (1u << (shift_2 - 1u))) >> shift_2;
						const uint weight_5 = key_9 == row_key ? 0x01000000u : weight_4;
						const long kept_weight_2 = long(as_type<int>(bucket_3) < cut ||
								(key_9 > bound || (key_9 == bound && id_4 <= last)) ?
								((key_9 > 0u ? weight_5 : 0u) >= sample_min_p ? (key_9 > 0u ? weight_5 : 0u) :
								0u) : 0u);
						v_4 = kept_weight_2;
					}
					const uint low_19 = simd_prefix_exclusive_sum(uint(v_4 & 4194303l));
					const uint high_19 = simd_prefix_exclusive_sum(uint(v_4 >> 22));
					const long sum_before_4 = (long(high_19) << 22) + long(low_19);
					const long start_4 = running_3 + sum_before_4;
					if (start_4 <= missing_2 && start_4 + v_4 > missing_2) {
						found[0] = i_10;
						found_before_low[0] = uint(start_4 & 4194303l);
						found_before_high[0] = uint(start_4 >> 22);
					}
					const uint low_20 = simd_sum(uint(v_4 & 4194303l));
					const uint high_20 = simd_sum(uint(v_4 >> 22));
					const long sum_of_lanes_10 = (long(high_20) << 22) + long(low_20);
					running_3 += sum_of_lanes_10;
				}
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			const int located_3 = found[0];
			const long located_before_3 = (long(found_before_high[0]) << 22) + long(found_before_low[0]);
			const int token = first_id + located_3;
			picked = token;
		}
		if (tid == 0) {
			tokens[step.sample_into + row] = picked;
		}
	}
}
