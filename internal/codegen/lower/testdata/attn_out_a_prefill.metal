// attn_out_a_prefill
//
// products of one input, in tiles
//
// Stands for (region linear):
//   %68 = reshape(%67) {shape = [T, 2, 256]} : tensor<T x 2 x 256 x f32>
//   %69 = dequantize @layers.0.attn.wo_a.weight : tensor<2 x 64 x 256 x f32>
//   %70 = einsum(%68, %69) {spec = "tgi,goi->tgo"} : tensor<T x 2 x 64 x f32>
//   %71 = reshape(%70) {shape = [T, 128]} : tensor<T x 128 x f32>
//
// Launch: threadgroups of 256 threads in SIMD groups of 32 lanes; 20480 bytes of threadgroup memory.
// Schedule: tile = 32 rows x 64 outputs x 32 deep (12 KB of operands leave room for two threadgroups a core;
//     a weight is unpacked once for 32 rows)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe (without fast math). The order of additions is part of
//     the result, infinities and NaN are meant, and only fma() fuses. The pragmas below ask for the same;
//     compilers before Xcode 16 know only the option, and the standard pragma.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
    device const float *x;
    device const uint *w;
    device float *y;
};

struct Step {
    int T;
};

[[kernel, max_total_threads_per_threadgroup(256)]]
void attn_out_a_prefill(
    constant Args &args [[buffer(0)]],
    constant Step &step [[buffer(1)]],
    uint3 group_position [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint simd_index [[simdgroup_index_in_threadgroup]])
{
    threadgroup float x_tile[1024];
    threadgroup float w_tile[2048];
    threadgroup float tile[2048];

    const int group_x = int(group_position.x);
    const int group_y = int(group_position.y);
    const int tid = int(thread_index);
    const int simd_group = int(simd_index);
    device const float *x = args.x;
    device const uint *w = args.w;
    device float *y = args.y;

    const int row0 = group_y * 32;
    const int group = group_x;
    const int first = 0;
    const int first_row = group * 64;
    simdgroup_float8x8 acc = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 acc_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 acc_3 = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 acc_4 = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 a = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 a_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 b = make_filled_simdgroup_matrix<float, 8>(0.0f);
    simdgroup_float8x8 b_2 = make_filled_simdgroup_matrix<float, 8>(0.0f);
    const int row_at = simd_group / 4 * 16;
    const int out_at = simd_group % 4 * 16;
    for (int k = 0; k < 256; k += 32) {
        // inputs of this depth
        for (int i = tid; i < 1024; i += 256) {
            const int column = k + i % 32;
            const int tile_row = i / 32;
            const int row = min(row0 + tile_row, step.T - 1);
            x_tile[i] = row0 + tile_row < step.T ? x[(row * 2 + group) * 256 + column] : 0.0f;
        }

        // weights of this depth, unpacked
        for (int i_2 = tid; i_2 < 512; i_2 += 256) {
            const int out = i_2 / 8;
            const int block = i_2 % 8;
            const int w_at = out * 32 + block * 4;
            const int n = first + out;
            const int column_2 = k + block * 4;
            if (n < 64 && column_2 < 256) {
                const int row_word = first_row * 128 + n * 128;
                const int unit = column_2 / 2;
                const uint word = w[row_word + unit];
                const uint word_2 = w[row_word + (unit + 1)];
                w_tile[w_at] = as_type<float>((word & 0xffffu) << 16);
                w_tile[w_at + 1] = as_type<float>((word >> 16) << 16);
                w_tile[w_at + 2] = as_type<float>((word_2 & 0xffffu) << 16);
                w_tile[w_at + 3] = as_type<float>((word_2 >> 16) << 16);
            } else {
                w_tile[w_at] = 0.0f;
                w_tile[w_at + 1] = 0.0f;
                w_tile[w_at + 2] = 0.0f;
                w_tile[w_at + 3] = 0.0f;
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        simdgroup_load(a, x_tile + row_at * 32, 32);
        simdgroup_load(a_2, x_tile + (row_at + 8) * 32, 32);
        simdgroup_load(b, w_tile + out_at * 32, 32, ulong2(0, 0), true);
        simdgroup_load(b_2, w_tile + (out_at + 8) * 32, 32, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(acc, a, b, acc);
        simdgroup_multiply_accumulate(acc_2, a, b_2, acc_2);
        simdgroup_multiply_accumulate(acc_3, a_2, b, acc_3);
        simdgroup_multiply_accumulate(acc_4, a_2, b_2, acc_4);
        simdgroup_load(a, x_tile + row_at * 32 + 8, 32);
        simdgroup_load(a_2, x_tile + (row_at + 8) * 32 + 8, 32);
        simdgroup_load(b, w_tile + out_at * 32 + 8, 32, ulong2(0, 0), true);
        simdgroup_load(b_2, w_tile + (out_at + 8) * 32 + 8, 32, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(acc, a, b, acc);
        simdgroup_multiply_accumulate(acc_2, a, b_2, acc_2);
        simdgroup_multiply_accumulate(acc_3, a_2, b, acc_3);
        simdgroup_multiply_accumulate(acc_4, a_2, b_2, acc_4);
        simdgroup_load(a, x_tile + row_at * 32 + 16, 32);
        simdgroup_load(a_2, x_tile + (row_at + 8) * 32 + 16, 32);
        simdgroup_load(b, w_tile + out_at * 32 + 16, 32, ulong2(0, 0), true);
        simdgroup_load(b_2, w_tile + (out_at + 8) * 32 + 16, 32, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(acc, a, b, acc);
        simdgroup_multiply_accumulate(acc_2, a, b_2, acc_2);
        simdgroup_multiply_accumulate(acc_3, a_2, b, acc_3);
        simdgroup_multiply_accumulate(acc_4, a_2, b_2, acc_4);
        simdgroup_load(a, x_tile + row_at * 32 + 24, 32);
        simdgroup_load(a_2, x_tile + (row_at + 8) * 32 + 24, 32);
        simdgroup_load(b, w_tile + out_at * 32 + 24, 32, ulong2(0, 0), true);
        simdgroup_load(b_2, w_tile + (out_at + 8) * 32 + 24, 32, ulong2(0, 0), true);
        simdgroup_multiply_accumulate(acc, a, b, acc);
        simdgroup_multiply_accumulate(acc_2, a, b_2, acc_2);
        simdgroup_multiply_accumulate(acc_3, a_2, b, acc_3);
        simdgroup_multiply_accumulate(acc_4, a_2, b_2, acc_4);
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    simdgroup_store(acc, tile + row_at * 64 + out_at, 64);
    simdgroup_store(acc_2, tile + row_at * 64 + (out_at + 8), 64);
    simdgroup_store(acc_3, tile + (row_at + 8) * 64 + out_at, 64);
    simdgroup_store(acc_4, tile + (row_at + 8) * 64 + (out_at + 8), 64);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const int i_3 = tid;
    const int row_2 = row0 + i_3 / 64;
    const int n_2 = first + i_3 % 64;
    if (row_2 < step.T && n_2 < 64) {
        y[(row_2 * 2 + group) * 64 + n_2] = tile[i_3];
    }
    const int i_4 = tid + 256;
    const int row_3 = row0 + i_4 / 64;
    const int n_3 = first + i_4 % 64;
    if (row_3 < step.T && n_3 < 64) {
        y[(row_3 * 2 + group) * 64 + n_3] = tile[i_4];
    }
    const int i_5 = tid + 512;
    const int row_4 = row0 + i_5 / 64;
    const int n_4 = first + i_5 % 64;
    if (row_4 < step.T && n_4 < 64) {
        y[(row_4 * 2 + group) * 64 + n_4] = tile[i_5];
    }
    const int i_6 = tid + 768;
    const int row_5 = row0 + i_6 / 64;
    const int n_5 = first + i_6 % 64;
    if (row_5 < step.T && n_5 < 64) {
        y[(row_5 * 2 + group) * 64 + n_5] = tile[i_6];
    }
    const int i_7 = tid + 1024;
    const int row_6 = row0 + i_7 / 64;
    const int n_6 = first + i_7 % 64;
    if (row_6 < step.T && n_6 < 64) {
        y[(row_6 * 2 + group) * 64 + n_6] = tile[i_7];
    }
    const int i_8 = tid + 1280;
    const int row_7 = row0 + i_8 / 64;
    const int n_7 = first + i_8 % 64;
    if (row_7 < step.T && n_7 < 64) {
        y[(row_7 * 2 + group) * 64 + n_7] = tile[i_8];
    }
    const int i_9 = tid + 1536;
    const int row_8 = row0 + i_9 / 64;
    const int n_8 = first + i_9 % 64;
    if (row_8 < step.T && n_8 < 64) {
        y[(row_8 * 2 + group) * 64 + n_8] = tile[i_9];
    }
    const int i_10 = tid + 1792;
    const int row_9 = row0 + i_10 / 64;
    const int n_9 = first + i_10 % 64;
    if (row_9 < step.T && n_9 < 64) {
        y[(row_9 * 2 + group) * 64 + n_9] = tile[i_10];
    }
}
