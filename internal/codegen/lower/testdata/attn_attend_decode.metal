// attn_attend_decode
//
// attention over a window and entries with an online softmax, a SIMD group for each few heads
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
// Launch: threadgroups of 64 threads in SIMD groups of 32 lanes; 0 bytes of threadgroup memory.
// Schedule: heads per SIMD group = 2 (a key is read and decoded once for them; more need too many registers)
// Schedule: SIMD groups = 2 (they read the same keys at about the same time)
// Schedule: keys = not split (they fit one split)
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

[[kernel, max_total_threads_per_threadgroup(64)]]
void attn_attend_decode(
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
    device const uint *window = args.window;
    device const float4 *q = args.q;
    device const uint *sink = args.sink;
    device float4 *result = args.result;

    const int row = group_y;
    const int position = step.position[row];
    const int first_key = max(15 - position, 0);
    const int slot = step.slot[row];
    const int head = (group_x * 2 + simd_group) * 2;
    const int q_at = (row * 4 + head) * 32;
    float4 x = q[q_at + lane];

    // norm
    const float4 squares = x * x;
    const float rms = precise::sqrt(simd_sum(squares.x + squares.y + (squares.z + squares.w)) / 128.0f +
            1e-6f);
    x /= float4(rms);

    // rotary embedding
    const int rope_at = row * 64;
    if (lane >= 16) {
        const int rotated = lane * 4 - 64;
        const float4 turns = float4(step.rope0[rope_at + rotated], step.rope0[rope_at + rotated + 1],
                step.rope0[rope_at + rotated + 2], step.rope0[rope_at + rotated + 3]);
        x = float4(x.x * turns.x - x.y * turns.y, x.x * turns.y + x.y * turns.x, x.z * turns.z -
                x.w * turns.w, x.z * turns.w + x.w * turns.z);
    }
    float top = as_type<float>(sink[head]);
    float sum = 1.0f;
    float4 accs0 = float4(0.0f);
    const int q_at_2 = (row * 4 + (head + 1)) * 32;
    float4 x_2 = q[q_at_2 + lane];

    // norm
    const float4 squares_2 = x_2 * x_2;
    const float rms_2 = precise::sqrt(simd_sum(squares_2.x + squares_2.y +
            (squares_2.z + squares_2.w)) / 128.0f + 1e-6f);
    x_2 /= float4(rms_2);

    // rotary embedding
    const int rope_at_2 = row * 64;
    if (lane >= 16) {
        const int rotated_2 = lane * 4 - 64;
        const float4 turns_2 = float4(step.rope0[rope_at_2 + rotated_2],
                step.rope0[rope_at_2 + rotated_2 + 1], step.rope0[rope_at_2 + rotated_2 + 2],
                step.rope0[rope_at_2 + rotated_2 + 3]);
        x_2 = float4(x_2.x * turns_2.x - x_2.y * turns_2.y, x_2.x * turns_2.y + x_2.y * turns_2.x,
                x_2.z * turns_2.z - x_2.w * turns_2.w, x_2.z * turns_2.w + x_2.w * turns_2.z);
    }
    float top_2 = as_type<float>(sink[head + 1]);
    float sum_2 = 1.0f;
    float4 accs0_2 = float4(0.0f);
    for (int key = first_key; key < 16; key++) {
        const int window_row = (slot * 512 + ((position - 15 + key) & 0x01ff)) * 50;
        float4 window4 = float4(0.0f);
        if (lane * 4 < 64) {
            const uint codes = window[window_row + lane * 4 / 4];
            const int block = lane * 4 / 64;
            const float scale = as_type<float>(((window[window_row + (block / 4 + 48)] >> ((uint(block) &
                    3u) << 3)) & 255u) << 23);
            const float2 halves = float2(as_type<half2>(((codes << 8) & 0x80008000u) |
                    ((codes << 7) & 0x3f803f80u)));
            const float2 halves_2 = float2(as_type<half2>((codes & 0x80008000u) |
                    ((codes >> 1) & 0x3f803f80u)));
            const float element = halves.x * 256.0f * scale;
            const float element_2 = halves_2.x * 256.0f * scale;
            const float element_3 = halves.y * 256.0f * scale;
            const float element_4 = halves_2.y * 256.0f * scale;
            window4 = float4(element, element_2, element_3, element_4);
        } else {
            const int at = window_row + ((lane * 4 - 64) / 2 + 16);
            const uint pair = window[at];
            const uint pair_2 = window[at + 1];
            window4 = float4(as_type<float>(pair << 16), as_type<float>(pair & 0xffff0000u),
                    as_type<float>(pair_2 << 16), as_type<float>(pair_2 & 0xffff0000u));
        }
        float4 x_3 = window4;
        const float4 products = x * x_3;
        const float score = simd_sum(products.x + products.y + (products.z + products.w)) * 0.088388346f;
        const float new_top = fmax(top, score);
        const float weight = precise::exp(score - new_top);
        const float shrink = precise::exp(top - new_top);
        sum = fma(sum, shrink, weight);
        accs0 = fma(float4(weight), x_3, accs0 * float4(shrink));
        top = new_top;
        const float4 products_2 = x_2 * x_3;
        const float score_2 = simd_sum(products_2.x + products_2.y + (products_2.z +
                products_2.w)) * 0.088388346f;
        const float new_top_2 = fmax(top_2, score_2);
        const float weight_2 = precise::exp(score_2 - new_top_2);
        const float shrink_2 = precise::exp(top_2 - new_top_2);
        sum_2 = fma(sum_2, shrink_2, weight_2);
        accs0_2 = fma(float4(weight_2), x_3, accs0_2 * float4(shrink_2));
        top_2 = new_top_2;
    }
    accs0 /= float4(sum);

    // rotary embedding
    const int rope_at_3 = row * 64;
    if (lane >= 16) {
        const int rotated_3 = lane * 4 - 64;
        const float4 turns_3 = float4(step.rope0[rope_at_3 + rotated_3],
                step.rope0[rope_at_3 + rotated_3 + 1], step.rope0[rope_at_3 + rotated_3 + 2],
                step.rope0[rope_at_3 + rotated_3 + 3]);
        accs0 = float4(accs0.x * turns_3.x - accs0.y * -turns_3.y, accs0.x * -turns_3.y + accs0.y * turns_3.x,
                accs0.z * turns_3.z - accs0.w * -turns_3.w, accs0.z * -turns_3.w + accs0.w * turns_3.z);
    }
    const int to = (row * 4 + head) * 32;
    result[to + lane] = accs0;
    accs0_2 /= float4(sum_2);

    // rotary embedding
    const int rope_at_4 = row * 64;
    if (lane >= 16) {
        const int rotated_4 = lane * 4 - 64;
        const float4 turns_4 = float4(step.rope0[rope_at_4 + rotated_4],
                step.rope0[rope_at_4 + rotated_4 + 1], step.rope0[rope_at_4 + rotated_4 + 2],
                step.rope0[rope_at_4 + rotated_4 + 3]);
        accs0_2 = float4(accs0_2.x * turns_4.x - accs0_2.y * -turns_4.y, accs0_2.x * -turns_4.y +
                accs0_2.y * turns_4.x, accs0_2.z * turns_4.z - accs0_2.w * -turns_4.w,
                accs0_2.z * -turns_4.w + accs0_2.w * turns_4.z);
    }
    const int to_2 = (row * 4 + (head + 1)) * 32;
    result[to_2 + lane] = accs0_2;
}
