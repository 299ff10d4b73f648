// matvec_q4
//
// y[n] = sum over k of (scale * code[n, k] + bias) * x[k]
//
// Codes have 4 bits; a scale and a bias serve 32 columns.
//
// Launch: threadgroups of 64 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const uint *w;
	device const half *scales;
	device const half *biases;
	device const float4 *x;
	device float *y;
};

[[kernel, max_total_threads_per_threadgroup(64)]]
void matvec_q4(
	constant Args &args [[buffer(0)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	const int group_x = int(group_position.x);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const uint *w = args.w;
	device const half *scales = args.scales;
	device const half *biases = args.biases;
	device const float4 *x = args.x;
	device float *y = args.y;

	const int n = group_x * 2 + simd_group;
	if (n < 6) {
		float sum = 0.0f;
		for (int word = lane; word < 64; word += 32) {
			const uint codes = w[n * 64 + word];
			const int group = n * 16 + word / 4;
			const float4 x0 = x[word * 2];
			const float4 x1 = x[word * 2 + 1];
			sum += fma(float(scales[group]), fma(float((codes >> 28) & 15u), x1.w,
					fma(float((codes >> 24) & 15u), x1.z, fma(float((codes >> 20) & 15u), x1.y,
					fma(float((codes >> 16) & 15u), x1.x, fma(float((codes >> 12) & 15u), x0.w,
					fma(float((codes >> 8) & 15u), x0.z, fma(float((codes >> 4) & 15u), x0.y,
					float(codes & 15u) * x0.x))))))), float(biases[group]) * (x0.x + x0.y + x0.z + x0.w +
					x1.x + x1.y + x1.z + x1.w));
		}
		const float total = simd_sum(sum);
		if (lane == 0) {
			y[n] = total;
		}
	}
}
