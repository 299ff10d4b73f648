package standin

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

func readWord(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }

// simdBuiltins are expressions of v, which holds the lane's value, and of lane.
// Values are small integers, so every order of additions gives the same.
var simdBuiltins = []struct {
	text   string
	want   func(v []int, lane int) int
	floats bool // also of floats
}{
	{"simd_sum(v)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return a + b }) }, true},
	{"simd_max(v)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return max(a, b) }) }, true},
	{"simd_min(v)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return min(a, b) }) }, true},
	{"simd_product(select(T(1), v, lane < 2))", func(v []int, lane int) int { return v[0] * v[1] }, true},
	{"simd_and(v)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return a & b }) }, false},
	{"simd_or(v)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return a | b }) }, false},
	{"simd_xor(v)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return a ^ b }) }, false},
	{"simd_prefix_exclusive_sum(v)", func(v []int, lane int) int { return fold(v[:lane], func(a, b int) int { return a + b }) }, true},
	{"simd_prefix_inclusive_sum(v)", func(v []int, lane int) int { return fold(v[:lane+1], func(a, b int) int { return a + b }) }, true},
	{"simd_broadcast(v, ushort(lanes - 1))", func(v []int, lane int) int { return v[len(v)-1] }, true},
	{"simd_broadcast_first(v)", func(v []int, lane int) int { return v[0] }, true},
	{"simd_shuffle(v, ushort(lanes - 1 - lane))", func(v []int, lane int) int { return v[len(v)-1-lane] }, true},
	{"simd_shuffle_xor(v, 1)", func(v []int, lane int) int { return v[lane^1] }, true},
	{"simd_shuffle_up(v, 3)", func(v []int, lane int) int {
		if lane < 3 {
			return v[lane]
		}
		return v[lane-3]
	}, true},
	{"simd_shuffle_down(v, 3)", func(v []int, lane int) int {
		if lane+3 >= len(v) {
			return v[lane]
		}
		return v[lane+3]
	}, true},
	{"T(simd_any(v > T(19)) ? 1 : 0)", func(v []int, lane int) int { return fold(v, func(a, b int) int { return max(a, b) }) / 20 }, true},
	{"T(simd_all(v < T(20)) ? 1 : 0)", func(v []int, lane int) int { return 1 - fold(v, func(a, b int) int { return max(a, b) })/20 }, true},
	{"T((simd_vote::vote_t(simd_ballot((lane & 1u) == 1u)) >> lane) & 3ul)", func(v []int, lane int) int {
		if lane&1 == 1 {
			return 1
		}
		return 2
	}, true},
	// Two in a row, so that operands and results take turns.
	{"simd_sum(v) - simd_shuffle_xor(v, 1) + simd_sum(v)", func(v []int, lane int) int {
		return 2*fold(v, func(a, b int) int { return a + b }) - v[lane^1]
	}, true},
}

func fold(v []int, f func(a, b int) int) int {
	if len(v) == 0 {
		return 0
	}
	out := v[0]
	for _, x := range v[1:] {
		out = f(out, x)
	}
	return out
}

// simdType is a type with how a lane's value is made from, and read as, int.
type simdType struct {
	name, make, read string
	floats           bool
}

var simdTypes = []simdType{
	{"float", "float(given)", "int(r)", true},
	{"half", "half(given)", "int(r)", true},
	{"int", "given", "int(r)", false},
	{"uint", "uint(given)", "int(r)", false},
	{"ushort", "ushort(given)", "int(r)", false},
	{"float2", "float2(float(given), 0.0f)", "int(r.x)", true},
	{"float4", "float4(1.0f, 2.0f, 3.0f, float(given))", "int(r.w)", true},
	{"uint2", "uint2(3u, uint(given))", "int(r.y)", false},
}

// simdSource has a kernel for each operation of each type: float_0, float_1 ...
func simdSource() string {
	var out strings.Builder
	out.WriteString("#include <metal_stdlib>\nusing namespace metal;\n" +
		"struct Args { device const int *x; device int *out; };\n")
	for _, typ := range simdTypes {
		for i, b := range simdBuiltins {
			if !typ.takes(b.floats, b.text) {
				continue
			}
			fmt.Fprintf(&out, "kernel void %s_%d(constant Args &args [[buffer(0)]], uint at [[thread_index_in_threadgroup]], "+
				"uint lane [[thread_index_in_simdgroup]], uint threads [[threads_per_threadgroup]]) {\n"+
				"typedef %[1]s T;\nconst uint lanes = min(32u, threads - (at - lane));\nconst int given = args.x[at];\n"+
				"const T v = %[3]s;\nconst T r = %[4]s;\nargs.out[at] = %[5]s + 0 * int(lanes);\n}\n", typ.name, i, typ.make, b.text, typ.read)
		}
	}
	return out.String()
}

// takes: vectors only move and add, floats have no bits.
func (t simdType) takes(floats bool, text string) bool {
	vector := strings.ContainsAny(t.name, "24")
	moves := strings.HasPrefix(text, "simd_s") || strings.HasPrefix(text, "simd_b") || strings.HasPrefix(text, "simd_prefix")
	return (floats || !t.floats) && (!vector || moves)
}

// 70 threads: the last SIMD group has 6 lanes.
func TestSimdFunctions(t *testing.T) {
	source := simdSource()
	if err := compiler(t).Check("simd.metal", source); err != nil {
		t.Error(err)
	}
	r := start(t, false)
	const threads = 70
	x := make([]int, threads)
	given := make([]int32, threads)
	for i := range x {
		x[i] = 1 + i*7%20
		given[i] = int32(x[i])
	}
	in, out := put(r, given), r.space(threads)
	for _, typ := range simdTypes {
		for i, b := range simdBuiltins {
			if !typ.takes(b.floats, b.text) {
				continue
			}
			for seed := range uint64(4) {
				r.launch(Launch{Kernel: fmt.Sprintf("%s_%d", typ.name, i), Threads: threads, Args: args(0, in, out)[:16], Seed: seed})
				for at, got := range get[int32](r, out, threads) {
					first := at / 32 * 32
					if want := b.want(x[first:min(first+32, threads)], at-first); int(got) != want {
						t.Errorf("%s of %s, thread %d, seed %d: got %d, want %d", b.text, typ.name, at, seed, got, want)
					}
				}
			}
		}
	}
}
