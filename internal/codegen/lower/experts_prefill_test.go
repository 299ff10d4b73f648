package lower

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// expertsTest is the down product of chosen experts: matrices of one parameter.
type expertsTest struct {
	*product
	experts, n int // matrices, and rows of each
	chosen     int // experts of a row
	ids        []int32
	mid        []float32
}

func newExpertsTest(t *testing.T, rng *rand.Rand, e encoding.Encoding, n, k, skew, rows int) *expertsTest {
	t.Helper()
	const experts, chosen = 4, 2
	x := &expertsTest{product: newProduct(t, rng, e, experts*n, k, skew), experts: experts, n: n, chosen: chosen}
	x.in.Params["w"].Lead, x.in.Phase = experts, program.Prefill
	for range rows {
		// Most rows choose expert 1, some 0 or 3, none 2.
		x.ids = append(x.ids, 1, []int32{0, 3, 3, 1}[rng.IntN(4)])
	}
	x.mid = normals(rng, rows*chosen*k)
	return x
}

// run multiplies rows [from, from+rows).
func (x *expertsTest) run(t *testing.T, from, rows int) []float32 {
	t.Helper()
	ids, mid := testValue(1, ir.I32, x.chosen), testValue(2, ir.F32, x.chosen, x.k)
	to := &program.Scratch{Name: "y_parts", Bytes: ir.Sym("T").Mul(ir.Const(int64(4 * x.chosen * x.n)))}
	launches, err := expertsDown(x.in, &fusion.ExpertsSource{Mid: mid, IDs: ids, Down: "w"}, to)
	if err != nil {
		t.Fatal(err)
	}
	mem := newMemory(x.in, make([]ir.Row, rows))
	mem.native, mem.text = x.native, x.text
	mem.values[ids] = intBytes(x.ids[from*x.chosen : (from+rows)*x.chosen])
	mem.values[mid] = floatBytes(x.mid[from*x.chosen*x.k : (from+rows)*x.chosen*x.k])
	x.bind(t, mem, launches)
	mem.run(t, launches)
	return floats(mem.scratch[to])
}

func (x *expertsTest) check(t *testing.T, rows int) {
	t.Helper()
	got := x.run(t, 0, rows)
	for c, expert := range x.ids {
		for j := range x.n {
			sum, size := 0.0, 0.0
			for i := range x.k {
				v := x.weight[(int(expert)*x.n+j)*x.k+i] * float64(x.mid[c*x.k+i])
				sum += v
				size += math.Abs(v)
			}
			if d := math.Abs(float64(got[c*x.n+j]) - sum); !(d <= 4e-6*size) {
				t.Fatalf("choice %d of expert %d, output %d is %v, exactly %v (sum of magnitudes %v)", c, expert, j, got[c*x.n+j], sum, size)
			}
		}
	}
	if alone := x.run(t, rows-1, 1); !sameBits(alone, got[(rows-1)*x.chosen*x.n:]) {
		t.Fatalf("the last of %d rows has other bits alone", rows)
	}
}

// TestExpertsPrefill multiplies rows that experts share unevenly, in encodings of
// all kinds and at every skew, on targets with registers for many rows and for few:
// rows, outputs and columns straddle what is done at once.
func TestExpertsPrefill(t *testing.T) {
	t.Parallel()
	for i, e := range encodings(t, 5) {
		t.Run(e.Name(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(12, uint64(i)))
			rows := []int{1, 3, 13, 18, 25, 40}[i%6]
			for j, machine := range []target.Target{target.CPU16, target.CPU4, target.CPU8, target.GPU} {
				if j > 0 && i%8 != j {
					continue
				}
				x := newExpertsTest(t, rng, e, []int{9, 33, 17, 130}[i%4], columns(t, e, []int{128, 384}[i%2]), i%16, rows)
				if x.n != 17 && encoding.GroupRows(e, encoding.Scales) == 1 {
					x.cut(t, x.experts)
				}
				x.in.Target = machine
				x.check(t, rows)
			}
		})
	}
}

// TestExpertsPrefillCode does so as machine code.
func TestExpertsPrefillCode(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 13))
	for i, c := range []struct {
		encoding      string
		rows, n, k    int
		skew, vectors int
	}{
		{"fp4_e2m1_g32", 60, 128, 256, 0, 16}, {"fp4_e2m1_g32", 11, 70, 160, 3, 16}, {"fp8_e4m3_b128", 20, 130, 200, 1, 16},
		{"affine4_g64_bf16", 9, 128, 192, 0, 16}, {"affine3_g32_f32", 5, 64, 384, 2, 16}, {"bf16", 27, 128, 100, 6, 16}, {"f32", 3, 64, 68, 4, 4}, {"fp4_e2m1_g32", 14, 40, 96, 0, 4}, {"q8_0", 19, 70, 224, 6, 16}, {"q8_0", 7, 40, 96, 3, 4},
	} {
		e, err := encoding.Parse(c.encoding)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("%d_%s", i, c.encoding), func(t *testing.T) {
			x := newExpertsTest(t, rng, e, c.n, c.k, c.skew, c.rows)
			x.in.Target, x.native = cpu(c.vectors), true
			x.check(t, c.rows)
		})
	}
}
