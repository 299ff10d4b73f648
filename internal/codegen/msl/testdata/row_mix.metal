// row_mix
//
// y = a mix of a table's row, by the row's limit
//
// Launch: threadgroups of 32 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float2 *constant_;
	device float2 *y;
	device uint *bits;
	int row_pairs;
};

struct Step {
	int T;
	float half_;
	int slot[5];
	int limit[5];
};

[[kernel, max_total_threads_per_threadgroup(32)]]
void row_mix(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint lane_index [[thread_index_in_simdgroup]])
{
	const int group_x = int(group_position.x);
	const int lane = int(lane_index);
	device const float2 *constant_ = args.constant_;
	device float2 *y = args.y;
	device uint *bits = args.bits;
	const int row_pairs = args.row_pairs;

	const int row = group_x;
	if (row < step.T) {
		const long slot = long(step.slot[row]);
		const long base = slot * long(row_pairs);
		uint seen = 0u;
		const int i_end = step.limit[row];
		for (int i = lane; i < i_end; i += 32) {
			const float2 v = constant_[base + long(i)];
			if (v.x > v.y) {
				y[row * row_pairs + i] = float2(v.y, v.x);
			} else if (v.x == v.y || (v.x < 0.0f && i % 2 == 1)) {
				y[row * row_pairs + i] = v * float2(step.half_);
			} else {
				y[row * row_pairs + i] = float2(precise::sqrt(fabs(v.x)), fmax(-v.y, -1.5f));
			}
			seen += ((((as_type<uint>(v.x) ^ 0xffffu) | (1u << uint(i & 31))) >> 3) & 0x00ff00ffu) % 1000u;
		}
		const uint most = simd_max(seen);
		const uint before = simd_prefix_exclusive_sum(seen);
		if (lane == 31) {
			bits[row * 2] = most;
		}
		if (lane == 31) {
			bits[row * 2 + 1] = before;
		}
	}
}
