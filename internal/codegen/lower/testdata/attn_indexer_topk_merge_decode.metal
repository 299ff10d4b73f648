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
// Launch: threadgroups of 256 threads in SIMD groups of 32 lanes; 16640 bytes of threadgroup memory.
// Schedule: block = 4096 candidates (more are thinned out first, by a threadgroup for each block, in
//     threadgroup memory)
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
	threadgroup uint block_keys[4096];
	threadgroup int counts[48];
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
		for (int i_2 = tid; i_2 < candidates_2; i_2 += 256) {
			block_keys[i_2] = keys[candidates + i_2];
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);

		// The k-th largest key, 2 bits a pass.
		uint bound = 0u;
		int above = 0;
		int left = candidates_2;
		int totals[3];
		for (int pass = 0; pass < 16; pass++) {
			const uint shift = uint(30 - pass * 2);
			const uint at_least = bound + (1u << shift);
			const uint at_least_2 = bound + (2u << shift);
			const uint at_least_3 = bound + (3u << shift);
			int mine0 = 0;
			int mine1 = 0;
			int mine2 = 0;
			for (int i_3 = tid; i_3 < left; i_3 += 256) {
				const uint key = block_keys[i_3];
				mine0 += key >= at_least ? 1 : 0;
				mine1 += key >= at_least_2 ? 1 : 0;
				mine2 += key >= at_least_3 ? 1 : 0;
			}
			const int place = (pass & 1) * 24;
			const int sum = simd_sum(mine0);
			const int sum_2 = simd_sum(mine1);
			const int sum_3 = simd_sum(mine2);
			if (lane == 0) {
				counts[place + simd_group * 3] = sum;
				counts[place + simd_group * 3 + 1] = sum_2;
				counts[place + simd_group * 3 + 2] = sum_3;
			}
			threadgroup_barrier(mem_flags::mem_threadgroup);
			#pragma unroll
			for (int i_6 = 0; i_6 < 3; i_6++) {
				totals[i_6] = simd_sum(lane < 8 ? counts[place + i_6 + min(lane, 7) * 3] : 0);
			}
			if (totals[2] >= 8) {
				bound = at_least_3;
				if (totals[2] == 8) {
					left = 0;
					above = 0;
				}
			} else {
				above = totals[2];
				if (totals[1] >= 8) {
					bound = at_least_2;
					if (totals[1] == 8) {
						left = 0;
						above = 0;
					}
				} else {
					above = totals[1];
					if (totals[0] >= 8) {
						bound = at_least;
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
		const int run = (candidates_2 + 255) / 256 * 32;
		const int from = simd_group * run;
		const int to_2 = min(from + run, candidates_2);
		int mine0_2 = 0;
		int mine1_2 = 0;
		for (int i_4 = from + lane; i_4 < to_2; i_4 += 32) {
			const uint key_2 = block_keys[i_4];
			mine0_2 += key_2 > bound ? 1 : 0;
			mine1_2 += key_2 == bound ? 1 : 0;
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
		for (int first = from; first < to_2; first += 32) {
			const int i_5 = first + lane;
			const uint key_3 = block_keys[min(i_5, candidates_2 - 1)];
			const int is_larger = i_5 < to_2 && key_3 > bound ? 1 : 0;
			const int is_equal = i_5 < to_2 && key_3 == bound ? 1 : 0;
			const int rank = equal + simd_prefix_exclusive_sum(is_equal);
			const int position = larger + simd_prefix_exclusive_sum(is_larger) + min(rank, ties);
			if (is_larger == 1 || (is_equal == 1 && rank < ties)) {
				result[to + position] = i_5 / best * chunk_size + int(places[candidates + i_5]);
			}
			larger += simd_sum(is_larger);
			equal += simd_sum(is_equal);
		}
	}
}
