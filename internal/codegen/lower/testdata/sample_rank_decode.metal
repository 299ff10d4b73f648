// sample_rank_decode
//
// The sum of a part's weights, where a token is drawn. Where the ranking is cut off, by
// top-k or top-p, also the part's tokens by buckets of their weights, and the sums
// through each bucket.
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 2624 bytes of threadgroup memory.
// Schedule: threads = 128 (a SIMD group has a run of a part's tokens, a lane a bucket)
// Schedule: tokens of a part = 512 (1 parts of a row of 256 logits, for all cores to have some)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const uint *keys;
	device const uint *best_keys;
	device const int *best_ids;
	device uint *ranked_keys;
	device int *ranked_ids;
	device uint *ranked_weights;
	device long *through;
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
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void sample_rank_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup uint group_keys[4];
	threadgroup int group_ids[4];
	threadgroup int counts[128];
	threadgroup uint bucket_weights_low[128];
	threadgroup uint bucket_weights_high[128];
	threadgroup uint bucket_drawn_low[128];
	threadgroup uint bucket_drawn_high[128];
	threadgroup uint run_sums_low[4];
	threadgroup uint run_sums_high[4];

	const int group_x = int(group_position.x);
	const int group_y = int(group_position.y);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const uint *keys = args.keys;
	device const uint *best_keys = args.best_keys;
	device const int *best_ids = args.best_ids;
	device uint *ranked_keys = args.ranked_keys;
	device int *ranked_ids = args.ranked_ids;
	device uint *ranked_weights = args.ranked_weights;
	device long *through = args.through;

	const int row = group_y;
	const int base = row * 256;
	const float inv = step.sample_inv[row];
	if (inv > 0.0f) {
		uint best_key = 0u;
		int best_id = -1;
		for (int n = tid; n < 1; n += 128) {
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
		for (int g = 0; g < 4; g++) {
			const uint k = group_keys[g];
			const int id_2 = group_ids[g];
			if (k > row_key || (k == row_key && id_2 < row_id)) {
				row_key = k;
				row_id = id_2;
			}
		}
		const float logit = as_type<float>(row_key >= 0x80000000u ? row_key ^ 0x80000000u : ~row_key);
		const float largest = (as_type<uint>(logit) & 0x7fffffffu) < 0x00800000u ? 0.0f : logit;
		const int first_id = group_x * 512;
		const int end_id = min(first_id + 512, 256);
		const uint sample_min_p = as_type<uint>(step.sample_min_p[row]);
		const uint sample_top_p = as_type<uint>(step.sample_top_p[row]);
		const bool has_top_p = sample_top_p > 0u;
		const int top_k = step.sample_top_k[row];
		const bool has_top_k = top_k > 0 && top_k < 256;
		if (has_top_k || has_top_p) {
			// Each lane adds up its bucket.
			int count = 0;
			long weights = 0l;
			long drawn = 0l;
			const int piece_from = simd_group;
			for (int piece = piece_from; piece < min(piece_from + 1, 4); piece++) {
				uint part = 0u;
				uint part_drawn = 0u;
				const int piece_id = first_id + piece * 128;
				for (int chunk = piece_id; chunk < min(piece_id + 128, end_id); chunk += 32) {
					const int id_3 = chunk + lane;
					const uint key_2 = keys[base + min(id_3, end_id - 1)];
					const uint key_3 = id_3 < end_id ? key_2 : 0u;
					const float logit_2 = as_type<float>(key_3 >= 0x80000000u ? key_3 ^ 0x80000000u : ~key_3);
					const float below = ((as_type<uint>(logit_2) & 0x7fffffffu) < 0x00800000u ? 0.0f :
							logit_2) - largest;
					const float d = ((as_type<uint>(below) & 0x7fffffffu) < 0x00800000u ? 0.0f : below) * inv;
					const float d_2 = d >= -17.5f ? d : -17.5f;
					const uint n_2 = as_type<uint>(int(-d_2 * 6.7108864e7f));
					const uint z = uint((long(n_2) * 3098164009l) >> 31);
					const uint octaves = key_3 == row_key ? 0u : z;
					const uint bucket = key_3 > 0u && octaves <= 0x64000000u ?
							(octaves < 0x30000000u ? octaves >> 25 : ((octaves - 0x30000000u) >> 27) + 24u) :
							31u;
					const uint f = octaves & 0x03ffffffu;
					const uint power = 0x00152985u - uint((123394l * long(f)) >> 26);
					const uint power_2 = 0x009d3ce2u - uint((long(power) * long(f)) >> 26);
					const uint power_3 = 0x038d4ca4u - uint((long(power_2) * long(f)) >> 26);
					const uint power_4 = 0x0f5fdd42u - uint((long(power_3) * long(f)) >> 26);
					const uint power_5 = 0x2c5c85f8u - uint((long(power_4) * long(f)) >> 26);
					const uint power_6 = 0x40000000u - uint((long(power_5) * long(f)) >> 26);
					const uint shift = (octaves >> 26) + 6u;
					const uint weight = (power_6 + (1u << (shift - 1u))) >> shift;
					const uint weight_2 = key_3 == row_key ? 0x01000000u : weight;
					const uint word = (bucket << 25) | (key_3 > 0u ? weight_2 : 0u);
					const uint best_bucket = simd_min(bucket);
					if (best_bucket < 31u) {
						for (int l = 0; l < 32; l++) {
							const uint word_of = simd_shuffle(word, ushort(l));
							const bool mine = as_type<int>(word_of >> 25) == lane;
							const uint weight_of = mine ? word_of & 0x01ffffffu : 0u;
							count += mine ? 1 : 0;
							part += weight_of;
							part_drawn += weight_of >= sample_min_p ? weight_of : 0u;
						}
					}
				}
				weights += long(part);
				drawn += long(part_drawn);
			}
			counts[tid] = count;
			bucket_weights_low[tid] = uint(weights & 4194303l);
			bucket_weights_high[tid] = uint(weights >> 22);
			bucket_drawn_low[tid] = uint(drawn & 4194303l);
			bucket_drawn_high[tid] = uint(drawn >> 22);
			threadgroup_barrier(mem_flags::mem_threadgroup);
			int runs_before = 0;
			int of_all_runs = 0;
			for (int g_2 = 0; g_2 < 4; g_2++) {
				const int n_3 = counts[g_2 * 32 + lane];
				runs_before += g_2 < simd_group ? n_3 : 0;
				of_all_runs += n_3;
			}
			const int bucket_start = simd_prefix_exclusive_sum(of_all_runs);
			if (simd_group == 0) {
				through[(row * 3 + group_x) * 32 + lane] = long(bucket_start + of_all_runs);
				long of_bucket = 0l;
				for (int g_3 = 0; g_3 < 4; g_3++) {
					of_bucket += (long(bucket_weights_high[g_3 * 32 + lane]) << 22) +
							long(bucket_weights_low[g_3 * 32 + lane]);
				}
				const uint low = simd_prefix_exclusive_sum(uint(of_bucket & 4194303l));
				const uint high = simd_prefix_exclusive_sum(uint(of_bucket >> 22));
				const long sum_before = (long(high) << 22) + long(low);
				through[(row * 3 + 1 + group_x) * 32 + lane] = sum_before + of_bucket;
				long of_bucket_2 = 0l;
				for (int g_4 = 0; g_4 < 4; g_4++) {
					of_bucket_2 += (long(bucket_drawn_high[g_4 * 32 + lane]) << 22) +
							long(bucket_drawn_low[g_4 * 32 + lane]);
				}
				const uint low_2 = simd_prefix_exclusive_sum(uint(of_bucket_2 & 4194303l));
				const uint high_2 = simd_prefix_exclusive_sum(uint(of_bucket_2 >> 22));
				const long sum_before_2 = (long(high_2) << 22) + long(low_2);
				through[(row * 3 + 2 + group_x) * 32 + lane] = sum_before_2 + of_bucket_2;
			}
			int place = bucket_start + runs_before;

			// Each token goes to the next place of its bucket.
			const int piece_from_2 = simd_group;
			for (int piece_2 = piece_from_2; piece_2 < min(piece_from_2 + 1, 4); piece_2++) {
				const int piece_id_2 = first_id + piece_2 * 128;
				for (int chunk_2 = piece_id_2; chunk_2 < min(piece_id_2 + 128, end_id); chunk_2 += 32) {
					const int id_4 = chunk_2 + lane;
					const uint key_4 = keys[base + min(id_4, end_id - 1)];
					const uint key_5 = id_4 < end_id ? key_4 : 0u;
					const float logit_3 = as_type<float>(key_5 >= 0x80000000u ? key_5 ^ 0x80000000u : ~key_5);
					const float below_2 = ((as_type<uint>(logit_3) & 0x7fffffffu) < 0x00800000u ? 0.0f :
							logit_3) - largest;
					const float d_3 = ((as_type<uint>(below_2) & 0x7fffffffu) < 0x00800000u ? 0.0f :
							below_2) * inv;
					const float d_4 = d_3 >= -17.5f ? d_3 : -17.5f;
					const uint n_4 = as_type<uint>(int(-d_4 * 6.7108864e7f));
					const uint z_2 = uint((long(n_4) * 3098164009l) >> 31);
					const uint octaves_2 = key_5 == row_key ? 0u : z_2;
					const uint bucket_2 = key_5 > 0u && octaves_2 <= 0x64000000u ?
							(octaves_2 < 0x30000000u ? octaves_2 >> 25 : ((octaves_2 - 0x30000000u) >> 27) +
							24u) : 31u;
					int token_place = 0;
					const uint word_2 = bucket_2;
					const uint best_bucket_2 = simd_min(bucket_2);
					if (best_bucket_2 < 31u) {
						for (int l_2 = 0; l_2 < 32; l_2++) {
							const uint word_of_2 = simd_shuffle(word_2, ushort(l_2));
							const int next = simd_shuffle(place, ushort(as_type<int>(word_of_2)));
							token_place = lane == l_2 ? next : token_place;
							const bool mine_2 = as_type<int>(word_of_2) == lane;
							place += mine_2 ? 1 : 0;
						}
					}
					if (bucket_2 < 31u) {
						const int to = base + first_id + token_place;
						ranked_keys[to] = key_5;
						ranked_ids[to] = id_4;
						const uint f_2 = octaves_2 & 0x03ffffffu;
						const uint power_7 = 0x00152985u - uint((123394l * long(f_2)) >> 26);
						const uint power_8 = 0x009d3ce2u - uint((long(power_7) * long(f_2)) >> 26);
						const uint power_9 = 0x038d4ca4u - uint((long(power_8) * long(f_2)) >> 26);
						const uint power_10 = 0x0f5fdd42u - uint((long(power_9) * long(f_2)) >> 26);
						const uint power_11 = 0x2c5c85f8u - uint((long(power_10) * long(f_2)) >> 26);
						const uint power_12 = 0x40000000u - uint((long(power_11) * long(f_2)) >> 26);
						const uint shift_2 = (octaves_2 >> 26) + 6u;
						const uint weight_3 = (power_12 + (1u << (shift_2 - 1u))) >> shift_2;
						const uint weight_4 = key_5 == row_key ? 0x01000000u : weight_3;
						ranked_weights[to] = key_5 > 0u ? weight_4 : 0u;
					}
				}
			}
		} else {
			long sum = 0l;
			const int piece_from_3 = simd_group;
			for (int piece_3 = piece_from_3; piece_3 < min(piece_from_3 + 1, 4); piece_3++) {
				uint part_2 = 0u;
				const int piece_id_3 = first_id + piece_3 * 128;
				for (int chunk_3 = piece_id_3; chunk_3 < min(piece_id_3 + 128, end_id); chunk_3 += 32) {
					const int id_5 = chunk_3 + lane;
					const uint key_6 = keys[base + min(id_5, end_id - 1)];
					const uint key_7 = id_5 < end_id ? key_6 : 0u;
					const float logit_4 = as_type<float>(key_7 >= 0x80000000u ? key_7 ^ 0x80000000u : ~key_7);
					const float below_3 = ((as_type<uint>(logit_4) & 0x7fffffffu) < 0x00800000u ? 0.0f :
							logit_4) - largest;
					const float d_5 = ((as_type<uint>(below_3) & 0x7fffffffu) < 0x00800000u ? 0.0f :
							below_3) * inv;
					const float d_6 = d_5 >= -17.5f ? d_5 : -17.5f;
					const uint n_5 = as_type<uint>(int(-d_6 * 6.7108864e7f));
					const uint z_3 = uint((long(n_5) * 3098164009l) >> 31);
					const uint octaves_3 = key_7 == row_key ? 0u : z_3;
					const uint f_3 = octaves_3 & 0x03ffffffu;
					const uint power_13 = 0x00152985u - uint((123394l * long(f_3)) >> 26);
					const uint power_14 = 0x009d3ce2u - uint((long(power_13) * long(f_3)) >> 26);
					const uint power_15 = 0x038d4ca4u - uint((long(power_14) * long(f_3)) >> 26);
					const uint power_16 = 0x0f5fdd42u - uint((long(power_15) * long(f_3)) >> 26);
					const uint power_17 = 0x2c5c85f8u - uint((long(power_16) * long(f_3)) >> 26);
					const uint power_18 = 0x40000000u - uint((long(power_17) * long(f_3)) >> 26);
					const uint shift_3 = (octaves_3 >> 26) + 6u;
					const uint weight_5 = (power_18 + (1u << (shift_3 - 1u))) >> shift_3;
					const uint weight_6 = key_7 == row_key ? 0x01000000u : weight_5;
					part_2 += (key_7 > 0u ? weight_6 : 0u) >= sample_min_p ? (key_7 > 0u ? weight_6 : 0u) :
							0u;
				}
				sum += long(part_2);
			}
			const uint low_3 = simd_sum(uint(sum & 4194303l));
			const uint high_3 = simd_sum(uint(sum >> 22));
			if (lane == 0) {
				const long mine_3 = (long(high_3) << 22) + long(low_3);
				run_sums_low[simd_group] = uint(mine_3 & 4194303l);
				run_sums_high[simd_group] = uint(mine_3 >> 22);
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			const int group = min(lane, 3);
			const uint low_4 = simd_sum(lane < 4 ? run_sums_low[group] : 0u);
			const uint high_4 = simd_sum(lane < 4 ? run_sums_high[group] : 0u);
			const long sum_of_groups = (long(high_4) << 22) + long(low_4);
			if (tid == 0) {
				through[(row * 3 + 2 + group_x) * 32 + 30] = sum_of_groups;
			}
		}
	}
}
