package lower

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// attentionCase is an attention of random content.
type attentionCase struct {
	target      target.Target
	phase       program.Phase
	heads, dim  int
	rotated     int // dimensions
	size        int // of the window
	ratio       int // 0: no entries
	k           int // selected entries; 0: all visible
	rows        []ir.Row
	format      string // of rows; f32 if empty
	sink        float32
	emptyTail   bool // of selected entries, also where more are visible
	withoutNorm bool
}

// attentionTest is a case with its memory and the numbers in it.
type attentionTest struct {
	attentionCase
	in       *Input
	view     *fusion.Attention
	mem      *memory
	q        []float32
	keys     map[[2]int][]float32 // by slot and position
	entries  map[[2]int][]float32 // by slot and number
	selected []int32
	sinks    []float32
}

func (c attentionCase) String() string {
	return fmt.Sprintf("%s %s %dx%d/%d window %d ratio %d k %d rows %v", c.target.Name, c.phase, c.heads, c.dim, c.rotated, c.size, c.ratio, c.k, c.rows)
}

// newAttentionTest fills memory: what belongs to a slot and position depends
// on these alone, so that a row meets the same numbers in every step.
func newAttentionTest(t *testing.T, c attentionCase) *attentionTest {
	t.Helper()
	a := &attentionTest{attentionCase: c, keys: map[[2]int][]float32{}, entries: map[[2]int][]float32{}}
	a.view = &fusion.Attention{
		Q: testValue(1, ir.F32, c.heads*c.dim), Heads: c.heads, Dim: c.dim, Scale: 1 / math.Sqrt(float64(c.dim)),
		Rope: ops.RopeAttr{Dims: c.rotated, Theta: 10000}, Window: "window", Size: c.size,
		Sink: "sink", Result: testValue(2, ir.F32, c.heads, c.dim),
	}
	if !c.withoutNorm {
		a.view.QNorm = &fusion.Norm{Eps: 1e-6}
	}
	if c.ratio > 0 {
		a.view.Entries = "entries"
		if c.k > 0 {
			a.view.Selected = testValue(3, ir.I32, c.k)
		} else {
			a.view.Ratio = c.ratio
		}
	}
	a.in = testInput(c.target, a.view.Rope, c.phase, "attention")
	a.in.Params = storage.Parameters{"sink": {Name: "sink", Rows: 1, Cols: c.heads, Lead: 1, Encoding: encoding.Plain{DType: encoding.F32}, Pieces: []storage.Piece{{Rows: 1}}}}
	a.mem = newMemory(a.in, c.rows)
	a.sinks = normals(rand.New(rand.NewPCG(1, 1)), c.heads)
	for i := range a.sinks {
		a.sinks[i] += c.sink
	}
	a.mem.weights[weightPlane{"sink", encoding.Weight}] = floatBytes(a.sinks)
	for _, r := range c.rows {
		a.fillRow(r)
	}
	a.mem.values[a.view.Q] = floatBytes(a.q)
	if a.view.Selected != nil {
		a.mem.values[a.view.Selected] = intBytes(a.selected)
	}
	format := cmp.Or(c.format, "f32")
	a.mem.fillCache(t, "window", format, c.dim, max(c.size, 1)+len(c.rows), true, a.keys)
	if c.ratio > 0 {
		a.mem.fillCache(t, "entries", format, c.dim, 0, false, a.entries)
	}
	return a
}

// fillRow makes the row's query and what its slot holds up to its position.
func (a *attentionTest) fillRow(r ir.Row) {
	rowRand := rand.New(rand.NewPCG(uint64(r.Slot)+7, uint64(r.Position)))
	a.q = append(a.q, normals(rowRand, a.heads*a.dim)...)
	slot := int(r.Slot)
	for p := 0; p <= int(r.Position); p++ {
		a.keys[[2]int{slot, p}] = normals(rand.New(rand.NewPCG(uint64(slot), uint64(p))), a.dim)
		if a.ratio > 0 && (p+1)%a.ratio == 0 {
			a.entries[[2]int{slot, p / a.ratio}] = normals(rand.New(rand.NewPCG(uint64(slot)+100, uint64(p))), a.dim)
		}
	}
	if a.k == 0 {
		return
	}
	ids := rowRand.Perm((int(r.Position) + 1) / a.ratio)
	ids = ids[:min(len(ids), a.k)]
	if a.emptyTail {
		ids = ids[:len(ids)/3]
	}
	slices.Sort(ids)
	for i := range a.k {
		if i < len(ids) {
			a.selected = append(a.selected, int32(ids[i]))
		} else {
			a.selected = append(a.selected, -1)
		}
	}
}

// run lowers and runs the attention and returns its result.
func (a *attentionTest) run(t *testing.T) []float32 {
	t.Helper()
	launches, err := lowerAttention(a.in, a.view)
	if err != nil {
		t.Fatal(err)
	}
	a.mem.run(t, launches)
	return floats(a.mem.values[a.view.Result])
}

// want computes row r's head h in float64.
func (a *attentionTest) want(r, h int) []float64 {
	row, d := a.rows[r], a.dim
	q := make([]float64, d)
	squares := 0.0
	for i := range q {
		q[i] = float64(a.q[(r*a.heads+h)*d+i])
		squares += q[i] * q[i]
	}
	if !a.withoutNorm {
		rms := math.Sqrt(squares/float64(d) + 1e-6)
		for i := range q {
			q[i] /= rms
		}
	}
	turn(q, a.view.Rope, int(row.Position), 1)
	var keys [][]float32
	for p := max(0, int(row.Position)-a.size+1); p <= int(row.Position); p++ {
		keys = append(keys, a.keys[[2]int{int(row.Slot), p}])
	}
	if a.ratio > 0 && a.k == 0 {
		for j := range (int(row.Position) + 1) / a.ratio {
			keys = append(keys, a.entries[[2]int{int(row.Slot), j}])
		}
	}
	for i := range a.k {
		if id := a.selected[r*a.k+i]; id >= 0 {
			keys = append(keys, a.entries[[2]int{int(row.Slot), int(id)}])
		}
	}
	top, scores := float64(a.sinks[h]), make([]float64, len(keys))
	for i, k := range keys {
		for j := range q {
			scores[i] += q[j] * float64(k[j])
		}
		scores[i] *= a.view.Scale
		top = max(top, scores[i])
	}
	sum, out := math.Exp(float64(a.sinks[h])-top), make([]float64, d)
	for i, k := range keys {
		w := math.Exp(scores[i] - top)
		sum += w
		for j := range out {
			out[j] += w * float64(k[j])
		}
	}
	for j := range out {
		out[j] /= sum
	}
	turn(out, a.view.Rope, int(row.Position), -1)
	return out
}

// turn rotates the last dimensions of v.
func turn(v []float64, rope ops.RopeAttr, position int, sign float64) {
	v = v[len(v)-rope.Dims:]
	for i, f := range rope.Frequencies() {
		sin, cos := num.SinCos(float64(position) * f)
		sin *= sign
		v[2*i], v[2*i+1] = v[2*i]*cos-v[2*i+1]*sin, v[2*i]*sin+v[2*i+1]*cos
	}
}

// check compares the result with the reference. 2e-5 is some hundred units in
// the last place of values around 1: scores are sums of up to 512 products, and
// their error is that of the weights.
func (a *attentionTest) check(t *testing.T, got []float32) {
	t.Helper()
	for r := range a.rows {
		for h := range a.heads {
			for i, w := range a.want(r, h) {
				g := float64(got[(r*a.heads+h)*a.dim+i])
				if !(math.Abs(g-w) <= 2e-5) {
					t.Fatalf("%s: row %d head %d element %d: %v, want %v", a.attentionCase, r, h, i, g, w)
				}
			}
		}
	}
}

func slotRows(slot int32, positions ...int32) (rows []ir.Row) {
	for _, p := range positions {
		rows = append(rows, ir.Row{Position: p, Slot: slot})
	}
	return rows
}

func TestAttention(t *testing.T) {
	mixed := slices.Concat(slotRows(0, 0, 1), slotRows(2, 4), slotRows(1, 15, 16, 17), slotRows(3, 63))
	long := slices.Concat(slotRows(0, 127), slotRows(1, 128), slotRows(2, 129), slotRows(3, 300), slotRows(4, 85, 86, 87))
	for i, c := range []attentionCase{
		{heads: 4, dim: 128, rotated: 64, size: 16, rows: mixed},
		{heads: 4, dim: 128, rotated: 64, size: 128, rows: long},
		{heads: 2, dim: 32, rotated: 16, size: 150, rows: long},
		{heads: 4, dim: 128, rotated: 64, size: 16, ratio: 4, k: 8, rows: mixed},
		{heads: 4, dim: 64, rotated: 16, size: 70, ratio: 4, k: 50, rows: long},
		{heads: 4, dim: 64, rotated: 16, size: 70, ratio: 4, k: 50, rows: long, emptyTail: true},
		{heads: 4, dim: 64, rotated: 16, size: 16, ratio: 4, rows: mixed},
		{heads: 4, dim: 64, rotated: 16, size: 128, ratio: 2, rows: long},
		{heads: 3, dim: 96, rotated: 32, size: 8, ratio: 4, k: 4, rows: mixed},
		{heads: 6, dim: 100, rotated: 6, size: 8, ratio: 3, rows: mixed, withoutNorm: true},
		{heads: 4, dim: 128, rotated: 64, size: 16, ratio: 4, k: 8, rows: mixed, format: "bf16"},
		{heads: 4, dim: 128, rotated: 64, size: 16, ratio: 4, rows: mixed, format: "fp8_b64_r64"},
		{heads: 2, dim: 512, rotated: 64, size: 5, ratio: 4, rows: mixed, sink: 30},
		{heads: 1, dim: 544, rotated: 544, size: 5, rows: mixed, sink: -60},
	} {
		for n, machine := range targets {
			c.target = machine
			for _, c.phase = range []program.Phase{program.Decode, program.Prefill} {
				if n > 0 && i%2 != int(c.phase) {
					continue
				}
				a := newAttentionTest(t, c)
				a.check(t, a.run(t))
			}
		}
	}
}

// TestAttentionTiles: many heads share tiles of keys; with none of them, one, a
// tile's worth and a few more, in registers of all widths.
func TestAttentionTiles(t *testing.T) {
	mixed := slices.Concat(slotRows(0, 0, 1), slotRows(2, 4), slotRows(1, 15, 16, 17), slotRows(3, 63))
	long := slices.Concat(slotRows(0, 127), slotRows(1, 128), slotRows(2, 129), slotRows(3, 300), slotRows(4, 85, 86, 87))
	for _, c := range []attentionCase{
		{heads: 8, dim: 64, rotated: 16, size: 16, rows: mixed},
		{heads: 24, dim: 72, rotated: 16, size: 70, ratio: 4, k: 50, rows: long, emptyTail: true},
		{heads: 16, dim: 128, rotated: 64, size: 40, ratio: 2, rows: long, format: "fp8_b64_r64"},
		{heads: 16, dim: 32, rotated: 6, size: 33, ratio: 3, k: 31, rows: long, withoutNorm: true},
		{heads: 64, dim: 512, rotated: 64, size: 9, ratio: 4, k: 40, rows: mixed, format: "bf16"},
		{heads: 16, dim: 64, rotated: 64, size: 5, rows: mixed, sink: -60},
		{heads: 16, dim: 64, rotated: 64, size: 40, ratio: 4, rows: mixed, sink: 30},
	} {
		for _, register := range sample.Short(t, []int{4, 8, 16}, 1) {
			for _, c.phase = range []program.Phase{program.Decode, program.Prefill} {
				c.target = cpu(register)
				a := newAttentionTest(t, c)
				a.mem.native = register == 16
				a.check(t, a.run(t))
				if b := (&attention{Attention: a.view, in: a.in}).tileBlocks(); b.heads == 0 {
					t.Errorf("%s: no tiles", c)
				}
			}
		}
	}
}

// TestAttentionRowsAlone: the bits of a row are those it gets alone, though
// the other rows are longer and make more splits. Both run the same way, for
// machine code rounds exponentials otherwise than the interpreter.
func TestAttentionRowsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs kernels in many companies")
	}
	rows := slices.Concat(slotRows(1, 70), slotRows(0, 700), slotRows(2, 3))
	for _, c := range []attentionCase{
		{heads: 4, dim: 64, rotated: 16, size: 70, ratio: 2, rows: rows},
		{heads: 4, dim: 64, rotated: 16, size: 16, ratio: 4, k: 80, rows: rows},
		{heads: 2, dim: 32, rotated: 16, size: 200, rows: rows},
		{heads: 8, dim: 64, rotated: 16, size: 70, ratio: 4, k: 80, rows: rows},
		{heads: 8, dim: 32, rotated: 16, size: 16, ratio: 1, rows: rows},
	} {
		for _, c.target = range targets {
			for _, c.phase = range []program.Phase{program.Decode, program.Prefill} {
				run := func(rows []ir.Row) (*attentionTest, []float32) {
					c.rows = rows
					a := newAttentionTest(t, c)
					a.mem.native = c.target.Vector == 8
					a.mem.interpreted = !a.mem.native
					return a, a.run(t)
				}
				a, together := run(rows)
				a.check(t, together)
				for r := range rows {
					_, alone := run(rows[r : r+1])
					n := c.heads * c.dim
					if !sameBits(alone, together[r*n:(r+1)*n]) {
						t.Errorf("%s: row %d of %v differs from the row alone", c, r, rows)
					}
				}
			}
		}
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

func TestAttentionRefuses(t *testing.T) {
	c := attentionCase{target: target.GPU, heads: 2, dim: 30, rotated: 2, size: 4, rows: slotRows(0, 0)}
	a := newAttentionTest(t, c)
	if _, err := lowerAttention(a.in, a.view); err == nil {
		t.Error("vectors of 30 elements were accepted")
	}
}
