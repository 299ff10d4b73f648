// ffn_experts_route_prefill
//
// a row's experts and their weights, a SIMD group a row
//
// Stands for (region experts):
//   %120 = softplus(%111) : tensor<T x 5 x f32>
//   %121 = sqrt(%120) : tensor<T x 5 x f32>
//   %122 = dequantize @layers.0.ffn.gate.tid2eid : tensor<256 x 2 x i32>
//   %123 = take_rows(%122, %token) : tensor<T x 2 x i32>
//   %layer0.experts = sort(%123) : tensor<T x 2 x i32>
//   %125 = take_along(%121, %layer0.experts) : tensor<T x 2 x f32>
//   %126 = reduce_sum(%125) {axis = -1} : tensor<T x f32>
//   %127 = reshape(%126) {shape = [T, 1]} : tensor<T x 1 x f32>
//   %128 = div(%125, %127) : tensor<T x 2 x f32>
//   %layer0.expert_weights = scale(%128) {by = 1.5} : tensor<T x 2 x f32>
//   %130 = dequantize @layers.0.ffn.experts.w1 : tensor<5 x 128 x 128 x f32>
//   %131 = expert_matmul(%109, %layer0.experts, %130) : tensor<T x 2 x 128 x f32>
//   %132 = dequantize @layers.0.ffn.experts.w3 : tensor<5 x 128 x 128 x f32>
//   %133 = expert_matmul(%109, %layer0.experts, %132) : tensor<T x 2 x 128 x f32>
//   %134 = clamp(%131) {min = -inf, max = 1.5} : tensor<T x 2 x 128 x f32>
//   %135 = clamp(%133) {min = -1.5, max = 1.5} : tensor<T x 2 x 128 x f32>
//   %136 = silu(%134) : tensor<T x 2 x 128 x f32>
//   %137 = mul(%136, %135) : tensor<T x 2 x 128 x f32>
//   %138 = reshape(%layer0.expert_weights) {shape = [T, 2, 1]} : tensor<T x 2 x 1 x f32>
//   %139 = mul(%137, %138) : tensor<T x 2 x 128 x f32>
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float *logits;
	device const uchar *experts_of;
	device int *ids;
	device float *choice_weights;
};

struct Step {
	int T;
	int W;
	int P;
	int E4;
	int E128;
	int token[16];
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void ffn_experts_route_prefill(
	constant Args &args [[buffer(0)]],
	constant Step &step [[buffer(1)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	const int group_x = int(group_position.x);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float *logits = args.logits;
	device const uchar *experts_of = args.experts_of;
	device int *ids = args.ids;
	device float *choice_weights = args.choice_weights;

	const int row = group_x * 4 + simd_group;
	if (row < step.T) {
		const int token = step.token[row];
		int ids_2[2];
		#pragma unroll
		for (int i = 0; i < 2; i++) {
			ids_2[i] = as_type<int>((uint(experts_of[(token * 2 + i) * 8]) << 0) |
					(uint(experts_of[(token * 2 + i) * 8 + 1]) << 8) | (uint(experts_of[(token * 2 + i) * 8 +
					2]) << 16) | (uint(experts_of[(token * 2 + i) * 8 + 3]) << 24));
		}
		const int rank = ids_2[1] < ids_2[0] ? 1 : 0;
		const int rank_2 = ids_2[0] <= ids_2[1] ? 1 : 0;
		const int sorted = rank == 0 ? ids_2[0] : ids_2[1];
		const int sorted_2 = rank == 1 ? ids_2[0] : ids_2[1];

		// their weights: scores without the bias, made to add up to 1.5; a lane has one
		const int choice = lane == 0 ? sorted : sorted_2;
		const float score = precise::sqrt(fmax(logits[row * 5 + choice], 0.0f) +
				(1.0f + precise::exp(-fabs(logits[row * 5 + choice])) == 1.0f ?
				precise::exp(-fabs(logits[row * 5 + choice])) : precise::log(1.0f +
				precise::exp(-fabs(logits[row * 5 + choice]))) * (precise::exp(-fabs(logits[row * 5 +
				choice])) / (1.0f + precise::exp(-fabs(logits[row * 5 + choice])) - 1.0f))));
		const float score_sum = simd_shuffle(score, ushort(0)) + simd_shuffle(score, ushort(1));
		const float weight = score / score_sum * 1.5f;
		if (lane < 2) {
			ids[row * 2 + lane] = choice;
		}
		if (lane < 2) {
			choice_weights[row * 2 + lane] = weight;
		}
	}
}
