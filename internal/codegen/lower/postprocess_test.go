package lower

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// edgeValues fills vectors so that blocks of 32 and 64 meet what rounding may
// get wrong: values at, above and below the largest codes times a power of two,
// ties between codes, zeros of both signs, subnormals, and blocks of widely
// different magnitudes.
func edgeValues(n int) []float32 {
	r := rand.New(rand.NewPCG(3, 3))
	x := make([]float32, n)
	edges := []float64{448, 464, 6, 7, 5, 2.5, 1.25, 0.25, 0.75, 1.0625, 17.0 / 512, 1.0 / 1024, 3.0 / 1024}
	for from := 0; from < n; from += 32 {
		scale := math.Ldexp(1, r.IntN(60)-40)
		switch r.IntN(8) {
		case 0:
			scale = 0
		case 1:
			scale = math.Ldexp(1, -140+r.IntN(30)) // least exponents and subnormals
		case 2:
			scale = math.Ldexp(1, 100+r.IntN(15))
		}
		for i := from; i < min(from+32, n); i++ {
			v := r.NormFloat64() * 100
			if r.IntN(2) == 0 {
				v = edges[r.IntN(len(edges))] * math.Ldexp(1, -r.IntN(4))
			}
			if r.IntN(8) == 0 {
				v = float64(math.Nextafter32(float32(v), float32(r.NormFloat64()*1e3)))
			}
			x[i] = float32(math.Copysign(v*scale, r.NormFloat64()))
		}
	}
	return x
}

// TestFinishExact: rounding, the transform and rotation have the evaluator's
// bits, given equal inputs.
func TestFinishExact(t *testing.T) {
	entries := []testEntry{
		{name: "fp8", width: 512, rope: 64, round: roundFP8(512, 64), format: "fp8_b64_r64"},
		{name: "fp8_cut", width: 160, rope: 64, round: roundFP8(160, 64), format: "fp8_b64_r64"},
		{name: "fp8_all", width: 128, round: roundFP8(128, 0)[:1], format: "f32"},
		{name: "fp4", width: 128, round: roundFP4(128), format: "fp4_b32"},
		{name: "fp4_real", width: 512, round: roundFP4(512), format: "f32"},
		{name: "fp4_transformed", width: 128, hadamard: true, round: roundFP4(128), format: "fp4_b32"},
		{name: "wide_transformed", width: 512, rope: 10, hadamard: true, round: roundBF(512), format: "bf16"},
		{name: "small_transformed", width: 16, hadamard: true, round: roundFP4(16), format: "f32"},
		{name: "blocks_of_256", width: 640, round: []ops.RoundAttr{{Format: "e4m3", Block: 256, Count: 600}, {Format: "e2m1", Block: 4, From: 600, Count: 40}}, format: "f32"},
	}
	tables := map[string][]float32{}
	for _, e := range entries {
		tables[e.name+".x"] = edgeValues(testTokens * e.width)
	}
	for _, machine := range targets {
		c := newCacheTest(t, machine, entries, true, tables)
		steps := testSteps(150)
		wants := reference[float32](t, c, steps)
		for i, rows := range steps {
			c.step(t, rows)
			for _, e := range entries {
				for n, r := range rows {
					c.checkExact(t, e, r, wants[i][e.name][n*e.width:][:e.width])
				}
			}
		}
	}
}

// checkExact compares what a row appended, to the bit.
func (c *cacheTest) checkExact(t *testing.T, e testEntry, r ir.Row, want []float32) {
	t.Helper()
	for i, got := range c.decoded(e.name, r.Slot, int(r.Position)) {
		if math.Float32bits(got) != math.Float32bits(want[i]) {
			t.Fatalf("%s: %s of %+v: element %d is %v, want %v", c.mem.in.Target.Name, e.name, r, i, got, want[i])
		}
	}
}

// TestFinishRefuses: what kernels have no form for is an error, not a panic.
func TestFinishRefuses(t *testing.T) {
	for _, c := range []struct {
		width  int
		finish fusion.Postprocess
		want   string
	}{
		{6, fusion.Postprocess{}, "entries of 6 elements"},
		{96, fusion.Postprocess{Hadamard: true}, "a Hadamard transform of 96 elements"},
		{96, fusion.Postprocess{Rope: &ops.RopeAttr{Dims: 128}}, "a rotation of 128 elements of vectors of 96"},
		{96, fusion.Postprocess{Rope: &ops.RopeAttr{Dims: 16, Theta: 5}}, "no rotation table"},
		{96, fusion.Postprocess{Norm: &fusion.Norm{Weight: "none"}}, "@none is not bound"},
		{96, fusion.Postprocess{Round: []ops.RoundAttr{{Format: "bf16", From: 2, Count: 94}}}, "rounding of elements 2 to 95"},
		{96, fusion.Postprocess{Round: []ops.RoundAttr{{Format: "e4m3", Block: 24, Count: 96}}}, "blocks of 24 elements from 0 on"},
		{96, fusion.Postprocess{Round: []ops.RoundAttr{{Format: "e4m3", Block: 64, From: 32, Count: 64}}}, "blocks of 64 elements from 32 on"},
		{96, fusion.Postprocess{Round: []ops.RoundAttr{{Format: "e5m2", Block: 32, Count: 96}}}, `no kernel rounds to "e5m2"`},
	} {
		in := testInput(target.GPU, ops.RopeAttr{Dims: 32, Theta: 10000}, program.Decode, "cache")
		in.Caches["log"] = &program.Cache{Row: rowLayout(t, "f32", c.width), Capacity: 16, Slots: 1}
		e := fusion.Entry{X: testValue(1, ir.F32, c.width), Width: c.width, State: "log", Postprocess: c.finish}
		_, err := lowerCache(in, &fusion.Cache{Entries: []fusion.Entry{e}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d elements, %+v: error %v, want %q", c.width, c.finish, err, c.want)
		}
	}
}
