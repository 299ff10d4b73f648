// attn_attend_decode
//
// attention over a window and entries: a tile of them is unpacked for the heads of a threadgroup, of which a
//     SIMD group has a few
//
// Stands for (region attention):
//   %56 = reshape(%47) {shape = [T, 4, 128]} : tensor<T x 4 x 128 x f32>
//   %57 = rms_norm(%56) {eps = 1e-06} : tensor<T x 4 x 128 x f32>
//   %58 = rope(%57, %position) {dims = 64, theta = 10000.0} : tensor<T x 4 x 128 x f32>
//   %59 = index_range(%position) {first = i-15, count = 16, limit = i+1} : tensor<T x 16 x i32>
//   %60 = read(%55, %slot, %59) : tensor<T x 16 x 128 x f32>
//   %61 = einsum(%58, %60) {spec = "thd,tkd->thk"} : tensor<T x 4 x 16 x f32>
//   %62 = scale(%61) {by = 0.08838834764831843} : tensor<T x 4 x 16 x f32>
//   %63 = mask(%62, %59) {fill = -inf} : tensor<T x 4 x 16 x f32>
//   %64 = dequantize @layers.0.attn.attn_sink : tensor<4 x f32>
//   %65 = sink_softmax(%63, %64) : tensor<T x 4 x 16 x f32>
//   %66 = einsum(%65, %60) {spec = "thk,tkd->thd"} : tensor<T x 4 x 128 x f32>
//   %67 = rope(%66, %position) {dims = 64, theta = 10000.0, inverse = true} : tensor<T x 4 x 128 x f32>
//
// Launch: threadgroups of 32 threads in SIMD groups of 32 lanes; 4352 bytes of threadgroup memory.
// Schedule: heads per SIMD group = 4 (threadgroup memory is read once for them; more need too many registers)
// Schedule: SIMD groups = 1 (a key is unpacked once for their 4 heads)
// Schedule: keys = not split (they fit one tile)
// Schedule: tile = bf16 (it has the cache's elements exactly, in half the memory)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe (without fast math). The order of additions is part of
//     the result, infinities and NaN are meant, and only fma() fuses. The pragmas below ask for the same;
//     compilers before Xcode 16 know only the option, and the standard pragma.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
    device const uint *window;
    device const float4 *q;
    device const uint *sink;
    device float4 *result;
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
};

[[kernel, max_total_threads_per_threadgroup(32)]]
void attn_attend_decode(
    constant Args &args [[buffer(0)]],
    constant Step &step [[buffer(1)]],
    uint3 group_position [[threadgroup_position_in_grid]],
    uint lane_index [[thread_index_in_simdgroup]],
    uint simd_index [[simdgroup_index_in_threadgroup]])
{
    threadgroup uint tile[1024];
    threadgroup float scores[64];

    const int group_x = int(group_position.x);
    const int group_y = int(group_position.y);
    const int lane = int(lane_index);
    const int simd_group = int(simd_index);
    device const uint *window = args.window;
    device const float4 *q = args.q;
    device const uint *sink = args.sink;
    device float4 *result = args.result;

    const int row = group_y;
    const int position = step.position[row];
    const int first_key = max(15 - position, 0);
    const int slot = step.slot[row];
    const int head = (group_x + simd_group) * 4;
    const int q_at = (row * 4 + head) * 32;
    float4 x = q[q_at + lane];
    float top = as_type<float>(sink[head]);
    float sum = 1.0f;
    float4 accs0 = float4(0.0f);
    float factor = 0.088388346f;
    const int q_at_2 = (row * 4 + (head + 1)) * 32;
    float4 x_2 = q[q_at_2 + lane];
    float top_2 = as_type<float>(sink[head + 1]);
    float sum_2 = 1.0f;
    float4 accs0_2 = float4(0.0f);
    float factor_2 = 0.088388346f;
    const int q_at_3 = (row * 4 + (head + 2)) * 32;
    float4 x_3 = q[q_at_3 + lane];
    float top_3 = as_type<float>(sink[head + 2]);
    float sum_3 = 1.0f;
    float4 accs0_3 = float4(0.0f);
    float factor_3 = 0.088388346f;
    const int q_at_4 = (row * 4 + (head + 3)) * 32;
    float4 x_4 = q[q_at_4 + lane];
    float top_4 = as_type<float>(sink[head + 3]);
    float sum_4 = 1.0f;
    float4 accs0_4 = float4(0.0f);
    float factor_4 = 0.088388346f;
    const int used = 16 - first_key;
    for (int slot_at = simd_group; slot_at < 16; slot_at += 2) {
        const int window_row = (slot * 512 + ((position - 15 + (first_key + min(slot_at, used - 1))) &
                0x01ff)) * 50;
        const int chunk = min(max(lane, 0), 15);
        const uint codes = window[window_row + chunk * 4 / 4];
        const int block = chunk * 4 / 64;
        const float scale = as_type<float>(((window[window_row + (block / 4 + 48)] >> ((uint(block) &
                3u) << 3)) & 255u) << 23);
        const int chunk_2 = min(max(lane, 16), 31);
        const int at = window_row + ((chunk_2 * 4 - 64) / 2 + 16);
        const uint pair = window[at];
        const uint pair_2 = window[at + 1];
        const int window_row_2 = (slot * 512 + ((position - 15 + (first_key + min(slot_at + 1, used - 1))) &
                0x01ff)) * 50;
        const int chunk_3 = min(max(lane, 0), 15);
        const uint codes_2 = window[window_row_2 + chunk_3 * 4 / 4];
        const int block_2 = chunk_3 * 4 / 64;
        const float scale_2 = as_type<float>(((window[window_row_2 + (block_2 / 4 + 48)] >> ((uint(block_2) &
                3u) << 3)) & 255u) << 23);
        const int chunk_4 = min(max(lane, 16), 31);
        const int at_2 = window_row_2 + ((chunk_4 * 4 - 64) / 2 + 16);
        const uint pair_3 = window[at_2];
        const uint pair_4 = window[at_2 + 1];
        const float2 halves = float2(as_type<half2>(((codes << 8) & 0x80008000u) |
                ((codes << 7) & 0x3f803f80u)));
        const float2 halves_2 = float2(as_type<half2>((codes & 0x80008000u) | ((codes >> 1) & 0x3f803f80u)));
        const float element = halves.x * 256.0f * scale;
        const float element_2 = halves_2.x * 256.0f * scale;
        const float element_3 = halves.y * 256.0f * scale;
        const float element_4 = halves_2.y * 256.0f * scale;
        const float4 next4 = float4(as_type<float>(pair << 16), as_type<float>(pair & 0xffff0000u),
                as_type<float>(pair_2 << 16), as_type<float>(pair_2 & 0xffff0000u));
        const float4 window4 = float4(element, element_2, element_3, element_4);
        const float4 key4 = lane >= 16 ? next4 : window4;
        tile[slot_at * 64 + lane] = (as_type<uint>(key4.x) >> 16) | (as_type<uint>(key4.y) & 0xffff0000u);
        tile[slot_at * 64 + 32 + lane] = (as_type<uint>(key4.z) >> 16) |
                (as_type<uint>(key4.w) & 0xffff0000u);
        const float2 halves_3 = float2(as_type<half2>(((codes_2 << 8) & 0x80008000u) |
                ((codes_2 << 7) & 0x3f803f80u)));
        const float2 halves_4 = float2(as_type<half2>((codes_2 & 0x80008000u) |
                ((codes_2 >> 1) & 0x3f803f80u)));
        const float element_5 = halves_3.x * 256.0f * scale_2;
        const float element_6 = halves_4.x * 256.0f * scale_2;
        const float element_7 = halves_3.y * 256.0f * scale_2;
        const float element_8 = halves_4.y * 256.0f * scale_2;
        const float4 next4_2 = float4(as_type<float>(pair_3 << 16), as_type<float>(pair_3 & 0xffff0000u),
                as_type<float>(pair_4 << 16), as_type<float>(pair_4 & 0xffff0000u));
        const float4 window4_2 = float4(element_5, element_6, element_7, element_8);
        const float4 key4_2 = lane >= 16 ? next4_2 : window4_2;
        tile[(slot_at + 1) * 64 + lane] = (as_type<uint>(key4_2.x) >> 16) |
                (as_type<uint>(key4_2.y) & 0xffff0000u);
        tile[(slot_at + 1) * 64 + 32 + lane] = (as_type<uint>(key4_2.z) >> 16) |
                (as_type<uint>(key4_2.w) & 0xffff0000u);
    }
    const float4 products = x * x;
    factor = 0.088388346f / precise::sqrt(simd_sum(products.x + products.y +
            (products.z + products.w)) / 128.0f + 1e-6f);
    const float4 products_2 = x_2 * x_2;
    factor_2 = 0.088388346f / precise::sqrt(simd_sum(products_2.x + products_2.y +
            (products_2.z + products_2.w)) / 128.0f + 1e-6f);
    const float4 products_3 = x_3 * x_3;
    factor_3 = 0.088388346f / precise::sqrt(simd_sum(products_3.x + products_3.y +
            (products_3.z + products_3.w)) / 128.0f + 1e-6f);
    const float4 products_4 = x_4 * x_4;
    factor_4 = 0.088388346f / precise::sqrt(simd_sum(products_4.x + products_4.y +
            (products_4.z + products_4.w)) / 128.0f + 1e-6f);

    // rotary embedding
    const int rope_at = row * 64;
    if (lane >= 16) {
        const int rotated = lane * 4 - 64;
        const float4 turns = float4(step.rope0[rope_at + rotated], step.rope0[rope_at + rotated + 1],
                step.rope0[rope_at + rotated + 2], step.rope0[rope_at + rotated + 3]);
        x = float4(x.x * turns.x - x.y * turns.y, x.x * turns.y + x.y * turns.x, x.z * turns.z -
                x.w * turns.w, x.z * turns.w + x.w * turns.z);
        const int rotated_2 = lane * 4 - 64;
        const float4 turns_2 = float4(step.rope0[rope_at + rotated_2], step.rope0[rope_at + rotated_2 + 1],
                step.rope0[rope_at + rotated_2 + 2], step.rope0[rope_at + rotated_2 + 3]);
        x_2 = float4(x_2.x * turns_2.x - x_2.y * turns_2.y, x_2.x * turns_2.y + x_2.y * turns_2.x,
                x_2.z * turns_2.z - x_2.w * turns_2.w, x_2.z * turns_2.w + x_2.w * turns_2.z);
        const int rotated_3 = lane * 4 - 64;
        const float4 turns_3 = float4(step.rope0[rope_at + rotated_3], step.rope0[rope_at + rotated_3 + 1],
                step.rope0[rope_at + rotated_3 + 2], step.rope0[rope_at + rotated_3 + 3]);
        x_3 = float4(x_3.x * turns_3.x - x_3.y * turns_3.y, x_3.x * turns_3.y + x_3.y * turns_3.x,
                x_3.z * turns_3.z - x_3.w * turns_3.w, x_3.z * turns_3.w + x_3.w * turns_3.z);
        const int rotated_4 = lane * 4 - 64;
        const float4 turns_4 = float4(step.rope0[rope_at + rotated_4], step.rope0[rope_at + rotated_4 + 1],
                step.rope0[rope_at + rotated_4 + 2], step.rope0[rope_at + rotated_4 + 3]);
        x_4 = float4(x_4.x * turns_4.x - x_4.y * turns_4.y, x_4.x * turns_4.y + x_4.y * turns_4.x,
                x_4.z * turns_4.z - x_4.w * turns_4.w, x_4.z * turns_4.w + x_4.w * turns_4.z);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int key_at = 0; key_at < 16; key_at += 4) {
        const uint word = tile[key_at * 64 + lane];
        const uint word_2 = tile[key_at * 64 + 32 + lane];
        const float4 key4_3 = float4(as_type<float>(word << 16), as_type<float>(word & 0xffff0000u),
                as_type<float>(word_2 << 16), as_type<float>(word_2 & 0xffff0000u));
        const float4 products_5 = x * key4_3;
        const float product = products_5.x + products_5.y + (products_5.z + products_5.w);
        const float4 products_6 = x_2 * key4_3;
        const float product_2 = products_6.x + products_6.y + (products_6.z + products_6.w);
        const float4 products_7 = x_3 * key4_3;
        const float product_3 = products_7.x + products_7.y + (products_7.z + products_7.w);
        const float4 products_8 = x_4 * key4_3;
        const float product_4 = products_8.x + products_8.y + (products_8.z + products_8.w);
        const uint word_3 = tile[(key_at + 1) * 64 + lane];
        const uint word_4 = tile[(key_at + 1) * 64 + 32 + lane];
        const float4 key4_4 = float4(as_type<float>(word_3 << 16), as_type<float>(word_3 & 0xffff0000u),
                as_type<float>(word_4 << 16), as_type<float>(word_4 & 0xffff0000u));
        const float4 products_9 = x * key4_4;
        const float product_5 = products_9.x + products_9.y + (products_9.z + products_9.w);
        const float4 products_10 = x_2 * key4_4;
        const float product_6 = products_10.x + products_10.y + (products_10.z + products_10.w);
        const float4 products_11 = x_3 * key4_4;
        const float product_7 = products_11.x + products_11.y + (products_11.z + products_11.w);
        const float4 products_12 = x_4 * key4_4;
        const float product_8 = products_12.x + products_12.y + (products_12.z + products_12.w);
        const uint word_5 = tile[(key_at + 2) * 64 + lane];
        const uint word_6 = tile[(key_at + 2) * 64 + 32 + lane];
        const float4 key4_5 = float4(as_type<float>(word_5 << 16), as_type<float>(word_5 & 0xffff0000u),
                as_type<float>(word_6 << 16), as_type<float>(word_6 & 0xffff0000u));
        const float4 products_13 = x * key4_5;
        const float product_9 = products_13.x + products_13.y + (products_13.z + products_13.w);
        const float4 products_14 = x_2 * key4_5;
        const float product_10 = products_14.x + products_14.y + (products_14.z + products_14.w);
        const float4 products_15 = x_3 * key4_5;
        const float product_11 = products_15.x + products_15.y + (products_15.z + products_15.w);
        const float4 products_16 = x_4 * key4_5;
        const float product_12 = products_16.x + products_16.y + (products_16.z + products_16.w);
        const uint word_7 = tile[(key_at + 3) * 64 + lane];
        const uint word_8 = tile[(key_at + 3) * 64 + 32 + lane];
        const float4 key4_6 = float4(as_type<float>(word_7 << 16), as_type<float>(word_7 & 0xffff0000u),
                as_type<float>(word_8 << 16), as_type<float>(word_8 & 0xffff0000u));
        const float4 products_17 = x * key4_6;
        const float product_13 = products_17.x + products_17.y + (products_17.z + products_17.w);
        const float4 products_18 = x_2 * key4_6;
        const float product_14 = products_18.x + products_18.y + (products_18.z + products_18.w);
        const float4 products_19 = x_3 * key4_6;
        const float product_15 = products_19.x + products_19.y + (products_19.z + products_19.w);
        const float4 products_20 = x_4 * key4_6;
        const float product_16 = products_20.x + products_20.y + (products_20.z + products_20.w);
        const bool upper = (lane & 16) != 0;
        const float give = upper ? product : product_9;
        const float sum_5 = (upper ? product_9 : product) + simd_shuffle_xor(give, 16);
        const float give_2 = upper ? product_2 : product_10;
        const float sum_6 = (upper ? product_10 : product_2) + simd_shuffle_xor(give_2, 16);
        const float give_3 = upper ? product_3 : product_11;
        const float sum_7 = (upper ? product_11 : product_3) + simd_shuffle_xor(give_3, 16);
        const float give_4 = upper ? product_4 : product_12;
        const float sum_8 = (upper ? product_12 : product_4) + simd_shuffle_xor(give_4, 16);
        const float give_5 = upper ? product_5 : product_13;
        const float sum_9 = (upper ? product_13 : product_5) + simd_shuffle_xor(give_5, 16);
        const float give_6 = upper ? product_6 : product_14;
        const float sum_10 = (upper ? product_14 : product_6) + simd_shuffle_xor(give_6, 16);
        const float give_7 = upper ? product_7 : product_15;
        const float sum_11 = (upper ? product_15 : product_7) + simd_shuffle_xor(give_7, 16);
        const float give_8 = upper ? product_8 : product_16;
        const float sum_12 = (upper ? product_16 : product_8) + simd_shuffle_xor(give_8, 16);
        const bool upper_2 = (lane & 8) != 0;
        const float give_9 = upper_2 ? sum_5 : sum_9;
        const float sum_13 = (upper_2 ? sum_9 : sum_5) + simd_shuffle_xor(give_9, 8);
        const float give_10 = upper_2 ? sum_6 : sum_10;
        const float sum_14 = (upper_2 ? sum_10 : sum_6) + simd_shuffle_xor(give_10, 8);
        const float give_11 = upper_2 ? sum_7 : sum_11;
        const float sum_15 = (upper_2 ? sum_11 : sum_7) + simd_shuffle_xor(give_11, 8);
        const float give_12 = upper_2 ? sum_8 : sum_12;
        const float sum_16 = (upper_2 ? sum_12 : sum_8) + simd_shuffle_xor(give_12, 8);
        const bool upper_3 = (lane & 4) != 0;
        const float give_13 = upper_3 ? sum_13 : sum_15;
        const float sum_17 = (upper_3 ? sum_15 : sum_13) + simd_shuffle_xor(give_13, 4);
        const float give_14 = upper_3 ? sum_14 : sum_16;
        const float sum_18 = (upper_3 ? sum_16 : sum_14) + simd_shuffle_xor(give_14, 4);
        const bool upper_4 = (lane & 2) != 0;
        const float give_15 = upper_4 ? sum_17 : sum_18;
        const float sum_19 = (upper_4 ? sum_18 : sum_17) + simd_shuffle_xor(give_15, 2);
        const float sum_20 = sum_19 + simd_shuffle_xor(sum_19, 1);
        if (lane % 2 == 0 && lane / 2 < 16) {
            scores[(simd_group * 4 + lane / 2 % 4) * 16 + (key_at + lane / 2 / 4)] = sum_20;
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float highest = top;
    float sum_of_lane = 0.0f;
    float highest_2 = top_2;
    float sum_of_lane_2 = 0.0f;
    float highest_3 = top_3;
    float sum_of_lane_3 = 0.0f;
    float highest_4 = top_4;
    float sum_of_lane_4 = 0.0f;
    for (int slot_of = lane; slot_of < 16; slot_of += 32) {
        const int used_2 = 16 - first_key;
        const bool there = slot_of % 16 < used_2;
        const int score_at = simd_group * 4 * 16 + slot_of;
        const float score = there ? scores[score_at] * factor : -INFINITY;
        highest = fmax(highest, score);
        scores[score_at] = score;
        const int score_at_2 = (simd_group * 4 + 1) * 16 + slot_of;
        const float score_2 = there ? scores[score_at_2] * factor_2 : -INFINITY;
        highest_2 = fmax(highest_2, score_2);
        scores[score_at_2] = score_2;
        const int score_at_3 = (simd_group * 4 + 2) * 16 + slot_of;
        const float score_3 = there ? scores[score_at_3] * factor_3 : -INFINITY;
        highest_3 = fmax(highest_3, score_3);
        scores[score_at_3] = score_3;
        const int score_at_4 = (simd_group * 4 + 3) * 16 + slot_of;
        const float score_4 = there ? scores[score_at_4] * factor_4 : -INFINITY;
        highest_4 = fmax(highest_4, score_4);
        scores[score_at_4] = score_4;
    }
    highest = simd_max(highest);
    highest_2 = simd_max(highest_2);
    highest_3 = simd_max(highest_3);
    highest_4 = simd_max(highest_4);
    for (int slot_of_2 = lane; slot_of_2 < 16; slot_of_2 += 32) {
        const int score_at_5 = simd_group * 4 * 16 + slot_of_2;
        const float score_5 = scores[score_at_5];
        const float weight = score_5 == -INFINITY ? 0.0f : precise::exp(score_5 - highest);
        scores[score_at_5] = weight;
        sum_of_lane += weight;
        const int score_at_6 = (simd_group * 4 + 1) * 16 + slot_of_2;
        const float score_6 = scores[score_at_6];
        const float weight_2 = score_6 == -INFINITY ? 0.0f : precise::exp(score_6 - highest_2);
        scores[score_at_6] = weight_2;
        sum_of_lane_2 += weight_2;
        const int score_at_7 = (simd_group * 4 + 2) * 16 + slot_of_2;
        const float score_7 = scores[score_at_7];
        const float weight_3 = score_7 == -INFINITY ? 0.0f : precise::exp(score_7 - highest_3);
        scores[score_at_7] = weight_3;
        sum_of_lane_3 += weight_3;
        const int score_at_8 = (simd_group * 4 + 3) * 16 + slot_of_2;
        const float score_8 = scores[score_at_8];
        const float weight_4 = score_8 == -INFINITY ? 0.0f : precise::exp(score_8 - highest_4);
        scores[score_at_8] = weight_4;
        sum_of_lane_4 += weight_4;
    }
    sum = fma(sum, precise::exp(top - highest), simd_sum(sum_of_lane));
    top = highest;
    sum_2 = fma(sum_2, precise::exp(top_2 - highest_2), simd_sum(sum_of_lane_2));
    top_2 = highest_2;
    sum_3 = fma(sum_3, precise::exp(top_3 - highest_3), simd_sum(sum_of_lane_3));
    top_3 = highest_3;
    sum_4 = fma(sum_4, precise::exp(top_4 - highest_4), simd_sum(sum_of_lane_4));
    top_4 = highest_4;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int key = 0; key < 16; key++) {
        const uint word_9 = tile[key * 64 + lane];
        const uint word_10 = tile[key * 64 + 32 + lane];
        const float4 key4_7 = float4(as_type<float>(word_9 << 16), as_type<float>(word_9 & 0xffff0000u),
                as_type<float>(word_10 << 16), as_type<float>(word_10 & 0xffff0000u));
        const float weight_5 = scores[simd_group * 4 * 16 + key];
        accs0 = fma(float4(weight_5), key4_7, accs0);
        const float weight_6 = scores[(simd_group * 4 + 1) * 16 + key];
        accs0_2 = fma(float4(weight_6), key4_7, accs0_2);
        const float weight_7 = scores[(simd_group * 4 + 2) * 16 + key];
        accs0_3 = fma(float4(weight_7), key4_7, accs0_3);
        const float weight_8 = scores[(simd_group * 4 + 3) * 16 + key];
        accs0_4 = fma(float4(weight_8), key4_7, accs0_4);
    }
    accs0 /= float4(sum);

    // rotary embedding
    const int rope_at_2 = row * 64;
    if (lane >= 16) {
        const int rotated_5 = lane * 4 - 64;
        const float4 turns_5 = float4(step.rope0[rope_at_2 + rotated_5],
                step.rope0[rope_at_2 + rotated_5 + 1], step.rope0[rope_at_2 + rotated_5 + 2],
                step.rope0[rope_at_2 + rotated_5 + 3]);
        accs0 = float4(accs0.x * turns_5.x - accs0.y * -turns_5.y, accs0.x * -turns_5.y + accs0.y * turns_5.x,
                accs0.z * turns_5.z - accs0.w * -turns_5.w, accs0.z * -turns_5.w + accs0.w * turns_5.z);
    }
    const int to = (row * 4 + head) * 32;
    result[to + lane] = accs0;
    accs0_2 /= float4(sum_2);

    // rotary embedding
    const int rope_at_3 = row * 64;
    if (lane >= 16) {
        const int rotated_6 = lane * 4 - 64;
        const float4 turns_6 = float4(step.rope0[rope_at_3 + rotated_6],
                step.rope0[rope_at_3 + rotated_6 + 1], step.rope0[rope_at_3 + rotated_6 + 2],
                step.rope0[rope_at_3 + rotated_6 + 3]);
        accs0_2 = float4(accs0_2.x * turns_6.x - accs0_2.y * -turns_6.y, accs0_2.x * -turns_6.y +
                accs0_2.y * turns_6.x, accs0_2.z * turns_6.z - accs0_2.w * -turns_6.w,
                accs0_2.z * -turns_6.w + accs0_2.w * turns_6.z);
    }
    const int to_2 = (row * 4 + (head + 1)) * 32;
    result[to_2 + lane] = accs0_2;
    accs0_3 /= float4(sum_3);

    // rotary embedding
    const int rope_at_4 = row * 64;
    if (lane >= 16) {
        const int rotated_7 = lane * 4 - 64;
        const float4 turns_7 = float4(step.rope0[rope_at_4 + rotated_7],
                step.rope0[rope_at_4 + rotated_7 + 1], step.rope0[rope_at_4 + rotated_7 + 2],
                step.rope0[rope_at_4 + rotated_7 + 3]);
        accs0_3 = float4(accs0_3.x * turns_7.x - accs0_3.y * -turns_7.y, accs0_3.x * -turns_7.y +
                accs0_3.y * turns_7.x, accs0_3.z * turns_7.z - accs0_3.w * -turns_7.w,
                accs0_3.z * -turns_7.w + accs0_3.w * turns_7.z);
    }
    const int to_3 = (row * 4 + (head + 2)) * 32;
    result[to_3 + lane] = accs0_3;
    accs0_4 /= float4(sum_4);

    // rotary embedding
    const int rope_at_5 = row * 64;
    if (lane >= 16) {
        const int rotated_8 = lane * 4 - 64;
        const float4 turns_8 = float4(step.rope0[rope_at_5 + rotated_8],
                step.rope0[rope_at_5 + rotated_8 + 1], step.rope0[rope_at_5 + rotated_8 + 2],
                step.rope0[rope_at_5 + rotated_8 + 3]);
        accs0_4 = float4(accs0_4.x * turns_8.x - accs0_4.y * -turns_8.y, accs0_4.x * -turns_8.y +
                accs0_4.y * turns_8.x, accs0_4.z * turns_8.z - accs0_4.w * -turns_8.w,
                accs0_4.z * -turns_8.w + accs0_4.w * turns_8.z);
    }
    const int to_4 = (row * 4 + (head + 3)) * 32;
    result[to_4 + lane] = accs0_4;
}
