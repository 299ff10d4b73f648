// rms_norm
//
// y = x / sqrt(mean(x*x) + eps) * weight, a row a threadgroup.
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 16 bytes of threadgroup memory.
// Schedule: threads = 128 (a row is read once and kept in registers by the cache)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float *x;
	device const ushort *weight;
	device float *y;
	int width;
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void rms_norm(
	constant Args &args [[buffer(0)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup float sums[4];

	const int group_x = int(group_position.x);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float *x = args.x;
	device const ushort *weight = args.weight;
	device float *y = args.y;
	const int width = args.width;

	const int row = group_x * width;
	float sum = 0.0f;
	for (int i = tid; i < width; i += 128) {
		const float v = x[row + i];
		sum = fma(v, v, sum);
	}
	const float part = simd_sum(sum);
	if (lane == 0) {
		sums[simd_group] = part;
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);

	// Every thread adds up the SIMD groups' sums, in the same order.
	float total = sums[0];
	for (int s = 1; s < 4; s++) {
		total += sums[s];
	}
	const float inv = precise::rsqrt(total / float(width) + 1e-6f);
	for (int i_2 = tid; i_2 < width; i_2 += 128) {
		const float w = as_type<float>(uint(weight[i_2]) << 16);
		y[row + i_2] = x[row + i_2] * inv * w;
	}
}
