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
    float4 accs[2];
    float sums[2];
    float tops[2];
    float4 xs[2];
    #pragma unroll
    for (int i_2 = 0; i_2 < 2; i_2++) {
        const int q_at = (row * 4 + (head + i_2)) * 32;
        xs[i_2] = q[q_at + lane];

        // norm
        const float4 squares = xs[i_2] * xs[i_2];
        const float rms = precise::sqrt(simd_sum(squares.x + squares.y + (squares.z + squares.w)) / 128.0f +
                1e-6f);
        xs[i_2] /= float4(rms);

        // rotary embedding
        const int rope_at = row * 64;
        if (lane >= 16) {
            const int rotated = lane * 4 - 64;
            const float4 turns = float4(step.rope0[rope_at + rotated], step.rope0[rope_at + rotated + 1],
                    step.rope0[rope_at + rotated + 2], step.rope0[rope_at + rotated + 3]);
            xs[i_2] = float4(xs[i_2].x * turns.x - xs[i_2].y * turns.y, xs[i_2].x * turns.y +
                    xs[i_2].y * turns.x, xs[i_2].z * turns.z - xs[i_2].w * turns.w, xs[i_2].z * turns.w +
                    xs[i_2].w * turns.z);
        }
        tops[i_2] = as_type<float>(sink[head + i_2]);
        sums[i_2] = 1.0f;
        accs[i_2] = float4(0.0f);
    }
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
        #pragma unroll
        for (int i = 0; i < 2; i++) {
            const float4 products = xs[i] * x_3;
            const float score = simd_sum(products.x + products.y + (products.z + products.w)) * 0.088388346f;
            const float new_top = fmax(tops[i], score);
            const float weight = precise::exp(score - new_top);
            const float shrink = precise::exp(tops[i] - new_top);
            sums[i] = fma(sums[i], shrink, weight);
            accs[i] = fma(float4(weight), x_3, accs[i] * float4(shrink));
            tops[i] = new_top;
        }
    }
    #pragma unroll
    for (int i_3 = 0; i_3 < 2; i_3++) {
        accs[i_3] /= float4(sums[i_3]);

        // rotary embedding
        const int rope_at_3 = row * 64;
        if (lane >= 16) {
            const int rotated_3 = lane * 4 - 64;
            const float4 turns_3 = float4(step.rope0[rope_at_3 + rotated_3],
                    step.rope0[rope_at_3 + rotated_3 + 1], step.rope0[rope_at_3 + rotated_3 + 2],
                    step.rope0[rope_at_3 + rotated_3 + 3]);
            accs[i_3] = float4(accs[i_3].x * turns_3.x - accs[i_3].y * -turns_3.y, accs[i_3].x * -turns_3.y +
                    accs[i_3].y * turns_3.x, accs[i_3].z * turns_3.z - accs[i_3].w * -turns_3.w,
                    accs[i_3].z * -turns_3.w + accs[i_3].w * turns_3.z);
        }
        const int to = (row * 4 + (head + i_3)) * 32;
        result[to + lane] = accs[i_3];
    }
}
