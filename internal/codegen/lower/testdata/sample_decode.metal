// sample_decode
//
// The token of each wanted row, of those its mask allows: the largest logit, or one
// drawn by temperature, top-k, top-p and min-p. Logits of tokens that the text has may
// be changed before. Rows with a negative inverse temperature are left alone.
//
// Launch: threadgroups of 1024 threads in SIMD groups of 32 lanes; 8208 bytes of threadgroup memory.
// Schedule: threads = 1024 (a threadgroup a row of 256 logits)
// Schedule: digit = 4 (bits of a filter's bound that a pass over the logits settles: 15 sums at once, 8
//     passes)
// Numbers: Metal 3.1, compiled with MTLMathModeSafe (without fast math). The order of additions is part of
//     the result, infinities and NaN are meant, and only fma() fuses. The pragmas below ask for the same;
//     compilers before Xcode 16 know only the option, and the standard pragma.
#include <metal_stdlib>

#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#pragma STDC FP_CONTRACT OFF

using namespace metal;

struct Args {
    device const float *logits;
    device uint *keys;
    device int *tokens;
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
    int score_target[16];
    float sample_inv[16];
    int sample_top_k[16];
    int sample_top_p[16];
    int sample_min_p[16];
    int sample_random[16];
    int sample_mask[16];
    int sample_from[16];
    int sample_to[16];
    float sample_positive[16];
    float sample_negative[16];
    int sample_masks[128];
    int sample_tokens[256];
    float sample_less[256];
};

[[kernel, max_total_threads_per_threadgroup(1024)]]
void sample_decode(
    constant Args &args [[buffer(0)]],
    constant Step &step [[buffer(1)]],
    uint3 group_position [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint lane_index [[thread_index_in_simdgroup]],
    uint simd_index [[simdgroup_index_in_threadgroup]])
{
    threadgroup uint group_keys[32];
    threadgroup int group_ids[32];
    threadgroup uint digit_sums_low[960];
    threadgroup uint digit_sums_high[960];
    threadgroup uint segment_sums_low[32];
    threadgroup uint segment_sums_high[32];
    threadgroup int found_id[1];

    const int group_x = int(group_position.x);
    const int tid = int(thread_index);
    const int lane = int(lane_index);
    const int simd_group = int(simd_index);
    device const float *logits = args.logits;
    device uint *keys = args.keys;
    device int *tokens = args.tokens;

    const int row = group_x;
    const int base = row * 256;
    const float inv = step.sample_inv[row];
    if (inv >= 0.0f) {
        uint best_key = 0u;
        int best_id = -1;

        // The keys of the tokens that may be picked, and the largest, the lowest id among equals.
        const int mask = step.sample_mask[row] * 8;
        for (int word = simd_group; word < 8; word += 32) {
            const uint allowed = as_type<uint>(step.sample_masks[mask + word]);
            const int first_id = word * 32;
            const int end_id = min(first_id + 32, 256);
            for (int i = first_id + lane; i < end_id; i += 32) {
                const float logit = logits[base + i];
                const uint bits = as_type<uint>(logit);
                const uint magnitude = bits & 0x7fffffffu;
                const uint key = ((allowed >> as_type<uint>(i - first_id)) & 1u) == 0u ? 0u : magnitude >
                        0x7f800000u ? 0u : magnitude == 0u ? 0x80000000u : bits >= 0x80000000u ? ~bits :
                        bits | 0x80000000u;
                keys[base + i] = key;
                if (key > best_key) {
                    best_key = key;
                    best_id = i;
                }
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
        const int changes_from = step.sample_from[row];
        const int changes_to = step.sample_to[row];
        if (changes_from < changes_to) {
            // Logits are changed as pick.Changes says.
            const float positive = step.sample_positive[row];
            const float negative = step.sample_negative[row];
            for (int n = changes_from + tid; n < changes_to; n += 1024) {
                const int at = base + step.sample_tokens[n];
                const uint key_2 = keys[at];
                if (key_2 > 0u) {
                    const float logit_2 = as_type<float>(key_2 >= 0x80000000u ? key_2 ^ 0x80000000u : ~key_2);
                    const float logit_3 = (as_type<uint>(logit_2) & 0x7fffffffu) < 0x00800000u ? 0.0f :
                            logit_2;
                    const float scaled = logit_3 * (logit_3 > 0.0f ? positive : negative);
                    const float less = ((as_type<uint>(scaled) & 0x7fffffffu) < 0x00800000u ? 0.0f : scaled) -
                            step.sample_less[n];
                    const float changed = (as_type<uint>(less) & 0x7fffffffu) < 0x00800000u ? 0.0f : less;
                    const uint bits_2 = as_type<uint>(changed);
                    const uint magnitude_2 = bits_2 & 0x7fffffffu;
                    keys[at] = magnitude_2 > 0x7f800000u ? 0u : magnitude_2 == 0u ? 0x80000000u : bits_2 >=
                            0x80000000u ? ~bits_2 : bits_2 | 0x80000000u;
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);
            best_key = 0u;
            best_id = -1;
            for (int i_2 = tid; i_2 < 256; i_2 += 1024) {
                const uint key_3 = keys[base + i_2];
                if (key_3 > best_key) {
                    best_key = key_3;
                    best_id = i_2;
                }
            }
        }
        const uint most = simd_max(best_key);
        const int first = simd_min(best_key == most ? best_id : 1073741824);
        if (lane == 0) {
            group_keys[simd_group] = most;
            group_ids[simd_group] = first;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        uint row_key = 0u;
        int row_id = -1;
        for (int g = 0; g < 32; g++) {
            const uint k = group_keys[g];
            const int id = group_ids[g];
            if (k > row_key || (k == row_key && id < row_id)) {
                row_key = k;
                row_id = id;
            }
        }
        int picked = row_id;
        if (inv > 0.0f) {
            const float logit_4 = as_type<float>(row_key >= 0x80000000u ? row_key ^ 0x80000000u : ~row_key);
            const float largest = (as_type<uint>(logit_4) & 0x7fffffffu) < 0x00800000u ? 0.0f : logit_4;
            uint bound = 0u;
            int last = -1;
            const int top_k = step.sample_top_k[row];
            if (top_k > 0 && top_k < 256) {
                // top-k: the best until there are k.
                uint key_bound = 0u;
                long above = 0l;
                for (int pass = 0; pass < 8; pass++) {
                    const uint digit_shift = uint(28 - pass * 4);
                    long from_digit0 = 0l;
                    long from_digit1 = 0l;
                    long from_digit2 = 0l;
                    long from_digit3 = 0l;
                    long from_digit4 = 0l;
                    long from_digit5 = 0l;
                    long from_digit6 = 0l;
                    long from_digit7 = 0l;
                    long from_digit8 = 0l;
                    long from_digit9 = 0l;
                    long from_digit10 = 0l;
                    long from_digit11 = 0l;
                    long from_digit12 = 0l;
                    long from_digit13 = 0l;
                    long from_digit14 = 0l;
                    for (int segment = simd_group; segment < 32; segment += 32) {
                        const int first_id_2 = segment * 32;
                        const int end_id_2 = min(first_id_2 + 32, 256);
                        uint part0 = 0u;
                        uint part1 = 0u;
                        uint part2 = 0u;
                        uint part3 = 0u;
                        uint part4 = 0u;
                        uint part5 = 0u;
                        uint part6 = 0u;
                        uint part7 = 0u;
                        uint part8 = 0u;
                        uint part9 = 0u;
                        uint part10 = 0u;
                        uint part11 = 0u;
                        uint part12 = 0u;
                        uint part13 = 0u;
                        uint part14 = 0u;
                        for (int i_3 = first_id_2 + lane; i_3 < end_id_2; i_3 += 32) {
                            const uint key_4 = keys[base + i_3];
                            const float logit_5 = as_type<float>(key_4 >= 0x80000000u ? key_4 ^ 0x80000000u :
                                    ~key_4);
                            const uint digit = (key_4 - key_bound) >> digit_shift;
                            if (digit - 1u < 15u && (key_4 > bound || (key_4 == bound && i_3 <= last))) {
                                const uint v = 1u;
                                part0 += digit > 0u ? v : 0u;
                                part1 += digit > 1u ? v : 0u;
                                part2 += digit > 2u ? v : 0u;
                                part3 += digit > 3u ? v : 0u;
                                part4 += digit > 4u ? v : 0u;
                                part5 += digit > 5u ? v : 0u;
                                part6 += digit > 6u ? v : 0u;
                                part7 += digit > 7u ? v : 0u;
                                part8 += digit > 8u ? v : 0u;
                                part9 += digit > 9u ? v : 0u;
                                part10 += digit > 10u ? v : 0u;
                                part11 += digit > 11u ? v : 0u;
                                part12 += digit > 12u ? v : 0u;
                                part13 += digit > 13u ? v : 0u;
                                part14 += digit > 14u ? v : 0u;
                            }
                        }
                        from_digit0 += long(part0);
                        from_digit1 += long(part1);
                        from_digit2 += long(part2);
                        from_digit3 += long(part3);
                        from_digit4 += long(part4);
                        from_digit5 += long(part5);
                        from_digit6 += long(part6);
                        from_digit7 += long(part7);
                        from_digit8 += long(part8);
                        from_digit9 += long(part9);
                        from_digit10 += long(part10);
                        from_digit11 += long(part11);
                        from_digit12 += long(part12);
                        from_digit13 += long(part13);
                        from_digit14 += long(part14);
                    }
                    const int place = (pass & 1) * 480;
                    const uint low = simd_sum(uint(from_digit0 & 4194303l));
                    const uint high = simd_sum(uint(from_digit0 >> 22));
                    const uint low_2 = simd_sum(uint(from_digit1 & 4194303l));
                    const uint high_2 = simd_sum(uint(from_digit1 >> 22));
                    const uint low_3 = simd_sum(uint(from_digit2 & 4194303l));
                    const uint high_3 = simd_sum(uint(from_digit2 >> 22));
                    const uint low_4 = simd_sum(uint(from_digit3 & 4194303l));
                    const uint high_4 = simd_sum(uint(from_digit3 >> 22));
                    const uint low_5 = simd_sum(uint(from_digit4 & 4194303l));
                    const uint high_5 = simd_sum(uint(from_digit4 >> 22));
                    const uint low_6 = simd_sum(uint(from_digit5 & 4194303l));
                    const uint high_6 = simd_sum(uint(from_digit5 >> 22));
                    const uint low_7 = simd_sum(uint(from_digit6 & 4194303l));
                    const uint high_7 = simd_sum(uint(from_digit6 >> 22));
                    const uint low_8 = simd_sum(uint(from_digit7 & 4194303l));
                    const uint high_8 = simd_sum(uint(from_digit7 >> 22));
                    const uint low_9 = simd_sum(uint(from_digit8 & 4194303l));
                    const uint high_9 = simd_sum(uint(from_digit8 >> 22));
                    const uint low_10 = simd_sum(uint(from_digit9 & 4194303l));
                    const uint high_10 = simd_sum(uint(from_digit9 >> 22));
                    const uint low_11 = simd_sum(uint(from_digit10 & 4194303l));
                    const uint high_11 = simd_sum(uint(from_digit10 >> 22));
                    const uint low_12 = simd_sum(uint(from_digit11 & 4194303l));
                    const uint high_12 = simd_sum(uint(from_digit11 >> 22));
                    const uint low_13 = simd_sum(uint(from_digit12 & 4194303l));
                    const uint high_13 = simd_sum(uint(from_digit12 >> 22));
                    const uint low_14 = simd_sum(uint(from_digit13 & 4194303l));
                    const uint high_14 = simd_sum(uint(from_digit13 >> 22));
                    const uint low_15 = simd_sum(uint(from_digit14 & 4194303l));
                    const uint high_15 = simd_sum(uint(from_digit14 >> 22));
                    if (lane == 0) {
                        digit_sums_low[place + simd_group * 15] = low;
                        digit_sums_high[place + simd_group * 15] = high;
                        digit_sums_low[place + simd_group * 15 + 1] = low_2;
                        digit_sums_high[place + simd_group * 15 + 1] = high_2;
                        digit_sums_low[place + simd_group * 15 + 2] = low_3;
                        digit_sums_high[place + simd_group * 15 + 2] = high_3;
                        digit_sums_low[place + simd_group * 15 + 3] = low_4;
                        digit_sums_high[place + simd_group * 15 + 3] = high_4;
                        digit_sums_low[place + simd_group * 15 + 4] = low_5;
                        digit_sums_high[place + simd_group * 15 + 4] = high_5;
                        digit_sums_low[place + simd_group * 15 + 5] = low_6;
                        digit_sums_high[place + simd_group * 15 + 5] = high_6;
                        digit_sums_low[place + simd_group * 15 + 6] = low_7;
                        digit_sums_high[place + simd_group * 15 + 6] = high_7;
                        digit_sums_low[place + simd_group * 15 + 7] = low_8;
                        digit_sums_high[place + simd_group * 15 + 7] = high_8;
                        digit_sums_low[place + simd_group * 15 + 8] = low_9;
                        digit_sums_high[place + simd_group * 15 + 8] = high_9;
                        digit_sums_low[place + simd_group * 15 + 9] = low_10;
                        digit_sums_high[place + simd_group * 15 + 9] = high_10;
                        digit_sums_low[place + simd_group * 15 + 10] = low_11;
                        digit_sums_high[place + simd_group * 15 + 10] = high_11;
                        digit_sums_low[place + simd_group * 15 + 11] = low_12;
                        digit_sums_high[place + simd_group * 15 + 11] = high_12;
                        digit_sums_low[place + simd_group * 15 + 12] = low_13;
                        digit_sums_high[place + simd_group * 15 + 12] = high_13;
                        digit_sums_low[place + simd_group * 15 + 13] = low_14;
                        digit_sums_high[place + simd_group * 15 + 13] = high_14;
                        digit_sums_low[place + simd_group * 15 + 14] = low_15;
                        digit_sums_high[place + simd_group * 15 + 14] = high_15;
                    }
                    threadgroup_barrier(mem_flags::mem_threadgroup);
                    const int group = min(lane, 31) * 15 + place;
                    const bool has_group = lane < 32;
                    const uint low_16 = simd_sum(has_group ? digit_sums_low[group] : 0u);
                    const uint high_16 = simd_sum(has_group ? digit_sums_high[group] : 0u);
                    const uint low_17 = simd_sum(has_group ? digit_sums_low[group + 1] : 0u);
                    const uint high_17 = simd_sum(has_group ? digit_sums_high[group + 1] : 0u);
                    const uint low_18 = simd_sum(has_group ? digit_sums_low[group + 2] : 0u);
                    const uint high_18 = simd_sum(has_group ? digit_sums_high[group + 2] : 0u);
                    const uint low_19 = simd_sum(has_group ? digit_sums_low[group + 3] : 0u);
                    const uint high_19 = simd_sum(has_group ? digit_sums_high[group + 3] : 0u);
                    const uint low_20 = simd_sum(has_group ? digit_sums_low[group + 4] : 0u);
                    const uint high_20 = simd_sum(has_group ? digit_sums_high[group + 4] : 0u);
                    const uint low_21 = simd_sum(has_group ? digit_sums_low[group + 5] : 0u);
                    const uint high_21 = simd_sum(has_group ? digit_sums_high[group + 5] : 0u);
                    const uint low_22 = simd_sum(has_group ? digit_sums_low[group + 6] : 0u);
                    const uint high_22 = simd_sum(has_group ? digit_sums_high[group + 6] : 0u);
                    const uint low_23 = simd_sum(has_group ? digit_sums_low[group + 7] : 0u);
                    const uint high_23 = simd_sum(has_group ? digit_sums_high[group + 7] : 0u);
                    const uint low_24 = simd_sum(has_group ? digit_sums_low[group + 8] : 0u);
                    const uint high_24 = simd_sum(has_group ? digit_sums_high[group + 8] : 0u);
                    const uint low_25 = simd_sum(has_group ? digit_sums_low[group + 9] : 0u);
                    const uint high_25 = simd_sum(has_group ? digit_sums_high[group + 9] : 0u);
                    const uint low_26 = simd_sum(has_group ? digit_sums_low[group + 10] : 0u);
                    const uint high_26 = simd_sum(has_group ? digit_sums_high[group + 10] : 0u);
                    const uint low_27 = simd_sum(has_group ? digit_sums_low[group + 11] : 0u);
                    const uint high_27 = simd_sum(has_group ? digit_sums_high[group + 11] : 0u);
                    const uint low_28 = simd_sum(has_group ? digit_sums_low[group + 12] : 0u);
                    const uint high_28 = simd_sum(has_group ? digit_sums_high[group + 12] : 0u);
                    const uint low_29 = simd_sum(has_group ? digit_sums_low[group + 13] : 0u);
                    const uint high_29 = simd_sum(has_group ? digit_sums_high[group + 13] : 0u);
                    const uint low_30 = simd_sum(has_group ? digit_sums_low[group + 14] : 0u);
                    const uint high_30 = simd_sum(has_group ? digit_sums_high[group + 14] : 0u);
                    const long total = (long(high_16) << 22) + long(low_16);
                    const long total_2 = (long(high_17) << 22) + long(low_17);
                    const long total_3 = (long(high_18) << 22) + long(low_18);
                    const long total_4 = (long(high_19) << 22) + long(low_19);
                    const long total_5 = (long(high_20) << 22) + long(low_20);
                    const long total_6 = (long(high_21) << 22) + long(low_21);
                    const long total_7 = (long(high_22) << 22) + long(low_22);
                    const long total_8 = (long(high_23) << 22) + long(low_23);
                    const long total_9 = (long(high_24) << 22) + long(low_24);
                    const long total_10 = (long(high_25) << 22) + long(low_25);
                    const long total_11 = (long(high_26) << 22) + long(low_26);
                    const long total_12 = (long(high_27) << 22) + long(low_27);
                    const long total_13 = (long(high_28) << 22) + long(low_28);
                    const long total_14 = (long(high_29) << 22) + long(low_29);
                    const long total_15 = (long(high_30) << 22) + long(low_30);
                    const long known = above;
                    const uint start = key_bound;
                    above = known + total;
                    if (known + total >= long(top_k)) {
                        key_bound = start + (1u << digit_shift);
                        above = known + total_2;
                    }
                    if (known + total_2 >= long(top_k)) {
                        key_bound = start + (2u << digit_shift);
                        above = known + total_3;
                    }
                    if (known + total_3 >= long(top_k)) {
                        key_bound = start + (3u << digit_shift);
                        above = known + total_4;
                    }
                    if (known + total_4 >= long(top_k)) {
                        key_bound = start + (4u << digit_shift);
                        above = known + total_5;
                    }
                    if (known + total_5 >= long(top_k)) {
                        key_bound = start + (5u << digit_shift);
                        above = known + total_6;
                    }
                    if (known + total_6 >= long(top_k)) {
                        key_bound = start + (6u << digit_shift);
                        above = known + total_7;
                    }
                    if (known + total_7 >= long(top_k)) {
                        key_bound = start + (7u << digit_shift);
                        above = known + total_8;
                    }
                    if (known + total_8 >= long(top_k)) {
                        key_bound = start + (8u << digit_shift);
                        above = known + total_9;
                    }
                    if (known + total_9 >= long(top_k)) {
                        key_bound = start + (9u << digit_shift);
                        above = known + total_10;
                    }
                    if (known + total_10 >= long(top_k)) {
                        key_bound = start + (10u << digit_shift);
                        above = known + total_11;
                    }
                    if (known + total_11 >= long(top_k)) {
                        key_bound = start + (11u << digit_shift);
                        above = known + total_12;
                    }
                    if (known + total_12 >= long(top_k)) {
                        key_bound = start + (12u << digit_shift);
                        above = known + total_13;
                    }
                    if (known + total_13 >= long(top_k)) {
                        key_bound = start + (13u << digit_shift);
                        above = known + total_14;
                    }
                    if (known + total_14 >= long(top_k)) {
                        key_bound = start + (14u << digit_shift);
                        above = known + total_15;
                    }
                    if (known + total_15 >= long(top_k)) {
                        key_bound = start + (15u << digit_shift);
                        above = known;
                    }
                }

                // Of the tokens with that key the first ids, until they get there.
                for (int segment_2 = simd_group; segment_2 < 32; segment_2 += 32) {
                    const int first_id_3 = segment_2 * 32;
                    const int end_id_3 = min(first_id_3 + 32, 256);
                    uint part = 0u;
                    for (int i_4 = first_id_3 + lane; i_4 < end_id_3; i_4 += 32) {
                        const uint key_5 = keys[base + i_4];
                        const float logit_6 = as_type<float>(key_5 >= 0x80000000u ? key_5 ^ 0x80000000u :
                                ~key_5);
                        if (key_5 == key_bound && (key_5 > bound || (key_5 == bound && i_4 <= last))) {
                            part += 1u;
                        }
                    }
                    const uint low_31 = simd_sum(uint(long(part) & 4194303l));
                    const uint high_31 = simd_sum(uint(long(part) >> 22));
                    if (lane == 0) {
                        segment_sums_low[segment_2] = low_31;
                        segment_sums_high[segment_2] = high_31;
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                const long missing = long(top_k) - above - 1l;
                int home = -1;
                long before = 0l;
                long running = 0l;
                for (int n_2 = 0; n_2 < 32; n_2++) {
                    const long next = running + ((long(segment_sums_high[n_2]) << 22) +
                            long(segment_sums_low[n_2]));
                    if (home < 0 && next > missing) {
                        home = n_2;
                        before = running;
                    }
                    running = next;
                }
                if (simd_group == 0) {
                    int id_2 = -1;
                    if (home >= 0) {
                        const long missing_2 = missing - before;
                        const int first_id_4 = home * 32;
                        const int end_id_4 = min(first_id_4 + 32, 256);
                        long sum = 0l;
                        for (int from = first_id_4; from < end_id_4; from += 32) {
                            if (id_2 < 0) {
                                const int i_5 = from + lane;
                                uint v_2 = 0u;
                                if (i_5 < end_id_4) {
                                    const uint key_6 = keys[base + i_5];
                                    const float logit_7 = as_type<float>(key_6 >= 0x80000000u ? key_6 ^
                                            0x80000000u : ~key_6);
                                    if (key_6 == key_bound && (key_6 > bound || (key_6 == bound && i_5 <=
                                            last))) {
                                        v_2 = 1u;
                                    }
                                }
                                const long through = sum + long(simd_prefix_exclusive_sum(v_2) + v_2);
                                const int nearest = simd_min(through > missing_2 ? i_5 : 1073741824);
                                if (nearest < 1073741824) {
                                    id_2 = nearest;
                                }
                                sum += long(simd_sum(v_2));
                            }
                        }
                    }
                    if (lane == 0) {
                        found_id[0] = id_2;
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                const int located = found_id[0];
                if (key_bound > 0u) {
                    bound = key_bound;
                    last = located;
                }
            }
            const uint sample_top_p = as_type<uint>(step.sample_top_p[row]);
            if (sample_top_p > 0u) {
                // top-p: the best until their weights reach that share of all.
                for (int segment_3 = simd_group; segment_3 < 32; segment_3 += 32) {
                    const int first_id_5 = segment_3 * 32;
                    const int end_id_5 = min(first_id_5 + 32, 256);
                    uint part_2 = 0u;
                    for (int i_6 = first_id_5 + lane; i_6 < end_id_5; i_6 += 32) {
                        const uint key_7 = keys[base + i_6];
                        const float logit_8 = as_type<float>(key_7 >= 0x80000000u ? key_7 ^ 0x80000000u :
                                ~key_7);
                        if (key_7 > bound || (key_7 == bound && i_6 <= last)) {
                            const float below = ((as_type<uint>(logit_8) & 0x7fffffffu) < 0x00800000u ? 0.0f :
                                    logit_8) - largest;
                            const float d = ((as_type<uint>(below) & 0x7fffffffu) < 0x00800000u ? 0.0f :
                                    below) * inv;
                            const float d_2 = d >= -17.5f ? d : -17.5f;
                            const uint n_3 = as_type<uint>(int(-d_2 * 6.7108864e7f));
                            const uint z = uint((long(n_3) * 3098164009l) >> 31);
                            const uint f = z & 0x03ffffffu;
                            const uint power = 0x00152985u - uint((123394l * long(f)) >> 26);
                            const uint power_2 = 0x009d3ce2u - uint((long(power) * long(f)) >> 26);
                            const uint power_3 = 0x038d4ca4u - uint((long(power_2) * long(f)) >> 26);
                            const uint power_4 = 0x0f5fdd42u - uint((long(power_3) * long(f)) >> 26);
                            const uint power_5 = 0x2c5c85f8u - uint((long(power_4) * long(f)) >> 26);
                            const uint power_6 = 0x40000000u - uint((long(power_5) * long(f)) >> 26);
                            const uint shift = (z >> 26) + 6u;
                            const uint weight = (power_6 + (1u << (shift - 1u))) >> shift;
                            const uint weight_2 = key_7 == row_key ? 0x01000000u : weight;
                            part_2 += weight_2;
                        }
                    }
                    const uint low_32 = simd_sum(uint(long(part_2) & 4194303l));
                    const uint high_32 = simd_sum(uint(long(part_2) >> 22));
                    if (lane == 0) {
                        segment_sums_low[segment_3] = low_32;
                        segment_sums_high[segment_3] = high_32;
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                long sum_of_all = 0l;
                for (int n_4 = 0; n_4 < 32; n_4++) {
                    sum_of_all += (long(segment_sums_high[n_4]) << 22) + long(segment_sums_low[n_4]);
                }
                const long wide = long(sample_top_p);
                const long share = max(((sum_of_all >> 16) * wide + (((sum_of_all &
                        65535l) * wide) >> 16)) >> 16, 1l);
                uint key_bound_2 = 0u;
                long above_2 = 0l;
                for (int pass_2 = 0; pass_2 < 8; pass_2++) {
                    const uint digit_shift_2 = uint(28 - pass_2 * 4);
                    long from_digit0_2 = 0l;
                    long from_digit1_2 = 0l;
                    long from_digit2_2 = 0l;
                    long from_digit3_2 = 0l;
                    long from_digit4_2 = 0l;
                    long from_digit5_2 = 0l;
                    long from_digit6_2 = 0l;
                    long from_digit7_2 = 0l;
                    long from_digit8_2 = 0l;
                    long from_digit9_2 = 0l;
                    long from_digit10_2 = 0l;
                    long from_digit11_2 = 0l;
                    long from_digit12_2 = 0l;
                    long from_digit13_2 = 0l;
                    long from_digit14_2 = 0l;
                    for (int segment_4 = simd_group; segment_4 < 32; segment_4 += 32) {
                        const int first_id_6 = segment_4 * 32;
                        const int end_id_6 = min(first_id_6 + 32, 256);
                        uint part0_2 = 0u;
                        uint part1_2 = 0u;
                        uint part2_2 = 0u;
                        uint part3_2 = 0u;
                        uint part4_2 = 0u;
                        uint part5_2 = 0u;
                        uint part6_2 = 0u;
                        uint part7_2 = 0u;
                        uint part8_2 = 0u;
                        uint part9_2 = 0u;
                        uint part10_2 = 0u;
                        uint part11_2 = 0u;
                        uint part12_2 = 0u;
                        uint part13_2 = 0u;
                        uint part14_2 = 0u;
                        for (int i_7 = first_id_6 + lane; i_7 < end_id_6; i_7 += 32) {
                            const uint key_8 = keys[base + i_7];
                            const float logit_9 = as_type<float>(key_8 >= 0x80000000u ? key_8 ^ 0x80000000u :
                                    ~key_8);
                            const uint digit_2 = (key_8 - key_bound_2) >> digit_shift_2;
                            if (digit_2 - 1u < 15u && (key_8 > bound || (key_8 == bound && i_7 <= last))) {
                                const float below_2 = ((as_type<uint>(logit_9) & 0x7fffffffu) < 0x00800000u ?
                                        0.0f : logit_9) - largest;
                                const float d_3 = ((as_type<uint>(below_2) & 0x7fffffffu) < 0x00800000u ?
                                        0.0f : below_2) * inv;
                                const float d_4 = d_3 >= -17.5f ? d_3 : -17.5f;
                                const uint n_5 = as_type<uint>(int(-d_4 * 6.7108864e7f));
                                const uint z_2 = uint((long(n_5) * 3098164009l) >> 31);
                                const uint f_2 = z_2 & 0x03ffffffu;
                                const uint power_7 = 0x00152985u - uint((123394l * long(f_2)) >> 26);
                                const uint power_8 = 0x009d3ce2u - uint((long(power_7) * long(f_2)) >> 26);
                                const uint power_9 = 0x038d4ca4u - uint((long(power_8) * long(f_2)) >> 26);
                                const uint power_10 = 0x0f5fdd42u - uint((long(power_9) * long(f_2)) >> 26);
                                const uint power_11 = 0x2c5c85f8u - uint((long(power_10) * long(f_2)) >> 26);
                                const uint power_12 = 0x40000000u - uint((long(power_11) * long(f_2)) >> 26);
                                const uint shift_2 = (z_2 >> 26) + 6u;
                                const uint weight_3 = (power_12 + (1u << (shift_2 - 1u))) >> shift_2;
                                const uint weight_4 = key_8 == row_key ? 0x01000000u : weight_3;
                                const uint v_3 = weight_4;
                                part0_2 += digit_2 > 0u ? v_3 : 0u;
                                part1_2 += digit_2 > 1u ? v_3 : 0u;
                                part2_2 += digit_2 > 2u ? v_3 : 0u;
                                part3_2 += digit_2 > 3u ? v_3 : 0u;
                                part4_2 += digit_2 > 4u ? v_3 : 0u;
                                part5_2 += digit_2 > 5u ? v_3 : 0u;
                                part6_2 += digit_2 > 6u ? v_3 : 0u;
                                part7_2 += digit_2 > 7u ? v_3 : 0u;
                                part8_2 += digit_2 > 8u ? v_3 : 0u;
                                part9_2 += digit_2 > 9u ? v_3 : 0u;
                                part10_2 += digit_2 > 10u ? v_3 : 0u;
                                part11_2 += digit_2 > 11u ? v_3 : 0u;
                                part12_2 += digit_2 > 12u ? v_3 : 0u;
                                part13_2 += digit_2 > 13u ? v_3 : 0u;
                                part14_2 += digit_2 > 14u ? v_3 : 0u;
                            }
                        }
                        from_digit0_2 += long(part0_2);
                        from_digit1_2 += long(part1_2);
                        from_digit2_2 += long(part2_2);
                        from_digit3_2 += long(part3_2);
                        from_digit4_2 += long(part4_2);
                        from_digit5_2 += long(part5_2);
                        from_digit6_2 += long(part6_2);
                        from_digit7_2 += long(part7_2);
                        from_digit8_2 += long(part8_2);
                        from_digit9_2 += long(part9_2);
                        from_digit10_2 += long(part10_2);
                        from_digit11_2 += long(part11_2);
                        from_digit12_2 += long(part12_2);
                        from_digit13_2 += long(part13_2);
                        from_digit14_2 += long(part14_2);
                    }
                    const int place_2 = (pass_2 & 1) * 480;
                    const uint low_33 = simd_sum(uint(from_digit0_2 & 4194303l));
                    const uint high_33 = simd_sum(uint(from_digit0_2 >> 22));
                    const uint low_34 = simd_sum(uint(from_digit1_2 & 4194303l));
                    const uint high_34 = simd_sum(uint(from_digit1_2 >> 22));
                    const uint low_35 = simd_sum(uint(from_digit2_2 & 4194303l));
                    const uint high_35 = simd_sum(uint(from_digit2_2 >> 22));
                    const uint low_36 = simd_sum(uint(from_digit3_2 & 4194303l));
                    const uint high_36 = simd_sum(uint(from_digit3_2 >> 22));
                    const uint low_37 = simd_sum(uint(from_digit4_2 & 4194303l));
                    const uint high_37 = simd_sum(uint(from_digit4_2 >> 22));
                    const uint low_38 = simd_sum(uint(from_digit5_2 & 4194303l));
                    const uint high_38 = simd_sum(uint(from_digit5_2 >> 22));
                    const uint low_39 = simd_sum(uint(from_digit6_2 & 4194303l));
                    const uint high_39 = simd_sum(uint(from_digit6_2 >> 22));
                    const uint low_40 = simd_sum(uint(from_digit7_2 & 4194303l));
                    const uint high_40 = simd_sum(uint(from_digit7_2 >> 22));
                    const uint low_41 = simd_sum(uint(from_digit8_2 & 4194303l));
                    const uint high_41 = simd_sum(uint(from_digit8_2 >> 22));
                    const uint low_42 = simd_sum(uint(from_digit9_2 & 4194303l));
                    const uint high_42 = simd_sum(uint(from_digit9_2 >> 22));
                    const uint low_43 = simd_sum(uint(from_digit10_2 & 4194303l));
                    const uint high_43 = simd_sum(uint(from_digit10_2 >> 22));
                    const uint low_44 = simd_sum(uint(from_digit11_2 & 4194303l));
                    const uint high_44 = simd_sum(uint(from_digit11_2 >> 22));
                    const uint low_45 = simd_sum(uint(from_digit12_2 & 4194303l));
                    const uint high_45 = simd_sum(uint(from_digit12_2 >> 22));
                    const uint low_46 = simd_sum(uint(from_digit13_2 & 4194303l));
                    const uint high_46 = simd_sum(uint(from_digit13_2 >> 22));
                    const uint low_47 = simd_sum(uint(from_digit14_2 & 4194303l));
                    const uint high_47 = simd_sum(uint(from_digit14_2 >> 22));
                    if (lane == 0) {
                        digit_sums_low[place_2 + simd_group * 15] = low_33;
                        digit_sums_high[place_2 + simd_group * 15] = high_33;
                        digit_sums_low[place_2 + simd_group * 15 + 1] = low_34;
                        digit_sums_high[place_2 + simd_group * 15 + 1] = high_34;
                        digit_sums_low[place_2 + simd_group * 15 + 2] = low_35;
                        digit_sums_high[place_2 + simd_group * 15 + 2] = high_35;
                        digit_sums_low[place_2 + simd_group * 15 + 3] = low_36;
                        digit_sums_high[place_2 + simd_group * 15 + 3] = high_36;
                        digit_sums_low[place_2 + simd_group * 15 + 4] = low_37;
                        digit_sums_high[place_2 + simd_group * 15 + 4] = high_37;
                        digit_sums_low[place_2 + simd_group * 15 + 5] = low_38;
                        digit_sums_high[place_2 + simd_group * 15 + 5] = high_38;
                        digit_sums_low[place_2 + simd_group * 15 + 6] = low_39;
                        digit_sums_high[place_2 + simd_group * 15 + 6] = high_39;
                        digit_sums_low[place_2 + simd_group * 15 + 7] = low_40;
                        digit_sums_high[place_2 + simd_group * 15 + 7] = high_40;
                        digit_sums_low[place_2 + simd_group * 15 + 8] = low_41;
                        digit_sums_high[place_2 + simd_group * 15 + 8] = high_41;
                        digit_sums_low[place_2 + simd_group * 15 + 9] = low_42;
                        digit_sums_high[place_2 + simd_group * 15 + 9] = high_42;
                        digit_sums_low[place_2 + simd_group * 15 + 10] = low_43;
                        digit_sums_high[place_2 + simd_group * 15 + 10] = high_43;
                        digit_sums_low[place_2 + simd_group * 15 + 11] = low_44;
                        digit_sums_high[place_2 + simd_group * 15 + 11] = high_44;
                        digit_sums_low[place_2 + simd_group * 15 + 12] = low_45;
                        digit_sums_high[place_2 + simd_group * 15 + 12] = high_45;
                        digit_sums_low[place_2 + simd_group * 15 + 13] = low_46;
                        digit_sums_high[place_2 + simd_group * 15 + 13] = high_46;
                        digit_sums_low[place_2 + simd_group * 15 + 14] = low_47;
                        digit_sums_high[place_2 + simd_group * 15 + 14] = high_47;
                    }
                    threadgroup_barrier(mem_flags::mem_threadgroup);
                    const int group_2 = min(lane, 31) * 15 + place_2;
                    const bool has_group_2 = lane < 32;
                    const uint low_48 = simd_sum(has_group_2 ? digit_sums_low[group_2] : 0u);
                    const uint high_48 = simd_sum(has_group_2 ? digit_sums_high[group_2] : 0u);
                    const uint low_49 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 1] : 0u);
                    const uint high_49 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 1] : 0u);
                    const uint low_50 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 2] : 0u);
                    const uint high_50 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 2] : 0u);
                    const uint low_51 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 3] : 0u);
                    const uint high_51 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 3] : 0u);
                    const uint low_52 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 4] : 0u);
                    const uint high_52 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 4] : 0u);
                    const uint low_53 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 5] : 0u);
                    const uint high_53 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 5] : 0u);
                    const uint low_54 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 6] : 0u);
                    const uint high_54 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 6] : 0u);
                    const uint low_55 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 7] : 0u);
                    const uint high_55 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 7] : 0u);
                    const uint low_56 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 8] : 0u);
                    const uint high_56 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 8] : 0u);
                    const uint low_57 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 9] : 0u);
                    const uint high_57 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 9] : 0u);
                    const uint low_58 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 10] : 0u);
                    const uint high_58 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 10] : 0u);
                    const uint low_59 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 11] : 0u);
                    const uint high_59 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 11] : 0u);
                    const uint low_60 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 12] : 0u);
                    const uint high_60 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 12] : 0u);
                    const uint low_61 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 13] : 0u);
                    const uint high_61 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 13] : 0u);
                    const uint low_62 = simd_sum(has_group_2 ? digit_sums_low[group_2 + 14] : 0u);
                    const uint high_62 = simd_sum(has_group_2 ? digit_sums_high[group_2 + 14] : 0u);
                    const long total_16 = (long(high_48) << 22) + long(low_48);
                    const long total_17 = (long(high_49) << 22) + long(low_49);
                    const long total_18 = (long(high_50) << 22) + long(low_50);
                    const long total_19 = (long(high_51) << 22) + long(low_51);
                    const long total_20 = (long(high_52) << 22) + long(low_52);
                    const long total_21 = (long(high_53) << 22) + long(low_53);
                    const long total_22 = (long(high_54) << 22) + long(low_54);
                    const long total_23 = (long(high_55) << 22) + long(low_55);
                    const long total_24 = (long(high_56) << 22) + long(low_56);
                    const long total_25 = (long(high_57) << 22) + long(low_57);
                    const long total_26 = (long(high_58) << 22) + long(low_58);
                    const long total_27 = (long(high_59) << 22) + long(low_59);
                    const long total_28 = (long(high_60) << 22) + long(low_60);
                    const long total_29 = (long(high_61) << 22) + long(low_61);
                    const long total_30 = (long(high_62) << 22) + long(low_62);
                    const long known_2 = above_2;
                    const uint start_2 = key_bound_2;
                    above_2 = known_2 + total_16;
                    if (known_2 + total_16 >= share) {
                        key_bound_2 = start_2 + (1u << digit_shift_2);
                        above_2 = known_2 + total_17;
                    }
                    if (known_2 + total_17 >= share) {
                        key_bound_2 = start_2 + (2u << digit_shift_2);
                        above_2 = known_2 + total_18;
                    }
                    if (known_2 + total_18 >= share) {
                        key_bound_2 = start_2 + (3u << digit_shift_2);
                        above_2 = known_2 + total_19;
                    }
                    if (known_2 + total_19 >= share) {
                        key_bound_2 = start_2 + (4u << digit_shift_2);
                        above_2 = known_2 + total_20;
                    }
                    if (known_2 + total_20 >= share) {
                        key_bound_2 = start_2 + (5u << digit_shift_2);
                        above_2 = known_2 + total_21;
                    }
                    if (known_2 + total_21 >= share) {
                        key_bound_2 = start_2 + (6u << digit_shift_2);
                        above_2 = known_2 + total_22;
                    }
                    if (known_2 + total_22 >= share) {
                        key_bound_2 = start_2 + (7u << digit_shift_2);
                        above_2 = known_2 + total_23;
                    }
                    if (known_2 + total_23 >= share) {
                        key_bound_2 = start_2 + (8u << digit_shift_2);
                        above_2 = known_2 + total_24;
                    }
                    if (known_2 + total_24 >= share) {
                        key_bound_2 = start_2 + (9u << digit_shift_2);
                        above_2 = known_2 + total_25;
                    }
                    if (known_2 + total_25 >= share) {
                        key_bound_2 = start_2 + (10u << digit_shift_2);
                        above_2 = known_2 + total_26;
                    }
                    if (known_2 + total_26 >= share) {
                        key_bound_2 = start_2 + (11u << digit_shift_2);
                        above_2 = known_2 + total_27;
                    }
                    if (known_2 + total_27 >= share) {
                        key_bound_2 = start_2 + (12u << digit_shift_2);
                        above_2 = known_2 + total_28;
                    }
                    if (known_2 + total_28 >= share) {
                        key_bound_2 = start_2 + (13u << digit_shift_2);
                        above_2 = known_2 + total_29;
                    }
                    if (known_2 + total_29 >= share) {
                        key_bound_2 = start_2 + (14u << digit_shift_2);
                        above_2 = known_2 + total_30;
                    }
                    if (known_2 + total_30 >= share) {
                        key_bound_2 = start_2 + (15u << digit_shift_2);
                        above_2 = known_2;
                    }
                }

                // Of the tokens with that key the first ids, until they get there.
                for (int segment_5 = simd_group; segment_5 < 32; segment_5 += 32) {
                    const int first_id_7 = segment_5 * 32;
                    const int end_id_7 = min(first_id_7 + 32, 256);
                    uint part_3 = 0u;
                    for (int i_8 = first_id_7 + lane; i_8 < end_id_7; i_8 += 32) {
                        const uint key_9 = keys[base + i_8];
                        const float logit_10 = as_type<float>(key_9 >= 0x80000000u ? key_9 ^ 0x80000000u :
                                ~key_9);
                        if (key_9 == key_bound_2 && (key_9 > bound || (key_9 == bound && i_8 <= last))) {
                            const float below_3 = ((as_type<uint>(logit_10) & 0x7fffffffu) < 0x00800000u ?
                                    0.0f : logit_10) - largest;
                            const float d_5 = ((as_type<uint>(below_3) & 0x7fffffffu) < 0x00800000u ? 0.0f :
                                    below_3) * inv;
                            const float d_6 = d_5 >= -17.5f ? d_5 : -17.5f;
                            const uint n_6 = as_type<uint>(int(-d_6 * 6.7108864e7f));
                            const uint z_3 = uint((long(n_6) * 3098164009l) >> 31);
                            const uint f_3 = z_3 & 0x03ffffffu;
                            const uint power_13 = 0x00152985u - uint((123394l * long(f_3)) >> 26);
                            const uint power_14 = 0x009d3ce2u - uint((long(power_13) * long(f_3)) >> 26);
                            const uint power_15 = 0x038d4ca4u - uint((long(power_14) * long(f_3)) >> 26);
                            const uint power_16 = 0x0f5fdd42u - uint((long(power_15) * long(f_3)) >> 26);
                            const uint power_17 = 0x2c5c85f8u - uint((long(power_16) * long(f_3)) >> 26);
                            const uint power_18 = 0x40000000u - uint((long(power_17) * long(f_3)) >> 26);
                            const uint shift_3 = (z_3 >> 26) + 6u;
                            const uint weight_5 = (power_18 + (1u << (shift_3 - 1u))) >> shift_3;
                            const uint weight_6 = key_9 == row_key ? 0x01000000u : weight_5;
                            part_3 += weight_6;
                        }
                    }
                    const uint low_63 = simd_sum(uint(long(part_3) & 4194303l));
                    const uint high_63 = simd_sum(uint(long(part_3) >> 22));
                    if (lane == 0) {
                        segment_sums_low[segment_5] = low_63;
                        segment_sums_high[segment_5] = high_63;
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                const long missing_3 = share - above_2 - 1l;
                int home_2 = -1;
                long before_2 = 0l;
                long running_2 = 0l;
                for (int n_7 = 0; n_7 < 32; n_7++) {
                    const long next_2 = running_2 + ((long(segment_sums_high[n_7]) << 22) +
                            long(segment_sums_low[n_7]));
                    if (home_2 < 0 && next_2 > missing_3) {
                        home_2 = n_7;
                        before_2 = running_2;
                    }
                    running_2 = next_2;
                }
                if (simd_group == 0) {
                    int id_3 = -1;
                    if (home_2 >= 0) {
                        const long missing_4 = missing_3 - before_2;
                        const int first_id_8 = home_2 * 32;
                        const int end_id_8 = min(first_id_8 + 32, 256);
                        long sum_2 = 0l;
                        for (int from_2 = first_id_8; from_2 < end_id_8; from_2 += 32) {
                            if (id_3 < 0) {
                                const int i_9 = from_2 + lane;
                                uint v_4 = 0u;
                                if (i_9 < end_id_8) {
                                    const uint key_10 = keys[base + i_9];
                                    const float logit_11 = as_type<float>(key_10 >= 0x80000000u ? key_10 ^
                                            0x80000000u : ~key_10);
                                    if (key_10 == key_bound_2 && (key_10 > bound ||
                                            (key_10 == bound && i_9 <= last))) {
                                        const float below_4 = ((as_type<uint>(logit_11) & 0x7fffffffu) <
                                                0x00800000u ? 0.0f : logit_11) - largest;
                                        const float d_7 = ((as_type<uint>(below_4) & 0x7fffffffu) <
                                                0x00800000u ? 0.0f : below_4) * inv;
                                        const float d_8 = d_7 >= -17.5f ? d_7 : -17.5f;
                                        const uint n_8 = as_type<uint>(int(-d_8 * 6.7108864e7f));
                                        const uint z_4 = uint((long(n_8) * 3098164009l) >> 31);
                                        const uint f_4 = z_4 & 0x03ffffffu;
                                        const uint power_19 = 0x00152985u - uint((123394l * long(f_4)) >> 26);
                                        const uint power_20 = 0x009d3ce2u -
                                                uint((long(power_19) * long(f_4)) >> 26);
                                        const uint power_21 = 0x038d4ca4u -
                                                uint((long(power_20) * long(f_4)) >> 26);
                                        const uint power_22 = 0x0f5fdd42u -
                                                uint((long(power_21) * long(f_4)) >> 26);
                                        const uint power_23 = 0x2c5c85f8u -
                                                uint((long(power_22) * long(f_4)) >> 26);
                                        const uint power_24 = 0x40000000u -
                                                uint((long(power_23) * long(f_4)) >> 26);
                                        const uint shift_4 = (z_4 >> 26) + 6u;
                                        const uint weight_7 = (power_24 + (1u << (shift_4 - 1u))) >> shift_4;
                                        const uint weight_8 = key_10 == row_key ? 0x01000000u : weight_7;
                                        v_4 = weight_8;
                                    }
                                }
                                const long through_2 = sum_2 + long(simd_prefix_exclusive_sum(v_4) + v_4);
                                const int nearest_2 = simd_min(through_2 > missing_4 ? i_9 : 1073741824);
                                if (nearest_2 < 1073741824) {
                                    id_3 = nearest_2;
                                }
                                sum_2 += long(simd_sum(v_4));
                            }
                        }
                    }
                    if (lane == 0) {
                        found_id[0] = id_3;
                    }
                }
                threadgroup_barrier(mem_flags::mem_threadgroup);
                const int located_2 = found_id[0];
                if (key_bound_2 > 0u) {
                    bound = key_bound_2;
                    last = located_2;
                }
            }

            // min-p, and the draw: the first id whose sum of weights exceeds the share.
            const uint sample_min_p = as_type<uint>(step.sample_min_p[row]);
            for (int segment_6 = simd_group; segment_6 < 32; segment_6 += 32) {
                const int first_id_9 = segment_6 * 32;
                const int end_id_9 = min(first_id_9 + 32, 256);
                uint part_4 = 0u;
                for (int i_10 = first_id_9 + lane; i_10 < end_id_9; i_10 += 32) {
                    const uint key_11 = keys[base + i_10];
                    const float logit_12 = as_type<float>(key_11 >= 0x80000000u ? key_11 ^ 0x80000000u :
                            ~key_11);
                    if (key_11 > bound || (key_11 == bound && i_10 <= last)) {
                        const float below_5 = ((as_type<uint>(logit_12) & 0x7fffffffu) < 0x00800000u ? 0.0f :
                                logit_12) - largest;
                        const float d_9 = ((as_type<uint>(below_5) & 0x7fffffffu) < 0x00800000u ? 0.0f :
                                below_5) * inv;
                        const float d_10 = d_9 >= -17.5f ? d_9 : -17.5f;
                        const uint n_9 = as_type<uint>(int(-d_10 * 6.7108864e7f));
                        const uint z_5 = uint((long(n_9) * 3098164009l) >> 31);
                        const uint f_5 = z_5 & 0x03ffffffu;
                        const uint power_25 = 0x00152985u - uint((123394l * long(f_5)) >> 26);
                        const uint power_26 = 0x009d3ce2u - uint((long(power_25) * long(f_5)) >> 26);
                        const uint power_27 = 0x038d4ca4u - uint((long(power_26) * long(f_5)) >> 26);
                        const uint power_28 = 0x0f5fdd42u - uint((long(power_27) * long(f_5)) >> 26);
                        const uint power_29 = 0x2c5c85f8u - uint((long(power_28) * long(f_5)) >> 26);
                        const uint power_30 = 0x40000000u - uint((long(power_29) * long(f_5)) >> 26);
                        const uint shift_5 = (z_5 >> 26) + 6u;
                        const uint weight_9 = (power_30 + (1u << (shift_5 - 1u))) >> shift_5;
                        const uint weight_10 = key_11 == row_key ? 0x01000000u : weight_9;
                        part_4 += weight_10 >= sample_min_p ? weight_10 : 0u;
                    }
                }
                const uint low_64 = simd_sum(uint(long(part_4) & 4194303l));
                const uint high_64 = simd_sum(uint(long(part_4) >> 22));
                if (lane == 0) {
                    segment_sums_low[segment_6] = low_64;
                    segment_sums_high[segment_6] = high_64;
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            long sum_of_all_2 = 0l;
            for (int n_10 = 0; n_10 < 32; n_10++) {
                sum_of_all_2 += (long(segment_sums_high[n_10]) << 22) + long(segment_sums_low[n_10]);
            }
            const uint sample_random = as_type<uint>(step.sample_random[row]);
            const long wide_2 = long(sample_random);
            const long target = ((sum_of_all_2 >> 16) * wide_2 + (((sum_of_all_2 &
                    65535l) * wide_2) >> 16)) >> 16;
            int home_3 = -1;
            long before_3 = 0l;
            long running_3 = 0l;
            for (int n_11 = 0; n_11 < 32; n_11++) {
                const long next_3 = running_3 + ((long(segment_sums_high[n_11]) << 22) +
                        long(segment_sums_low[n_11]));
                if (home_3 < 0 && next_3 > target) {
                    home_3 = n_11;
                    before_3 = running_3;
                }
                running_3 = next_3;
            }
            if (simd_group == 0) {
                int id_4 = -1;
                if (home_3 >= 0) {
                    const long missing_5 = target - before_3;
                    const int first_id_10 = home_3 * 32;
                    const int end_id_10 = min(first_id_10 + 32, 256);
                    long sum_3 = 0l;
                    for (int from_3 = first_id_10; from_3 < end_id_10; from_3 += 32) {
                        if (id_4 < 0) {
                            const int i_11 = from_3 + lane;
                            uint v_5 = 0u;
                            if (i_11 < end_id_10) {
                                const uint key_12 = keys[base + i_11];
                                const float logit_13 = as_type<float>(key_12 >= 0x80000000u ? key_12 ^
                                        0x80000000u : ~key_12);
                                if (key_12 > bound || (key_12 == bound && i_11 <= last)) {
                                    const float below_6 = ((as_type<uint>(logit_13) & 0x7fffffffu) <
                                            0x00800000u ? 0.0f : logit_13) - largest;
                                    const float d_11 = ((as_type<uint>(below_6) & 0x7fffffffu) < 0x00800000u ?
                                            0.0f : below_6) * inv;
                                    const float d_12 = d_11 >= -17.5f ? d_11 : -17.5f;
                                    const uint n_12 = as_type<uint>(int(-d_12 * 6.7108864e7f));
                                    const uint z_6 = uint((long(n_12) * 3098164009l) >> 31);
                                    const uint f_6 = z_6 & 0x03ffffffu;
                                    const uint power_31 = 0x00152985u - uint((123394l * long(f_6)) >> 26);
                                    const uint power_32 = 0x009d3ce2u -
                                            uint((long(power_31) * long(f_6)) >> 26);
                                    const uint power_33 = 0x038d4ca4u -
                                            uint((long(power_32) * long(f_6)) >> 26);
                                    const uint power_34 = 0x0f5fdd42u -
                                            uint((long(power_33) * long(f_6)) >> 26);
                                    const uint power_35 = 0x2c5c85f8u -
                                            uint((long(power_34) * long(f_6)) >> 26);
                                    const uint power_36 = 0x40000000u -
                                            uint((long(power_35) * long(f_6)) >> 26);
                                    const uint shift_6 = (z_6 >> 26) + 6u;
                                    const uint weight_11 = (power_36 + (1u << (shift_6 - 1u))) >> shift_6;
                                    const uint weight_12 = key_12 == row_key ? 0x01000000u : weight_11;
                                    v_5 = weight_12 >= sample_min_p ? weight_12 : 0u;
                                }
                            }
                            const long through_3 = sum_3 + long(simd_prefix_exclusive_sum(v_5) + v_5);
                            const int nearest_3 = simd_min(through_3 > missing_5 ? i_11 : 1073741824);
                            if (nearest_3 < 1073741824) {
                                id_4 = nearest_3;
                            }
                            sum_3 += long(simd_sum(v_5));
                        }
                    }
                }
                if (lane == 0) {
                    found_id[0] = id_4;
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            const int located_3 = found_id[0];
            picked = located_3;
        }
        if (tid == 0) {
            tokens[row] = picked;
        }
    }
}
