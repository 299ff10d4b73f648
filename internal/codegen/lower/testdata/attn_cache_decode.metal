// attn_cache_decode
//
// finishes vectors and appends them to caches, a SIMD group each
//
// Stands for (region cache):
//   %448 = rms_norm(%430) {eps = 1e-06} : tensor<T x 128 x f32>
//   %449 = dequantize @layers.2.attn.kv_norm.weight : tensor<128 x f32>
//   %450 = mul(%448, %449) : tensor<T x 128 x f32>
//   %451 = rope(%450, %position) {dims = 64, theta = 160000.0, factor = 4.0, original = 128, betaFast = 32.0,
//       betaSlow = 1.0} : tensor<T x 128 x f32>
//   %452 = state @layers.2.attn.window : state<128 x f32>
//   %453 = round_to(%451) {format = "e4m3", block = 64, count = 64} : tensor<T x 128 x f32>
//   %layers.2.attn.window.row = round_to(%453) {format = "bf16", from = 64, count = 64} : tensor<T x 128 x
//       f32>
//   %455 = append(%452, %slot, %position, %layers.2.attn.window.row) : state<128 x f32>
//   %456 = closing_rows(%position) {ratio = 128} : tensor<E128 x i32>
//   %457 = take_rows(%position, %456) : tensor<E128 x i32>
//   %458 = take_rows(%slot, %456) : tensor<E128 x i32>
//   %459 = index_range(%457) {first = i-127, count = 128, limit = i+1} : tensor<E128 x 128 x i32>
//   %460 = read(%440, %458, %459) : tensor<E128 x 128 x 128 x f32>
//   %461 = index_range(%457) {first = i-127, count = 128, limit = i+1} : tensor<E128 x 128 x i32>
//   %462 = read(%442, %458, %461) {missing = -inf} : tensor<E128 x 128 x 128 x f32>
//   %463 = softmax(%462) {axis = 1} : tensor<E128 x 128 x 128 x f32>
//   %464 = mul(%463, %460) : tensor<E128 x 128 x 128 x f32>
//   %465 = reduce_sum(%464) {axis = 1} : tensor<E128 x 128 x f32>
//   %466 = rms_norm(%465) {eps = 1e-06} : tensor<E128 x 128 x f32>
//   %467 = dequantize @layers.2.attn.compressor.norm.weight : tensor<128 x f32>
//   %468 = mul(%466, %467) : tensor<E128 x 128 x f32>
//   %469 = index_map(%457) {to = i-127} : tensor<E128 x i32>
//   %470 = rope(%468, %469) {dims = 64, theta = 160000.0, factor = 4.0, original = 128, betaFast = 32.0,
//       betaSlow = 1.0} : tensor<E128 x 128 x f32>
//   %471 = index_map(%457) {to = floor(i/128)} : tensor<E128 x i32>
//   %472 = state @layers.2.attn.compressor.entries : state<128 x f32>
//   %473 = round_to(%470) {format = "e4m3", block = 64, count = 64} : tensor<E128 x 128 x f32>
//   %layers.2.attn.compressor.entries.row = round_to(%473) {format = "bf16", from = 64, count = 64} :
//       tensor<E128 x 128 x f32>
//   %475 = append(%472, %458, %471, %layers.2.attn.compressor.entries.row) : state<128 x f32>
//
// Launch: threadgroups of 128 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Schedule: vectors per threadgroup = 4 (a SIMD group holds one in registers; norm, rotation and rounding
//     need no threadgroup memory)
// Schedule: channels per SIMD group that pools = 128 (a block is long: the SIMD groups of a threadgroup share
//     one vector's channels)
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
    device uint *cache;
    device const float4 *values;
    device const float4 *scores;
    device uint *cache_2;
    device const ushort *norm;
    device const ushort *norm_2;
};

struct Step {
    int T;
    int W;
    int P;
    int E4;
    int E128;
    int token[16];
    int position[16];
    int slot[16];
    int wanted[16];
    int closing4[16];
    int closing128[16];
    float rope0[1024];
    float rope1[1024];
    float rope2[1024];
    float rope3[1024];
};

[[kernel, max_total_threads_per_threadgroup(128)]]
void attn_cache_decode(
    constant Args &args [[buffer(0)]],
    constant Step &step [[buffer(1)]],
    uint3 group_position [[threadgroup_position_in_grid]],
    uint lane_index [[thread_index_in_simdgroup]],
    uint simd_index [[simdgroup_index_in_threadgroup]])
{
    const int group_x = int(group_position.x);
    const int lane = int(lane_index);
    const int simd_group = int(simd_index);
    device const float4 *x = args.x;
    device uint *cache = args.cache;
    device const float4 *values = args.values;
    device const float4 *scores = args.scores;
    device uint *cache_2 = args.cache_2;
    device const ushort *norm = args.norm;
    device const ushort *norm_2 = args.norm_2;

    const int groups = (step.T + 3) / 4;
    if (group_x < groups) {
        // entry 0: each row's vector
        const int job = group_x * 4 + simd_group;
        if (job < step.T) {
            float4 x_2 = x[job * 32 + lane];

            // norm
            const float4 squares = x_2 * x_2;
            const float rms = precise::sqrt(simd_sum(squares.x + squares.y +
                    (squares.z + squares.w)) / 128.0f + 1e-6f);
            x_2 = x_2 / float4(rms) * float4(as_type<float>(uint(norm[lane * 4]) << 16),
                    as_type<float>(uint(norm[lane * 4 + 1]) << 16), as_type<float>(uint(norm[lane * 4 +
                    2]) << 16), as_type<float>(uint(norm[lane * 4 + 3]) << 16));

            // rotary embedding
            const int rope_at = job * 64;
            if (lane >= 16) {
                const int rotated = lane * 4 - 64;
                const float4 turns = float4(step.rope1[rope_at + rotated], step.rope1[rope_at + rotated + 1],
                        step.rope1[rope_at + rotated + 2], step.rope1[rope_at + rotated + 3]);
                x_2 = float4(x_2.x * turns.x - x_2.y * turns.y, x_2.x * turns.y + x_2.y * turns.x,
                        x_2.z * turns.z - x_2.w * turns.w, x_2.z * turns.w + x_2.w * turns.z);
            }

            // append
            const int cache_row = (step.slot[job] * 512 + (step.position[job] & 0x01ff)) * 50;

            // scale of each block: the least power of two that brings its largest magnitude within the codes
            const float4 magnitudes = fabs(x_2);
            const float amax = lane < 16 ? fmax(fmax(magnitudes.x, magnitudes.y),
                    fmax(magnitudes.z, magnitudes.w)) : 0.0f;
            const float amax_2 = fmax(amax, simd_shuffle_xor(amax, 1));
            const float amax_3 = fmax(amax_2, simd_shuffle_xor(amax_2, 2));
            const float amax_4 = fmax(amax_3, simd_shuffle_xor(amax_3, 4));
            const int scale = max(((as_type<int>(fmax(amax_4, simd_shuffle_xor(amax_4, 8))) +
                    2097151) >> 23) - 8, 105);
            if (lane < 16) {
                const int to = cache_row + lane;
                const float4 scaled = x_2 * float4(as_type<float>((254 - scale) << 23));
                const int4 exponent = max((as_type<int4>(scaled) >> int4(23)) & int4(255), int4(121));
                const float4 steps = rint(scaled * as_type<float4>((int4(257) - exponent) << int4(23)));
                const uint4 codes = as_type<uint4>((((exponent - int4(121)) << int4(3)) + int4(fabs(steps))) |
                        ((as_type<int4>(x_2) >> int4(31)) & int4(128)));
                const uint packed = codes.x | (codes.y << 8) | (codes.z << 16) | (codes.w << 24);
                cache[to] = packed;
            }
            const uint scales = uint(simd_shuffle(scale, ushort(0)));
            if (lane == 0) {
                cache[cache_row + 48] = scales;
                cache[cache_row + 49] = 0u;
            }
            if (lane >= 16) {
                const int to_2 = cache_row + ((lane - 16) * 2 + 16);
                const uint4 bf16 = (as_type<uint4>(x_2) + uint4(32767u) +
                        ((as_type<uint4>(x_2) >> uint4(16u)) & uint4(1u))) & uint4(0xffff0000u);
                cache[to_2] = (bf16.x >> 16) | bf16.y;
                cache[to_2 + 1] = (bf16.z >> 16) | bf16.w;
            }
        }
    } else {
        const int group = group_x - groups;

        // entry 1: a vector for each row that closes a block of 128
        const int job_2 = group * 4 + simd_group;
        if (job_2 < step.E128) {
            const int row = step.closing128[job_2];
            const int slot = step.slot[row];
            const int after = step.position[row] + 1;
            const int first = after - 128;
            float4 top = float4(-INFINITY);
            for (int token = first; token < after; token++) {
                const int scores_row = (slot * 512 + (token & 0x01ff)) * 32;
                const float4 scores4 = scores[scores_row + lane * 4 / 4];
                top = fmax(top, scores4);
            }
            float4 sum = float4(0.0f);
            float4 accs = float4(0.0f);
            for (int token_2 = first; token_2 < after; token_2++) {
                const int scores_row_2 = (slot * 512 + (token_2 & 0x01ff)) * 32;
                const float4 scores4_2 = scores[scores_row_2 + lane * 4 / 4];
                const float4 weight = precise::exp(scores4_2 - top);
                sum += weight;
                const int values_row = (slot * 512 + (token_2 & 0x01ff)) * 32;
                const float4 values4 = values[values_row + lane * 4 / 4];
                accs = fma(weight, values4, accs);
            }
            float4 x_3 = accs / sum;

            // norm
            const float4 squares_2 = x_3 * x_3;
            const float rms_2 = precise::sqrt(simd_sum(squares_2.x + squares_2.y +
                    (squares_2.z + squares_2.w)) / 128.0f + 1e-6f);
            x_3 = x_3 / float4(rms_2) * float4(as_type<float>(uint(norm_2[lane * 4]) << 16),
                    as_type<float>(uint(norm_2[lane * 4 + 1]) << 16), as_type<float>(uint(norm_2[lane * 4 +
                    2]) << 16), as_type<float>(uint(norm_2[lane * 4 + 3]) << 16));

            // rotary embedding
            const int rope_at_2 = job_2 * 64;
            if (lane >= 16) {
                const int rotated_2 = lane * 4 - 64;
                const float4 turns_2 = float4(step.rope3[rope_at_2 + rotated_2],
                        step.rope3[rope_at_2 + rotated_2 + 1], step.rope3[rope_at_2 + rotated_2 + 2],
                        step.rope3[rope_at_2 + rotated_2 + 3]);
                x_3 = float4(x_3.x * turns_2.x - x_3.y * turns_2.y, x_3.x * turns_2.y + x_3.y * turns_2.x,
                        x_3.z * turns_2.z - x_3.w * turns_2.w, x_3.z * turns_2.w + x_3.w * turns_2.z);
            }

            // append
            const int cache_row_2 = (step.slot[row] * 512 + step.position[row] / 128) * 50;

            // scale of each block: the least power of two that brings its largest magnitude within the codes
            const float4 magnitudes_2 = fabs(x_3);
            const float amax_5 = lane < 16 ? fmax(fmax(magnitudes_2.x, magnitudes_2.y),
                    fmax(magnitudes_2.z, magnitudes_2.w)) : 0.0f;
            const float amax_6 = fmax(amax_5, simd_shuffle_xor(amax_5, 1));
            const float amax_7 = fmax(amax_6, simd_shuffle_xor(amax_6, 2));
            const float amax_8 = fmax(amax_7, simd_shuffle_xor(amax_7, 4));
            const int scale_2 = max(((as_type<int>(fmax(amax_8, simd_shuffle_xor(amax_8, 8))) +
                    2097151) >> 23) - 8, 105);
            if (lane < 16) {
                const int to_3 = cache_row_2 + lane;
                const float4 scaled_2 = x_3 * float4(as_type<float>((254 - scale_2) << 23));
                const int4 exponent_2 = max((as_type<int4>(scaled_2) >> int4(23)) & int4(255), int4(121));
                const float4 steps_2 = rint(scaled_2 * as_type<float4>((int4(257) - exponent_2) << int4(23)));
                const uint4 codes_2 = as_type<uint4>((((exponent_2 - int4(121)) << int4(3)) +
                        int4(fabs(steps_2))) | ((as_type<int4>(x_3) >> int4(31)) & int4(128)));
                const uint packed_2 = codes_2.x | (codes_2.y << 8) | (codes_2.z << 16) | (codes_2.w << 24);
                cache_2[to_3] = packed_2;
            }
            const uint scales_2 = uint(simd_shuffle(scale_2, ushort(0)));
            if (lane == 0) {
                cache_2[cache_row_2 + 48] = scales_2;
                cache_2[cache_row_2 + 49] = 0u;
            }
            if (lane >= 16) {
                const int to_4 = cache_row_2 + ((lane - 16) * 2 + 16);
                const uint4 bf16_2 = (as_type<uint4>(x_3) + uint4(32767u) +
                        ((as_type<uint4>(x_3) >> uint4(16u)) & uint4(1u))) & uint4(0xffff0000u);
                cache_2[to_4] = (bf16_2.x >> 16) | bf16_2.y;
                cache_2[to_4 + 1] = (bf16_2.z >> 16) | bf16_2.w;
            }
        }
    }
}
