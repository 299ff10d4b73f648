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
// Launch: threadgroups of 256 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Schedule: outputs per SIMD group = 4 (the input is read once for all of them)
// Schedule: rows per threadgroup = 4 (weights are unpacked once for all of them)
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
    device const uint *w;
    device float *y;
};

struct Step {
    int T;
};

[[kernel, max_total_threads_per_threadgroup(256)]]
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
    device const uint *w = args.w;
    device float *y = args.y;

    const int row0 = group_y * 4;
    const int rows_left = step.T - row0;
    if (rows_left == 1) {
        const int group = group_x / 2;
        const int first = group_x % 2 * 32 + simd_group * 4;
        const int x_row = (row0 * 2 + group) * 64;
        const int first_row = group * 64;
        const int row_word = first_row * 128 + first * 128;
        const int row_word_2 = first_row * 128 + (first + 1) * 128;
        const int row_word_3 = first_row * 128 + (first + 2) * 128;
        const int row_word_4 = first_row * 128 + (first + 3) * 128;
        float sum0 = 0.0f;
        float sum0_2 = 0.0f;
        float sum0_3 = 0.0f;
        float sum0_4 = 0.0f;
        for (int run = lane; run < 16; run += 32) {
            const int unit = run * 8;
            const int k = run * 16;
            const uint word = w[row_word + unit];
            const uint word_2 = w[row_word + (unit + 1)];
            const uint word_3 = w[row_word_2 + unit];
            const uint word_4 = w[row_word_2 + (unit + 1)];
            const uint word_5 = w[row_word_3 + unit];
            const uint word_6 = w[row_word_3 + (unit + 1)];
            const uint word_7 = w[row_word_4 + unit];
            const uint word_8 = w[row_word_4 + (unit + 1)];
            const float4 x4 = x[x_row + k / 4];
            const float w_2 = as_type<float>((word & 0xffffu) << 16);
            const float w_3 = as_type<float>((word >> 16) << 16);
            const float w_4 = as_type<float>((word_2 & 0xffffu) << 16);
            const float w_5 = as_type<float>((word_2 >> 16) << 16);
            sum0 = fma(w_5, x4.w, fma(w_4, x4.z, fma(w_3, x4.y, fma(w_2, x4.x, sum0))));
            const float w_6 = as_type<float>((word_3 & 0xffffu) << 16);
            const float w_7 = as_type<float>((word_3 >> 16) << 16);
            const float w_8 = as_type<float>((word_4 & 0xffffu) << 16);
            const float w_9 = as_type<float>((word_4 >> 16) << 16);
            sum0_2 = fma(w_9, x4.w, fma(w_8, x4.z, fma(w_7, x4.y, fma(w_6, x4.x, sum0_2))));
            const float w_10 = as_type<float>((word_5 & 0xffffu) << 16);
            const float w_11 = as_type<float>((word_5 >> 16) << 16);
            const float w_12 = as_type<float>((word_6 & 0xffffu) << 16);
            const float w_13 = as_type<float>((word_6 >> 16) << 16);
            sum0_3 = fma(w_13, x4.w, fma(w_12, x4.z, fma(w_11, x4.y, fma(w_10, x4.x, sum0_3))));
            const float w_14 = as_type<float>((word_7 & 0xffffu) << 16);
            const float w_15 = as_type<float>((word_7 >> 16) << 16);
            const float w_16 = as_type<float>((word_8 & 0xffffu) << 16);
            const float w_17 = as_type<float>((word_8 >> 16) << 16);
            sum0_4 = fma(w_17, x4.w, fma(w_16, x4.z, fma(w_15, x4.y, fma(w_14, x4.x, sum0_4))));
            const uint word_9 = w[row_word + (unit + 2)];
            const uint word_10 = w[row_word + (unit + 2 + 1)];
            const uint word_11 = w[row_word_2 + (unit + 2)];
            const uint word_12 = w[row_word_2 + (unit + 2 + 1)];
            const uint word_13 = w[row_word_3 + (unit + 2)];
            const uint word_14 = w[row_word_3 + (unit + 2 + 1)];
            const uint word_15 = w[row_word_4 + (unit + 2)];
            const uint word_16 = w[row_word_4 + (unit + 2 + 1)];
            const float4 x4_2 = x[x_row + (k + 4) / 4];
            const float w_18 = as_type<float>((word_9 & 0xffffu) << 16);
            const float w_19 = as_type<float>((word_9 >> 16) << 16);
            const float w_20 = as_type<float>((word_10 & 0xffffu) << 16);
            const float w_21 = as_type<float>((word_10 >> 16) << 16);
            sum0 = fma(w_21, x4_2.w, fma(w_20, x4_2.z, fma(w_19, x4_2.y, fma(w_18, x4_2.x, sum0))));
            const float w_22 = as_type<float>((word_11 & 0xffffu) << 16);
            const float w_23 = as_type<float>((word_11 >> 16) << 16);
            const float w_24 = as_type<float>((word_12 & 0xffffu) << 16);
            const float w_25 = as_type<float>((word_12 >> 16) << 16);
            sum0_2 = fma(w_25, x4_2.w, fma(w_24, x4_2.z, fma(w_23, x4_2.y, fma(w_22, x4_2.x, sum0_2))));
            const float w_26 = as_type<float>((word_13 & 0xffffu) << 16);
            const float w_27 = as_type<float>((word_13 >> 16) << 16);
            const float w_28 = as_type<float>((word_14 & 0xffffu) << 16);
            const float w_29 = as_type<float>((word_14 >> 16) << 16);
            sum0_3 = fma(w_29, x4_2.w, fma(w_28, x4_2.z, fma(w_27, x4_2.y, fma(w_26, x4_2.x, sum0_3))));
            const float w_30 = as_type<float>((word_15 & 0xffffu) << 16);
            const float w_31 = as_type<float>((word_15 >> 16) << 16);
            const float w_32 = as_type<float>((word_16 & 0xffffu) << 16);
            const float w_33 = as_type<float>((word_16 >> 16) << 16);
            sum0_4 = fma(w_33, x4_2.w, fma(w_32, x4_2.z, fma(w_31, x4_2.y, fma(w_30, x4_2.x, sum0_4))));
            const uint word_17 = w[row_word + (unit + 4)];
            const uint word_18 = w[row_word + (unit + 4 + 1)];
            const uint word_19 = w[row_word_2 + (unit + 4)];
            const uint word_20 = w[row_word_2 + (unit + 4 + 1)];
            const uint word_21 = w[row_word_3 + (unit + 4)];
            const uint word_22 = w[row_word_3 + (unit + 4 + 1)];
            const uint word_23 = w[row_word_4 + (unit + 4)];
            const uint word_24 = w[row_word_4 + (unit + 4 + 1)];
            const float4 x4_3 = x[x_row + (k + 8) / 4];
            const float w_34 = as_type<float>((word_17 & 0xffffu) << 16);
            const float w_35 = as_type<float>((word_17 >> 16) << 16);
            const float w_36 = as_type<float>((word_18 & 0xffffu) << 16);
            const float w_37 = as_type<float>((word_18 >> 16) << 16);
            sum0 = fma(w_37, x4_3.w, fma(w_36, x4_3.z, fma(w_35, x4_3.y, fma(w_34, x4_3.x, sum0))));
            const float w_38 = as_type<float>((word_19 & 0xffffu) << 16);
            const float w_39 = as_type<float>((word_19 >> 16) << 16);
            const float w_40 = as_type<float>((word_20 & 0xffffu) << 16);
            const float w_41 = as_type<float>((word_20 >> 16) << 16);
            sum0_2 = fma(w_41, x4_3.w, fma(w_40, x4_3.z, fma(w_39, x4_3.y, fma(w_38, x4_3.x, sum0_2))));
            const float w_42 = as_type<float>((word_21 & 0xffffu) << 16);
            const float w_43 = as_type<float>((word_21 >> 16) << 16);
            const float w_44 = as_type<float>((word_22 & 0xffffu) << 16);
            const float w_45 = as_type<float>((word_22 >> 16) << 16);
            sum0_3 = fma(w_45, x4_3.w, fma(w_44, x4_3.z, fma(w_43, x4_3.y, fma(w_42, x4_3.x, sum0_3))));
            const float w_46 = as_type<float>((word_23 & 0xffffu) << 16);
            const float w_47 = as_type<float>((word_23 >> 16) << 16);
            const float w_48 = as_type<float>((word_24 & 0xffffu) << 16);
            const float w_49 = as_type<float>((word_24 >> 16) << 16);
            sum0_4 = fma(w_49, x4_3.w, fma(w_48, x4_3.z, fma(w_47, x4_3.y, fma(w_46, x4_3.x, sum0_4))));
            const uint word_25 = w[row_word + (unit + 6)];
            const uint word_26 = w[row_word + (unit + 6 + 1)];
            const uint word_27 = w[row_word_2 + (unit + 6)];
            const uint word_28 = w[row_word_2 + (unit + 6 + 1)];
            const uint word_29 = w[row_word_3 + (unit + 6)];
            const uint word_30 = w[row_word_3 + (unit + 6 + 1)];
            const uint word_31 = w[row_word_4 + (unit + 6)];
            const uint word_32 = w[row_word_4 + (unit + 6 + 1)];
            const float4 x4_4 = x[x_row + (k + 12) / 4];
            const float w_50 = as_type<float>((word_25 & 0xffffu) << 16);
            const float w_51 = as_type<float>((word_25 >> 16) << 16);
            const float w_52 = as_type<float>((word_26 & 0xffffu) << 16);
            const float w_53 = as_type<float>((word_26 >> 16) << 16);
            sum0 = fma(w_53, x4_4.w, fma(w_52, x4_4.z, fma(w_51, x4_4.y, fma(w_50, x4_4.x, sum0))));
            const float w_54 = as_type<float>((word_27 & 0xffffu) << 16);
            const float w_55 = as_type<float>((word_27 >> 16) << 16);
            const float w_56 = as_type<float>((word_28 & 0xffffu) << 16);
            const float w_57 = as_type<float>((word_28 >> 16) << 16);
            sum0_2 = fma(w_57, x4_4.w, fma(w_56, x4_4.z, fma(w_55, x4_4.y, fma(w_54, x4_4.x, sum0_2))));
            const float w_58 = as_type<float>((word_29 & 0xffffu) << 16);
            const float w_59 = as_type<float>((word_29 >> 16) << 16);
            const float w_60 = as_type<float>((word_30 & 0xffffu) << 16);
            const float w_61 = as_type<float>((word_30 >> 16) << 16);
            sum0_3 = fma(w_61, x4_4.w, fma(w_60, x4_4.z, fma(w_59, x4_4.y, fma(w_58, x4_4.x, sum0_3))));
            const float w_62 = as_type<float>((word_31 & 0xffffu) << 16);
            const float w_63 = as_type<float>((word_31 >> 16) << 16);
            const float w_64 = as_type<float>((word_32 & 0xffffu) << 16);
            const float w_65 = as_type<float>((word_32 >> 16) << 16);
            sum0_4 = fma(w_65, x4_4.w, fma(w_64, x4_4.z, fma(w_63, x4_4.y, fma(w_62, x4_4.x, sum0_4))));
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
        const int group_2 = group_x / 2;
        const int first_2 = group_x % 2 * 32 + simd_group * 4;
        const int x_row_2 = (row0 * 2 + group_2) * 64;
        const int x_row_3 = (row * 2 + group_2) * 64;
        const int x_row_4 = (row_2 * 2 + group_2) * 64;
        const int x_row_5 = (row_3 * 2 + group_2) * 64;
        const int first_row_2 = group_2 * 64;
        const int row_word_5 = first_row_2 * 128 + first_2 * 128;
        const int row_word_6 = first_row_2 * 128 + (first_2 + 1) * 128;
        const int row_word_7 = first_row_2 * 128 + (first_2 + 2) * 128;
        const int row_word_8 = first_row_2 * 128 + (first_2 + 3) * 128;
        float sum0_5 = 0.0f;
        float sum1 = 0.0f;
        float sum2 = 0.0f;
        float sum3 = 0.0f;
        float sum0_6 = 0.0f;
        float sum1_2 = 0.0f;
        float sum2_2 = 0.0f;
        float sum3_2 = 0.0f;
        float sum0_7 = 0.0f;
        float sum1_3 = 0.0f;
        float sum2_3 = 0.0f;
        float sum3_3 = 0.0f;
        float sum0_8 = 0.0f;
        float sum1_4 = 0.0f;
        float sum2_4 = 0.0f;
        float sum3_4 = 0.0f;
        for (int run_2 = lane; run_2 < 16; run_2 += 32) {
            const int unit_2 = run_2 * 8;
            const int k_2 = run_2 * 16;
            const uint word_33 = w[row_word_5 + unit_2];
            const uint word_34 = w[row_word_5 + (unit_2 + 1)];
            const uint word_35 = w[row_word_6 + unit_2];
            const uint word_36 = w[row_word_6 + (unit_2 + 1)];
            const uint word_37 = w[row_word_7 + unit_2];
            const uint word_38 = w[row_word_7 + (unit_2 + 1)];
            const uint word_39 = w[row_word_8 + unit_2];
            const uint word_40 = w[row_word_8 + (unit_2 + 1)];
            const float4 x4_5 = x[x_row_2 + k_2 / 4];
            const float4 x4_6 = x[x_row_3 + k_2 / 4];
            const float4 x4_7 = x[x_row_4 + k_2 / 4];
            const float4 x4_8 = x[x_row_5 + k_2 / 4];
            const float w_66 = as_type<float>((word_33 & 0xffffu) << 16);
            const float w_67 = as_type<float>((word_33 >> 16) << 16);
            const float w_68 = as_type<float>((word_34 & 0xffffu) << 16);
            const float w_69 = as_type<float>((word_34 >> 16) << 16);
            sum0_5 = fma(w_69, x4_5.w, fma(w_68, x4_5.z, fma(w_67, x4_5.y, fma(w_66, x4_5.x, sum0_5))));
            sum1 = fma(w_69, x4_6.w, fma(w_68, x4_6.z, fma(w_67, x4_6.y, fma(w_66, x4_6.x, sum1))));
            sum2 = fma(w_69, x4_7.w, fma(w_68, x4_7.z, fma(w_67, x4_7.y, fma(w_66, x4_7.x, sum2))));
            sum3 = fma(w_69, x4_8.w, fma(w_68, x4_8.z, fma(w_67, x4_8.y, fma(w_66, x4_8.x, sum3))));
            const float w_70 = as_type<float>((word_35 & 0xffffu) << 16);
            const float w_71 = as_type<float>((word_35 >> 16) << 16);
            const float w_72 = as_type<float>((word_36 & 0xffffu) << 16);
            const float w_73 = as_type<float>((word_36 >> 16) << 16);
            sum0_6 = fma(w_73, x4_5.w, fma(w_72, x4_5.z, fma(w_71, x4_5.y, fma(w_70, x4_5.x, sum0_6))));
            sum1_2 = fma(w_73, x4_6.w, fma(w_72, x4_6.z, fma(w_71, x4_6.y, fma(w_70, x4_6.x, sum1_2))));
            sum2_2 = fma(w_73, x4_7.w, fma(w_72, x4_7.z, fma(w_71, x4_7.y, fma(w_70, x4_7.x, sum2_2))));
            sum3_2 = fma(w_73, x4_8.w, fma(w_72, x4_8.z, fma(w_71, x4_8.y, fma(w_70, x4_8.x, sum3_2))));
            const float w_74 = as_type<float>((word_37 & 0xffffu) << 16);
            const float w_75 = as_type<float>((word_37 >> 16) << 16);
            const float w_76 = as_type<float>((word_38 & 0xffffu) << 16);
            const float w_77 = as_type<float>((word_38 >> 16) << 16);
            sum0_7 = fma(w_77, x4_5.w, fma(w_76, x4_5.z, fma(w_75, x4_5.y, fma(w_74, x4_5.x, sum0_7))));
            sum1_3 = fma(w_77, x4_6.w, fma(w_76, x4_6.z, fma(w_75, x4_6.y, fma(w_74, x4_6.x, sum1_3))));
            sum2_3 = fma(w_77, x4_7.w, fma(w_76, x4_7.z, fma(w_75, x4_7.y, fma(w_74, x4_7.x, sum2_3))));
            sum3_3 = fma(w_77, x4_8.w, fma(w_76, x4_8.z, fma(w_75, x4_8.y, fma(w_74, x4_8.x, sum3_3))));
            const float w_78 = as_type<float>((word_39 & 0xffffu) << 16);
            const float w_79 = as_type<float>((word_39 >> 16) << 16);
            const float w_80 = as_type<float>((word_40 & 0xffffu) << 16);
            const float w_81 = as_type<float>((word_40 >> 16) << 16);
            sum0_8 = fma(w_81, x4_5.w, fma(w_80, x4_5.z, fma(w_79, x4_5.y, fma(w_78, x4_5.x, sum0_8))));
            sum1_4 = fma(w_81, x4_6.w, fma(w_80, x4_6.z, fma(w_79, x4_6.y, fma(w_78, x4_6.x, sum1_4))));
            sum2_4 = fma(w_81, x4_7.w, fma(w_80, x4_7.z, fma(w_79, x4_7.y, fma(w_78, x4_7.x, sum2_4))));
            sum3_4 = fma(w_81, x4_8.w, fma(w_80, x4_8.z, fma(w_79, x4_8.y, fma(w_78, x4_8.x, sum3_4))));
            const uint word_41 = w[row_word_5 + (unit_2 + 2)];
            const uint word_42 = w[row_word_5 + (unit_2 + 2 + 1)];
            const uint word_43 = w[row_word_6 + (unit_2 + 2)];
            const uint word_44 = w[row_word_6 + (unit_2 + 2 + 1)];
            const uint word_45 = w[row_word_7 + (unit_2 + 2)];
            const uint word_46 = w[row_word_7 + (unit_2 + 2 + 1)];
            const uint word_47 = w[row_word_8 + (unit_2 + 2)];
            const uint word_48 = w[row_word_8 + (unit_2 + 2 + 1)];
            const float4 x4_9 = x[x_row_2 + (k_2 + 4) / 4];
            const float4 x4_10 = x[x_row_3 + (k_2 + 4) / 4];
            const float4 x4_11 = x[x_row_4 + (k_2 + 4) / 4];
            const float4 x4_12 = x[x_row_5 + (k_2 + 4) / 4];
            const float w_82 = as_type<float>((word_41 & 0xffffu) << 16);
            const float w_83 = as_type<float>((word_41 >> 16) << 16);
            const float w_84 = as_type<float>((word_42 & 0xffffu) << 16);
            const float w_85 = as_type<float>((word_42 >> 16) << 16);
            sum0_5 = fma(w_85, x4_9.w, fma(w_84, x4_9.z, fma(w_83, x4_9.y, fma(w_82, x4_9.x, sum0_5))));
            sum1 = fma(w_85, x4_10.w, fma(w_84, x4_10.z, fma(w_83, x4_10.y, fma(w_82, x4_10.x, sum1))));
            sum2 = fma(w_85, x4_11.w, fma(w_84, x4_11.z, fma(w_83, x4_11.y, fma(w_82, x4_11.x, sum2))));
            sum3 = fma(w_85, x4_12.w, fma(w_84, x4_12.z, fma(w_83, x4_12.y, fma(w_82, x4_12.x, sum3))));
            const float w_86 = as_type<float>((word_43 & 0xffffu) << 16);
            const float w_87 = as_type<float>((word_43 >> 16) << 16);
            const float w_88 = as_type<float>((word_44 & 0xffffu) << 16);
            const float w_89 = as_type<float>((word_44 >> 16) << 16);
            sum0_6 = fma(w_89, x4_9.w, fma(w_88, x4_9.z, fma(w_87, x4_9.y, fma(w_86, x4_9.x, sum0_6))));
            sum1_2 = fma(w_89, x4_10.w, fma(w_88, x4_10.z, fma(w_87, x4_10.y, fma(w_86, x4_10.x, sum1_2))));
            sum2_2 = fma(w_89, x4_11.w, fma(w_88, x4_11.z, fma(w_87, x4_11.y, fma(w_86, x4_11.x, sum2_2))));
            sum3_2 = fma(w_89, x4_12.w, fma(w_88, x4_12.z, fma(w_87, x4_12.y, fma(w_86, x4_12.x, sum3_2))));
            const float w_90 = as_type<float>((word_45 & 0xffffu) << 16);
            const float w_91 = as_type<float>((word_45 >> 16) << 16);
            const float w_92 = as_type<float>((word_46 & 0xffffu) << 16);
            const float w_93 = as_type<float>((word_46 >> 16) << 16);
            sum0_7 = fma(w_93, x4_9.w, fma(w_92, x4_9.z, fma(w_91, x4_9.y, fma(w_90, x4_9.x, sum0_7))));
            sum1_3 = fma(w_93, x4_10.w, fma(w_92, x4_10.z, fma(w_91, x4_10.y, fma(w_90, x4_10.x, sum1_3))));
            sum2_3 = fma(w_93, x4_11.w, fma(w_92, x4_11.z, fma(w_91, x4_11.y, fma(w_90, x4_11.x, sum2_3))));
            sum3_3 = fma(w_93, x4_12.w, fma(w_92, x4_12.z, fma(w_91, x4_12.y, fma(w_90, x4_12.x, sum3_3))));
            const float w_94 = as_type<float>((word_47 & 0xffffu) << 16);
            const float w_95 = as_type<float>((word_47 >> 16) << 16);
            const float w_96 = as_type<float>((word_48 & 0xffffu) << 16);
            const float w_97 = as_type<float>((word_48 >> 16) << 16);
            sum0_8 = fma(w_97, x4_9.w, fma(w_96, x4_9.z, fma(w_95, x4_9.y, fma(w_94, x4_9.x, sum0_8))));
            sum1_4 = fma(w_97, x4_10.w, fma(w_96, x4_10.z, fma(w_95, x4_10.y, fma(w_94, x4_10.x, sum1_4))));
            sum2_4 = fma(w_97, x4_11.w, fma(w_96, x4_11.z, fma(w_95, x4_11.y, fma(w_94, x4_11.x, sum2_4))));
            sum3_4 = fma(w_97, x4_12.w, fma(w_96, x4_12.z, fma(w_95, x4_12.y, fma(w_94, x4_12.x, sum3_4))));
            const uint word_49 = w[row_word_5 + (unit_2 + 4)];
            const uint word_50 = w[row_word_5 + (unit_2 + 4 + 1)];
            const uint word_51 = w[row_word_6 + (unit_2 + 4)];
            const uint word_52 = w[row_word_6 + (unit_2 + 4 + 1)];
            const uint word_53 = w[row_word_7 + (unit_2 + 4)];
            const uint word_54 = w[row_word_7 + (unit_2 + 4 + 1)];
            const uint word_55 = w[row_word_8 + (unit_2 + 4)];
            const uint word_56 = w[row_word_8 + (unit_2 + 4 + 1)];
            const float4 x4_13 = x[x_row_2 + (k_2 + 8) / 4];
            const float4 x4_14 = x[x_row_3 + (k_2 + 8) / 4];
            const float4 x4_15 = x[x_row_4 + (k_2 + 8) / 4];
            const float4 x4_16 = x[x_row_5 + (k_2 + 8) / 4];
            const float w_98 = as_type<float>((word_49 & 0xffffu) << 16);
            const float w_99 = as_type<float>((word_49 >> 16) << 16);
            const float w_100 = as_type<float>((word_50 & 0xffffu) << 16);
            const float w_101 = as_type<float>((word_50 >> 16) << 16);
            sum0_5 = fma(w_101, x4_13.w, fma(w_100, x4_13.z, fma(w_99, x4_13.y, fma(w_98, x4_13.x, sum0_5))));
            sum1 = fma(w_101, x4_14.w, fma(w_100, x4_14.z, fma(w_99, x4_14.y, fma(w_98, x4_14.x, sum1))));
            sum2 = fma(w_101, x4_15.w, fma(w_100, x4_15.z, fma(w_99, x4_15.y, fma(w_98, x4_15.x, sum2))));
            sum3 = fma(w_101, x4_16.w, fma(w_100, x4_16.z, fma(w_99, x4_16.y, fma(w_98, x4_16.x, sum3))));
            const float w_102 = as_type<float>((word_51 & 0xffffu) << 16);
            const float w_103 = as_type<float>((word_51 >> 16) << 16);
            const float w_104 = as_type<float>((word_52 & 0xffffu) << 16);
            const float w_105 = as_type<float>((word_52 >> 16) << 16);
            sum0_6 = fma(w_105, x4_13.w, fma(w_104, x4_13.z, fma(w_103, x4_13.y,
                    fma(w_102, x4_13.x, sum0_6))));
            sum1_2 = fma(w_105, x4_14.w, fma(w_104, x4_14.z, fma(w_103, x4_14.y,
                    fma(w_102, x4_14.x, sum1_2))));
            sum2_2 = fma(w_105, x4_15.w, fma(w_104, x4_15.z, fma(w_103, x4_15.y,
                    fma(w_102, x4_15.x, sum2_2))));
            sum3_2 = fma(w_105, x4_16.w, fma(w_104, x4_16.z, fma(w_103, x4_16.y,
                    fma(w_102, x4_16.x, sum3_2))));
            const float w_106 = as_type<float>((word_53 & 0xffffu) << 16);
            const float w_107 = as_type<float>((word_53 >> 16) << 16);
            const float w_108 = as_type<float>((word_54 & 0xffffu) << 16);
            const float w_109 = as_type<float>((word_54 >> 16) << 16);
            sum0_7 = fma(w_109, x4_13.w, fma(w_108, x4_13.z, fma(w_107, x4_13.y,
                    fma(w_106, x4_13.x, sum0_7))));
            sum1_3 = fma(w_109, x4_14.w, fma(w_108, x4_14.z, fma(w_107, x4_14.y,
                    fma(w_106, x4_14.x, sum1_3))));
            sum2_3 = fma(w_109, x4_15.w, fma(w_108, x4_15.z, fma(w_107, x4_15.y,
                    fma(w_106, x4_15.x, sum2_3))));
            sum3_3 = fma(w_109, x4_16.w, fma(w_108, x4_16.z, fma(w_107, x4_16.y,
                    fma(w_106, x4_16.x, sum3_3))));
            const float w_110 = as_type<float>((word_55 & 0xffffu) << 16);
            const float w_111 = as_type<float>((word_55 >> 16) << 16);
            const float w_112 = as_type<float>((word_56 & 0xffffu) << 16);
            const float w_113 = as_type<float>((word_56 >> 16) << 16);
            sum0_8 = fma(w_113, x4_13.w, fma(w_112, x4_13.z, fma(w_111, x4_13.y,
                    fma(w_110, x4_13.x, sum0_8))));
            sum1_4 = fma(w_113, x4_14.w, fma(w_112, x4_14.z, fma(w_111, x4_14.y,
                    fma(w_110, x4_14.x, sum1_4))));
            sum2_4 = fma(w_113, x4_15.w, fma(w_112, x4_15.z, fma(w_111, x4_15.y,
                    fma(w_110, x4_15.x, sum2_4))));
            sum3_4 = fma(w_113, x4_16.w, fma(w_112, x4_16.z, fma(w_111, x4_16.y,
                    fma(w_110, x4_16.x, sum3_4))));
            const uint word_57 = w[row_word_5 + (unit_2 + 6)];
            const uint word_58 = w[row_word_5 + (unit_2 + 6 + 1)];
            const uint word_59 = w[row_word_6 + (unit_2 + 6)];
            const uint word_60 = w[row_word_6 + (unit_2 + 6 + 1)];
            const uint word_61 = w[row_word_7 + (unit_2 + 6)];
            const uint word_62 = w[row_word_7 + (unit_2 + 6 + 1)];
            const uint word_63 = w[row_word_8 + (unit_2 + 6)];
            const uint word_64 = w[row_word_8 + (unit_2 + 6 + 1)];
            const float4 x4_17 = x[x_row_2 + (k_2 + 12) / 4];
            const float4 x4_18 = x[x_row_3 + (k_2 + 12) / 4];
            const float4 x4_19 = x[x_row_4 + (k_2 + 12) / 4];
            const float4 x4_20 = x[x_row_5 + (k_2 + 12) / 4];
            const float w_114 = as_type<float>((word_57 & 0xffffu) << 16);
            const float w_115 = as_type<float>((word_57 >> 16) << 16);
            const float w_116 = as_type<float>((word_58 & 0xffffu) << 16);
            const float w_117 = as_type<float>((word_58 >> 16) << 16);
            sum0_5 = fma(w_117, x4_17.w, fma(w_116, x4_17.z, fma(w_115, x4_17.y,
                    fma(w_114, x4_17.x, sum0_5))));
            sum1 = fma(w_117, x4_18.w, fma(w_116, x4_18.z, fma(w_115, x4_18.y, fma(w_114, x4_18.x, sum1))));
            sum2 = fma(w_117, x4_19.w, fma(w_116, x4_19.z, fma(w_115, x4_19.y, fma(w_114, x4_19.x, sum2))));
            sum3 = fma(w_117, x4_20.w, fma(w_116, x4_20.z, fma(w_115, x4_20.y, fma(w_114, x4_20.x, sum3))));
            const float w_118 = as_type<float>((word_59 & 0xffffu) << 16);
            const float w_119 = as_type<float>((word_59 >> 16) << 16);
            const float w_120 = as_type<float>((word_60 & 0xffffu) << 16);
            const float w_121 = as_type<float>((word_60 >> 16) << 16);
            sum0_6 = fma(w_121, x4_17.w, fma(w_120, x4_17.z, fma(w_119, x4_17.y,
                    fma(w_118, x4_17.x, sum0_6))));
            sum1_2 = fma(w_121, x4_18.w, fma(w_120, x4_18.z, fma(w_119, x4_18.y,
                    fma(w_118, x4_18.x, sum1_2))));
            sum2_2 = fma(w_121, x4_19.w, fma(w_120, x4_19.z, fma(w_119, x4_19.y,
                    fma(w_118, x4_19.x, sum2_2))));
            sum3_2 = fma(w_121, x4_20.w, fma(w_120, x4_20.z, fma(w_119, x4_20.y,
                    fma(w_118, x4_20.x, sum3_2))));
            const float w_122 = as_type<float>((word_61 & 0xffffu) << 16);
            const float w_123 = as_type<float>((word_61 >> 16) << 16);
            const float w_124 = as_type<float>((word_62 & 0xffffu) << 16);
            const float w_125 = as_type<float>((word_62 >> 16) << 16);
            sum0_7 = fma(w_125, x4_17.w, fma(w_124, x4_17.z, fma(w_123, x4_17.y,
                    fma(w_122, x4_17.x, sum0_7))));
            sum1_3 = fma(w_125, x4_18.w, fma(w_124, x4_18.z, fma(w_123, x4_18.y,
                    fma(w_122, x4_18.x, sum1_3))));
            sum2_3 = fma(w_125, x4_19.w, fma(w_124, x4_19.z, fma(w_123, x4_19.y,
                    fma(w_122, x4_19.x, sum2_3))));
            sum3_3 = fma(w_125, x4_20.w, fma(w_124, x4_20.z, fma(w_123, x4_20.y,
                    fma(w_122, x4_20.x, sum3_3))));
            const float w_126 = as_type<float>((word_63 & 0xffffu) << 16);
            const float w_127 = as_type<float>((word_63 >> 16) << 16);
            const float w_128 = as_type<float>((word_64 & 0xffffu) << 16);
            const float w_129 = as_type<float>((word_64 >> 16) << 16);
            sum0_8 = fma(w_129, x4_17.w, fma(w_128, x4_17.z, fma(w_127, x4_17.y,
                    fma(w_126, x4_17.x, sum0_8))));
            sum1_4 = fma(w_129, x4_18.w, fma(w_128, x4_18.z, fma(w_127, x4_18.y,
                    fma(w_126, x4_18.x, sum1_4))));
            sum2_4 = fma(w_129, x4_19.w, fma(w_128, x4_19.z, fma(w_127, x4_19.y,
                    fma(w_126, x4_19.x, sum2_4))));
            sum3_4 = fma(w_129, x4_20.w, fma(w_128, x4_20.z, fma(w_127, x4_20.y,
                    fma(w_126, x4_20.x, sum3_4))));
        }
        const float product_5 = simd_sum(sum0_5);
        const float product_6 = simd_sum(sum1);
        const float product_7 = simd_sum(sum2);
        const float product_8 = simd_sum(sum3);
        const float product_9 = simd_sum(sum0_6);
        const float product_10 = simd_sum(sum1_2);
        const float product_11 = simd_sum(sum2_2);
        const float product_12 = simd_sum(sum3_2);
        const float product_13 = simd_sum(sum0_7);
        const float product_14 = simd_sum(sum1_3);
        const float product_15 = simd_sum(sum2_3);
        const float product_16 = simd_sum(sum3_3);
        const float product_17 = simd_sum(sum0_8);
        const float product_18 = simd_sum(sum1_4);
        const float product_19 = simd_sum(sum2_4);
        const float product_20 = simd_sum(sum3_4);

        // every lane has the sums; lane 0 writes
        if (lane == 0) {
            y[(row0 * 2 + group_2) * 64 + first_2] = product_5;
            if (live) {
                y[(row * 2 + group_2) * 64 + first_2] = product_6;
            }
            if (live_2) {
                y[(row_2 * 2 + group_2) * 64 + first_2] = product_7;
            }
            if (live_3) {
                y[(row_3 * 2 + group_2) * 64 + first_2] = product_8;
            }
            y[(row0 * 2 + group_2) * 64 + (first_2 + 1)] = product_9;
            if (live) {
                y[(row * 2 + group_2) * 64 + (first_2 + 1)] = product_10;
            }
            if (live_2) {
                y[(row_2 * 2 + group_2) * 64 + (first_2 + 1)] = product_11;
            }
            if (live_3) {
                y[(row_3 * 2 + group_2) * 64 + (first_2 + 1)] = product_12;
            }
            y[(row0 * 2 + group_2) * 64 + (first_2 + 2)] = product_13;
            if (live) {
                y[(row * 2 + group_2) * 64 + (first_2 + 2)] = product_14;
            }
            if (live_2) {
                y[(row_2 * 2 + group_2) * 64 + (first_2 + 2)] = product_15;
            }
            if (live_3) {
                y[(row_3 * 2 + group_2) * 64 + (first_2 + 2)] = product_16;
            }
            y[(row0 * 2 + group_2) * 64 + (first_2 + 3)] = product_17;
            if (live) {
                y[(row * 2 + group_2) * 64 + (first_2 + 3)] = product_18;
            }
            if (live_2) {
                y[(row_2 * 2 + group_2) * 64 + (first_2 + 3)] = product_19;
            }
            if (live_3) {
                y[(row_3 * 2 + group_2) * 64 + (first_2 + 3)] = product_20;
            }
        }
    }
}
