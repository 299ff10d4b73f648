// attn_indexer_topk_merge_decode
//
// picks the 8 best of the chunks' candidates, one threadgroup for each row
//
// Stands for (region index_topk):
//   %292 = index_range(%position) {count = floor(P/4), limit = floor((i+1)/4)} : tensor<T x floor(P/4) x i32>
//   %293 = read(%291, %slot, %292) : tensor<T x floor(P/4) x 128 x f32>
//   %294 = einsum(%layers.1.attn.indexer.compressor.entries.query, %293) {spec = "thd,tkd->thk"} : tensor<T x
//       8 x floor(P/4) x f32>
//   %295 = relu(%294) : tensor<T x 8 x floor(P/4) x f32>
//   %296 = einsum(%212, %295) {spec = "th,thk->tk"} : tensor<T x floor(P/4) x f32>
//   %layer1.index_topk = topk(%296, %292) {k = 8} : tensor<T x 8 x i32>
//
// Launch: threadgroups of 256 threads in SIMD groups of 32 lanes; 288 bytes of threadgroup memory.
// Schedule: block = 4096 candidates (more are thinned out first, by a threadgroup for each block, whose
//     threads hold them)
// Schedule: SIMD groups = 8 (more take longer to add up their counts than they save)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const uint *keys;
	device const ushort *places;
	device int *result;
};

struct Step {
	int T;
	int W;
	int P;
	int E4;
	int E128;
	int token[16];
	int position[16];
};

[[kernel, max_total_threads_per_threadgroup(256)]]
void attn_indexer_topk_merge_decode(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup int counts[48];
	threadgroup int picked[8];
	threadgroup int taken[16];

	const int group_x = int(group_position.x);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const uint *keys = args.keys;
	device const ushort *places = args.places;
	device int *result = args.result;

	const int row = group_x;
	const int visible_ = (step.position[row] + 1) / 4;
	const int longest = step.P / 4;
	const int chunk_size = min((longest / 7680 + 1) * 32, 1024);
	const int best = min(chunk_size, 8);
	const int candidates = row * (longest + 1024);
	const int to = row * 8;
	if (visible_ <= 8) {
		for (int i = tid; i < 8; i += 256) {
			result[to + i] = i < visible_ ? i : -1;
		}
	} else {
		const int full_chunks = visible_ / chunk_size;
		const int candidates_2 = full_chunks * best + min(visible_ % chunk_size, best);
		const int run = (candidates_2 + 255) / 256 * 32;
		const int from = simd_group * run;
		const int to_2 = min(from + run, candidates_2);
		uint helds[16];
		#pragma unroll
		for (int i_56 = 0; i_56 < 16; i_56++) {
			const int i_2 = from + lane + i_56 * 32;
			helds[i_56] = i_2 < to_2 ? keys[candidates + min(i_2, candidates_2 - 1)] : 0u;
		}

		// The k-th largest key, 2 bits a pass.
		uint bound = 0u;
		int above = 0;
		int left = candidates_2;
		uint at_leasts[3];
		int mines[3];
		int totals[3];
		for (int pass = 0; pass < 16; pass++) {
			const uint shift = uint(30 - pass * 2);
			#pragma unroll
			for (int i_53 = 0; i_53 < 3; i_53++) {
				at_leasts[i_53] = bound + ((uint(i_53) + 1u) << shift);
			}
			mines[0] = 0;
			mines[1] = 0;
			mines[2] = 0;
			if (left > 0) {
				#pragma unroll
				for (int i_51 = 0; i_51 < 3; i_51++) {
					mines[i_51] = (helds[0] >= at_leasts[i_51] ? 1 : 0) + (helds[1] >= at_leasts[i_51] ? 1 :
							0) + (helds[2] >= at_leasts[i_51] ? 1 : 0) + (helds[3] >= at_leasts[i_51] ? 1 :
							0) + (helds[4] >= at_leasts[i_51] ? 1 : 0) + (helds[5] >= at_leasts[i_51] ? 1 :
							0) + (helds[6] >= at_leasts[i_51] ? 1 : 0) + (helds[7] >= at_leasts[i_51] ? 1 :
							0) + (helds[8] >= at_leasts[i_51] ? 1 : 0) + (helds[9] >= at_leasts[i_51] ? 1 :
							0) + (helds[10] >= at_leasts[i_51] ? 1 : 0) + (helds[11] >= at_leasts[i_51] ? 1 :
							0) + (helds[12] >= at_leasts[i_51] ? 1 : 0) + (helds[13] >= at_leasts[i_51] ? 1 :
							0) + (helds[14] >= at_leasts[i_51] ? 1 : 0) + (helds[15] >= at_leasts[i_51] ? 1 :
							0);
				}
			}
			const int place = (pass & 1) * 24;
			const int sum = simd_sum(mines[0]);
			const int sum_2 = simd_sum(mines[1]);
			const int sum_3 = simd_sum(mines[2]);
			if (lane == 0) {
				counts[place + simd_group * 3] = sum;
				counts[place + simd_group * 3 + 1] = sum_2;
				counts[place + simd_group * 3 + 2] = sum_3;
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			#pragma unroll
			for (int i_52 = 0; i_52 < 3; i_52++) {
				totals[i_52] = simd_sum(lane < 8 ? counts[place + i_52 + min(lane, 7) * 3] : 0);
			}
			if (totals[2] >= 8) {
				bound = at_leasts[2];
				if (totals[2] == 8) {
					left = 0;
					above = 0;
				}
			} else {
				above = totals[2];
				if (totals[1] >= 8) {
					bound = at_leasts[1];
					if (totals[1] == 8) {
						left = 0;
						above = 0;
					}
				} else {
					above = totals[1];
					if (totals[0] >= 8) {
						bound = at_leasts[0];
						if (totals[0] == 8) {
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
		const int ties = 8 - above;
		int mine0_2 = 0;
		int mine1_2 = 0;
		#pragma unroll
		for (int i_55 = 0; i_55 < 16; i_55++) {
			const int i_18 = from + lane + i_55 * 32;
			const int is_larger = i_18 < to_2 && helds[i_55] > bound ? 1 : 0;
			const int is_equal = i_18 < to_2 && helds[i_55] == bound ? 1 : 0;
			mine0_2 += is_larger;
			mine1_2 += is_equal;
		}
		const int sum_4 = simd_sum(mine0_2);
		const int sum_5 = simd_sum(mine1_2);
		if (lane == 0) {
			taken[simd_group * 2] = sum_4;
			taken[simd_group * 2 + 1] = sum_5;
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
		int larger = simd_sum(lane < simd_group ? taken[min(lane, 7) * 2] : 0);
		int equal = simd_sum(lane < simd_group ? taken[1 + min(lane, 7) * 2] : 0);
		#pragma unroll
		for (int i_54 = 0; i_54 < 16; i_54++) {
			const int i_34 = from + lane + i_54 * 32;
			const int is_larger_17 = i_34 < to_2 && helds[i_54] > bound ? 1 : 0;
			const int is_equal_17 = i_34 < to_2 && helds[i_54] == bound ? 1 : 0;
			const int both = is_larger_17 + is_equal_17 * 64;
			const int before = simd_prefix_exclusive_sum(both);
			const int rank = equal + before / 64;
			const int position = larger + (before & 63) + min(rank, ties);
			if (is_larger_17 == 1 || (is_equal_17 == 1 && rank < ties)) {
				picked[position] = i_34;
			}
			const int sum_6 = simd_sum(both);
			larger += sum_6 & 63;
			equal += sum_6 / 64;
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);

		// What is emitted with them is asked for side by side.
		for (int position_17 = tid; position_17 < 8; position_17 += 256) {
			const int i_50 = picked[position_17];
			result[to + position_17] = i_50 / best * chunk_size + int(places[candidates + i_50]);
		}
	}
}
