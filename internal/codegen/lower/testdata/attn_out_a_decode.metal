// attn_out_a_decode
//
// products of one input, a SIMD group for each few outputs
//
// Stands for (region linear):
//   %68 = reshape(%67) {shape = [T, 2, 256]} : tensor<T x 2 x 256 x f32>
//   %69 = dequantize @layers.0.attn.wo_a.weight : tensor<2 x 64 x 256 x f32>
//   %70 = einsum(%68, %69) {spec = "tgi,goi->tgo"} : tensor<T x 2 x 64 x f32>
//   %71 = reshape(%70) {shape = [T, 128]} : tensor<T x 128 x f32>
//
// Launch: threadgroups of 64 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Schedule: outputs per SIMD group = 4 (the input is read once for all of them)
// Schedule: rows per threadgroup = 4 (weights are unpacked once for all of them)
// Schedule: outputs per threadgroup = 8 (as many as leave 8 threadgroups for each of 80 cores, or the fewest
//     there can be)
// Schedule: SIMD groups that share columns = 1 (until there are 20 SIMD groups for each core, or 2 runs of
//     columns left for a lane)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe (without fast math). The order of additions is part of
//     the result, infinities and NaN are meant, and only fma() fuses. The pragmas below ask for the same;
//     compilers before Xcode 16 know only the option, and the standard pragma.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
    device const float4 *x;
    device const uint2 *w;
    device float *y;
};

struct Step {
    int T;
};

[[kernel, max_total_threads_per_threadgroup(64)]]
void attn_out_a_decode(
    constant Args &args [[buffer(0)]],
    constant Step &step [[buffer(1)]],
    uint3 group_position [[threadgroup_position_in_grid]],
    uint lane_index [[thread_index_in_simdgroup]],
    uint simd_index [[simdgroup_index_in_threadgroup]])
{
    const int group_x = int(group_position.x);
    const int group_y = int(group_position.y);
    const int lane = int(lane_index);
    const int simd_group = int(simd_index);
    device const float4 *x = args.x;
    device const uint2 *w = args.w;
    device float *y = args.y;

    const int row0 = group_y * 4;
    const int rows_left = step.T - row0;
    if (rows_left == 1) {
        const int group = group_x / 8;
        const int first = group_x % 8 * 8 + simd_group * 4;
        const int x_row = (row0 * 2 + group) * 64;
        const int first_row = group * 64;
        const int row_word = first_row * 64 + first * 64;
        const int row_word_2 = first_row * 64 + (first + 1) * 64;
        const int row_word_3 = first_row * 64 + (first + 2) * 64;
        const int row_word_4 = first_row * 64 + (first + 3) * 64;
        float sum0 = 0.0f;
        float sum0_2 = 0.0f;
        float sum0_3 = 0.0f;
        float sum0_4 = 0.0f;
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint2 word = w[row_word + (lane * 2 + i)];
            const uint2 word_2 = w[row_word_2 + (lane * 2 + i)];
            const uint2 word_3 = w[row_word_3 + (lane * 2 + i)];
            const uint2 word_4 = w[row_word_4 + (lane * 2 + i)];
            const float4 x4 = x[x_row + (lane * 2 + i)];
            const float w_2 = as_type<float>((word.x & 0xffffu) << 16);
            const float w_3 = as_type<float>((word.x >> 16) << 16);
            const float w_4 = as_type<float>((word.y & 0xffffu) << 16);
            const float w_5 = as_type<float>((word.y >> 16) << 16);
            sum0 = fma(w_5, x4.w, fma(w_4, x4.z, fma(w_3, x4.y, fma(w_2, x4.x, sum0))));
            const float w_6 = as_type<float>((word_2.x & 0xffffu) << 16);
            const float w_7 = as_type<float>((word_2.x >> 16) << 16);
            const float w_8 = as_type<float>((word_2.y & 0xffffu) << 16);
            const float w_9 = as_type<float>((word_2.y >> 16) << 16);
            sum0_2 = fma(w_9, x4.w, fma(w_8, x4.z, fma(w_7, x4.y, fma(w_6, x4.x, sum0_2))));
            const float w_10 = as_type<float>((word_3.x & 0xffffu) << 16);
            const float w_11 = as_type<float>((word_3.x >> 16) << 16);
            const float w_12 = as_type<float>((word_3.y & 0xffffu) << 16);
            const float w_13 = as_type<float>((word_3.y >> 16) << 16);
            sum0_3 = fma(w_13, x4.w, fma(w_12, x4.z, fma(w_11, x4.y, fma(w_10, x4.x, sum0_3))));
            const float w_14 = as_type<float>((word_4.x & 0xffffu) << 16);
            const float w_15 = as_type<float>((word_4.x >> 16) << 16);
            const float w_16 = as_type<float>((word_4.y & 0xffffu) << 16);
            const float w_17 = as_type<float>((word_4.y >> 16) << 16);
            sum0_4 = fma(w_17, x4.w, fma(w_16, x4.z, fma(w_15, x4.y, fma(w_14, x4.x, sum0_4))));
        }
        const float product = simd_sum(sum0);
        const float product_2 = simd_sum(sum0_2);
        const float product_3 = simd_sum(sum0_3);
        const float product_4 = simd_sum(sum0_4);

        // every lane has the sums; lane 0 writes
        if (lane == 0) {
            y[(row0 * 2 + group) * 64 + first] = product;
            y[(row0 * 2 + group) * 64 + (first + 1)] = product_2;
            y[(row0 * 2 + group) * 64 + (first + 2)] = product_3;
            y[(row0 * 2 + group) * 64 + (first + 3)] = product_4;
        }
    } else {
        const bool live = rows_left > 1;
        const int row = row0 + min(1, rows_left - 1);
        const bool live_2 = rows_left > 2;
        const int row_2 = row0 + min(2, rows_left - 1);
        const bool live_3 = rows_left > 3;
        const int row_3 = row0 + min(3, rows_left - 1);
        const int group_2 = group_x / 8;
        const int first_2 = group_x % 8 * 8 + simd_group * 4;
        const int x_row_2 = (row0 * 2 + group_2) * 64;
        const int x_row_3 = (row * 2 + group_2) * 64;
        const int x_row_4 = (row_2 * 2 + group_2) * 64;
        const int x_row_5 = (row_3 * 2 + group_2) * 64;
        for (int behind = 0; behind < 4; behind += 2) {
            const int first_of_few = first_2 + behind;
            const int first_row_2 = group_2 * 64;
            const int row_word_5 = first_row_2 * 64 + first_of_few * 64;
            const int row_word_6 = first_row_2 * 64 + (first_of_few + 1) * 64;
            float sum0_5 = 0.0f;
            float sum1 = 0.0f;
            float sum2 = 0.0f;
            float sum3 = 0.0f;
            float sum0_6 = 0.0f;
            float sum1_2 = 0.0f;
            float sum2_2 = 0.0f;
            float sum3_2 = 0.0f;
            #pragma unroll
            for (int i_2 = 0; i_2 < 2; i_2++) {
                const uint2 word_9 = w[row_word_5 + (lane * 2 + i_2)];
                const uint2 word_10 = w[row_word_6 + (lane * 2 + i_2)];
                const float4 x4_3 = x[x_row_2 + (lane * 2 + i_2)];
                const float4 x4_4 = x[x_row_3 + (lane * 2 + i_2)];
                const float4 x4_5 = x[x_row_4 + (lane * 2 + i_2)];
                const float4 x4_6 = x[x_row_5 + (lane * 2 + i_2)];
                const float w_34 = as_type<float>((word_9.x & 0xffffu) << 16);
                const float w_35 = as_type<float>((word_9.x >> 16) << 16);
                const float w_36 = as_type<float>((word_9.y & 0xffffu) << 16);
                const float w_37 = as_type<float>((word_9.y >> 16) << 16);
                sum0_5 = fma(w_37, x4_3.w, fma(w_36, x4_3.z, fma(w_35, x4_3.y, fma(w_34, x4_3.x, sum0_5))));
                sum1 = fma(w_37, x4_4.w, fma(w_36, x4_4.z, fma(w_35, x4_4.y, fma(w_34, x4_4.x, sum1))));
                sum2 = fma(w_37, x4_5.w, fma(w_36, x4_5.z, fma(w_35, x4_5.y, fma(w_34, x4_5.x, sum2))));
                sum3 = fma(w_37, x4_6.w, fma(w_36, x4_6.z, fma(w_35, x4_6.y, fma(w_34, x4_6.x, sum3))));
                const float w_38 = as_type<float>((word_10.x & 0xffffu) << 16);
                const float w_39 = as_type<float>((word_10.x >> 16) << 16);
                const float w_40 = as_type<float>((word_10.y & 0xffffu) << 16);
                const float w_41 = as_type<float>((word_10.y >> 16) << 16);
                sum0_6 = fma(w_41, x4_3.w, fma(w_40, x4_3.z, fma(w_39, x4_3.y, fma(w_38, x4_3.x, sum0_6))));
                sum1_2 = fma(w_41, x4_4.w, fma(w_40, x4_4.z, fma(w_39, x4_4.y, fma(w_38, x4_4.x, sum1_2))));
                sum2_2 = fma(w_41, x4_5.w, fma(w_40, x4_5.z, fma(w_39, x4_5.y, fma(w_38, x4_5.x, sum2_2))));
                sum3_2 = fma(w_41, x4_6.w, fma(w_40, x4_6.z, fma(w_39, x4_6.y, fma(w_38, x4_6.x, sum3_2))));
            }
            const float product_5 = simd_sum(sum0_5);
            const float product_6 = simd_sum(sum1);
            const float product_7 = simd_sum(sum2);
            const float product_8 = simd_sum(sum3);
            const float product_9 = simd_sum(sum0_6);
            const float product_10 = simd_sum(sum1_2);
            const float product_11 = simd_sum(sum2_2);
            const float product_12 = simd_sum(sum3_2);

            // every lane has the sums; lane 0 writes
            if (lane == 0) {
                y[(row0 * 2 + group_2) * 64 + first_of_few] = product_5;
                if (live) {
                    y[(row * 2 + group_2) * 64 + first_of_few] = product_6;
                }
                if (live_2) {
                    y[(row_2 * 2 + group_2) * 64 + first_of_few] = product_7;
                }
                if (live_3) {
                    y[(row_3 * 2 + group_2) * 64 + first_of_few] = product_8;
                }
                y[(row0 * 2 + group_2) * 64 + (first_of_few + 1)] = product_9;
                if (live) {
                    y[(row * 2 + group_2) * 64 + (first_of_few + 1)] = product_10;
                }
                if (live_2) {
                    y[(row_2 * 2 + group_2) * 64 + (first_of_few + 1)] = product_11;
                }
                if (live_3) {
                    y[(row_3 * 2 + group_2) * 64 + (first_of_few + 1)] = product_12;
                }
            }
        }
    }
}
