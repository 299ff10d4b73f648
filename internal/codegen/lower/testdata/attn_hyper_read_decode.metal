// attn_hyper_read_decode
//
// stream weights from the logits, streams collapsed and normed, a threadgroup a row
//
// Stands for (region hyper):
//   %72 = dequantize @layers.0.attn.wo_b.weight : tensor<128 x 128 x f32>
//   %73 = matmul(%71, %72) : tensor<T x 128 x f32>
//   %74 = reshape(%27) {shape = [T, 4, 1]} : tensor<T x 4 x 1 x f32>
//   %75 = reshape(%73) {shape = [T, 1, 128]} : tensor<T x 1 x 128 x f32>
//   %76 = mul(%74, %75) : tensor<T x 4 x 128 x f32>
//   %77 = einsum(%34, %7) {spec = "tjk,tjd->tkd"} : tensor<T x 4 x 128 x f32>
//   %layer0.after_attn = add(%76, %77) : tensor<T x 4 x 128 x f32>
//   %79 = reshape(%layer0.after_attn) {shape = [T, 512]} : tensor<T x 512 x f32>
//   %80 = rms_norm(%79) {eps = 1e-06} : tensor<T x 512 x f32>
//   %81 = dequantize @layers.0.hc_ffn_fn : tensor<24 x 512 x f32>
//   %82 = matmul(%80, %81) : tensor<T x 24 x f32>
//   %83 = dequantize @layers.0.hc_ffn_scale : tensor<3 x f32>
//   %84 = dequantize @layers.0.hc_ffn_base : tensor<24 x f32>
//   %85 = slice(%82) {axis = -1, count = 4} : tensor<T x 4 x f32>
//   %86 = slice(%83) {axis = -1, count = 1} : tensor<1 x f32>
//   %87 = mul(%85, %86) : tensor<T x 4 x f32>
//   %88 = slice(%84) {axis = -1, count = 4} : tensor<4 x f32>
//   %89 = add(%87, %88) : tensor<T x 4 x f32>
//   %90 = sigmoid(%89) : tensor<T x 4 x f32>
//   %91 = offset(%90) {by = 1e-06} : tensor<T x 4 x f32>
//   %92 = slice(%82) {axis = -1, from = 4, count = 4} : tensor<T x 4 x f32>
//   %93 = slice(%83) {axis = -1, from = 1, count = 1} : tensor<1 x f32>
//   %94 = mul(%92, %93) : tensor<T x 4 x f32>
//   %95 = slice(%84) {axis = -1, from = 4, count = 4} : tensor<4 x f32>
//   %96 = add(%94, %95) : tensor<T x 4 x f32>
//   %97 = sigmoid(%96) : tensor<T x 4 x f32>
//   %98 = scale(%97) {by = 2.0} : tensor<T x 4 x f32>
//   %99 = slice(%82) {axis = -1, from = 8, count = 16} : tensor<T x 16 x f32>
//   %100 = slice(%83) {axis = -1, from = 2, count = 1} : tensor<1 x f32>
//   %101 = mul(%99, %100) : tensor<T x 16 x f32>
//   %102 = slice(%84) {axis = -1, from = 8, count = 16} : tensor<16 x f32>
//   %103 = add(%101, %102) : tensor<T x 16 x f32>
//   %104 = reshape(%103) {shape = [T, 4, 4]} : tensor<T x 4 x 4 x f32>
//   %105 = sinkhorn(%104) {iters = 20, eps = 1e-06} : tensor<T x 4 x 4 x f32>
//   %106 = einsum(%91, %layer0.after_attn) {spec = "tk,tkd->td"} : tensor<T x 128 x f32>
//   %107 = rms_norm(%106) {eps = 1e-06} : tensor<T x 128 x f32>
//   %108 = dequantize @layers.0.ffn_norm.weight : tensor<128 x f32>
//   %109 = mul(%107, %108) : tensor<T x 128 x f32>
//
// Launch: threadgroups of 1024 threads in SIMD groups of 32 lanes; 4240 bytes of threadgroup memory.
// Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are
//     meant, only fma() fuses.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
	device const float *z_shares;
	device const float4 *after;
	device const uint *scale;
	device const uint *base;
	device const ushort *norm;
	device float4 *x;
	device float *post;
	device float *elements;
};

[[kernel, max_total_threads_per_threadgroup(1024)]]
void attn_hyper_read_decode(
	constant Args &args [[buffer(0)]],
	uint3 group_position [[threadgroup_position_in_grid]],
	uint thread_index [[thread_index_in_threadgroup]],
	uint lane_index [[thread_index_in_simdgroup]],
	uint simd_index [[simdgroup_index_in_threadgroup]])
{
	threadgroup float sums[1024];
	threadgroup float pre[4];
	threadgroup float partial[32];

	const int group_x = int(group_position.x);
	const int tid = int(thread_index);
	const int lane = int(lane_index);
	const int simd_group = int(simd_index);
	device const float *z_shares = args.z_shares;
	device const float4 *after = args.after;
	device const uint *scale = args.scale;
	device const uint *base = args.base;
	device const ushort *norm = args.norm;
	device float4 *x = args.x;
	device float *post = args.post;
	device float *elements = args.elements;

	const int row = group_x;

	// the streams and weights, asked for early
	const int index = min(lane, 23);
	const int part = index < 4 ? 0 : index < 8 ? 1 : 2;
	const float scale_of = as_type<float>(scale[part]);
	const float base_of = as_type<float>(base[index]);
	const int asked = min(tid, 31);
	float4 hs[4];
	#pragma unroll
	for (int i_3 = 0; i_3 < 4; i_3++) {
		hs[i_3] = after[(row * 4 + i_3) * 32 + asked];
	}
	float norms[4];
	#pragma unroll
	for (int i_4 = 0; i_4 < 4; i_4++) {
		norms[i_4] = as_type<float>(uint(norm[asked * 4 + i_4]) << 16);
	}

	// z: SIMD group s adds up the shares of tiles s, s+32 ...
	float z_part = 0.0f;
	if (lane <= 24) {
		for (int tile = simd_group; tile < 16; tile += 32) {
			z_part += z_shares[(row * 16 + tile) * 25 + lane];
		}
	}
	sums[tid] = z_part;
	threadgroup_barrier(mem_flags::mem_threadgroup);
	if (simd_group == 0) {
		float z = 0.0f;
		#pragma unroll
		for (int i = 0; i < 32; i++) {
			z += sums[lane + i * 32];
		}
		const float squares = simd_shuffle(z, ushort(24));
		const float inv_rms = precise::rsqrt(squares * 0.001953125f + 1e-6f);
		const float logit = z * inv_rms;
		const float v = logit * scale_of + base_of;
		const float gate = 1.0f / (1.0f + precise::exp(-v));
		if (lane < 4) {
			pre[lane] = gate + 1e-6f;
		}
		if (lane >= 4 && lane < 8) {
			post[row * 4 + (lane - 4)] = gate * 2.0f;
		}

		// comb: lane i*4+j holds element (i, j)
		const float element = simd_shuffle(v, ushort(min(lane + 8, 31)));
		if (lane < 16) {
			elements[row * 16 + lane] = element;
		}
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	float u0 = 0.0f;
	float u1 = 0.0f;
	float u2 = 0.0f;
	float u3 = 0.0f;
	float squares_2 = 0.0f;
	const int quad = tid;
	if (quad < 32) {
		#pragma unroll
		for (int i_2 = 0; i_2 < 4; i_2++) {
			const float p = pre[i_2];
			u0 = fma(p, hs[i_2].x, u0);
			u1 = fma(p, hs[i_2].y, u1);
			u2 = fma(p, hs[i_2].z, u2);
			u3 = fma(p, hs[i_2].w, u3);
		}
		squares_2 = fma(u0, u0, squares_2);
		squares_2 = fma(u1, u1, squares_2);
		squares_2 = fma(u2, u2, squares_2);
		squares_2 = fma(u3, u3, squares_2);
	}
	const float part_2 = simd_sum(squares_2);
	threadgroup_barrier(mem_flags::mem_threadgroup);
	if (lane == 0) {
		partial[simd_group] = part_2;
	}
	threadgroup_barrier(mem_flags::mem_threadgroup);
	const float total = partial[0] + partial[1] + partial[2] + partial[3] + partial[4] + partial[5] +
			partial[6] + partial[7] + partial[8] + partial[9] + partial[10] + partial[11] + partial[12] +
			partial[13] + partial[14] + partial[15] + partial[16] + partial[17] + partial[18] + partial[19] +
			partial[20] + partial[21] + partial[22] + partial[23] + partial[24] + partial[25] + partial[26] +
			partial[27] + partial[28] + partial[29] + partial[30] + partial[31];
	const float inv = precise::rsqrt(total * 0.0078125f + 1e-6f);
	const int quad_2 = tid;
	if (quad_2 < 32) {
		x[row * 32 + quad_2] = float4(u0 * inv * norms[0], u1 * inv * norms[1], u2 * inv * norms[2],
				u3 * inv * norms[3]);
	}
}
