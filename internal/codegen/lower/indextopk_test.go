package lower

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// indexCase is a choice of entries. Queries, keys and weights are small
// integers: scores are exact whatever the order of their sum, and full of ties.
type indexCase struct {
	number     int // of the case
	target     target.Target
	phase      program.Phase
	heads, dim int
	ratio, k   int
	chunk      int
	spread     int
	thin       int
	room       int // entries that a slot has room for; 0: the rows' own
	rows       []ir.Row
	nan        int    // every so many entries are not a number; 0: none
	sign       int    // of weights: only that; 0: both
	format     string // of keys; f32 if empty
	text       bool   // the Metal text is compiled and run
}

func (c indexCase) String() string {
	return fmt.Sprintf("%s %s %dx%d ratio %d k %d chunk %d spread %d rows %v", c.target.Name, c.phase, c.heads, c.dim, c.ratio, c.k, c.chunk, c.spread, c.rows)
}

type indexTest struct {
	indexCase
	in         *Input
	view       *fusion.IndexTopK
	mem        *memory
	q, weights []float32
	keys       map[[2]int][]float32
}

func smallIntegers(r *rand.Rand, n, limit int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.IntN(2*limit+1) - limit)
	}
	return x
}

func newIndexTest(t *testing.T, c indexCase) *indexTest {
	t.Helper()
	x := &indexTest{indexCase: c, keys: map[[2]int][]float32{}}
	x.view = &fusion.IndexTopK{
		Q: testValue(1, ir.F32, c.heads, c.dim), Weights: testValue(2, ir.F32, c.heads), Keys: "keys",
		Heads: c.heads, Dim: c.dim, Ratio: c.ratio, K: c.k, Result: testValue(3, ir.I32, c.k),
	}
	x.in = testInput(c.target, ops.RopeAttr{Dims: 2, Theta: 10000}, c.phase, "topk")
	x.mem = newMemory(x.in, c.rows)
	x.mem.text = c.text
	for _, r := range c.rows {
		rowRand := rand.New(rand.NewPCG(uint64(r.Slot)+7, uint64(r.Position)))
		x.q = append(x.q, smallIntegers(rowRand, c.heads*c.dim, 1)...)
		for range c.heads {
			w := float32(rowRand.IntN(5) - 2)
			if c.sign != 0 {
				w = float32(math.Abs(float64(w))) * float32(c.sign)
			}
			x.weights = append(x.weights, w)
		}
		for j := range (int(r.Position) + 1) / c.ratio {
			x.keys[[2]int{int(r.Slot), j}] = x.key(int(r.Slot), j)
		}
	}
	if c.room > 0 {
		x.keys[[2]int{0, c.room - 1}] = x.key(0, c.room-1)
	}
	x.mem.values[x.view.Q] = floatBytes(x.q)
	x.mem.values[x.view.Weights] = floatBytes(x.weights)
	x.mem.fillCache(t, "keys", cmp.Or(c.format, "f32"), c.dim, 0, false, x.keys)
	return x
}

// key is mostly zeros, so that scores are few small numbers.
func (c indexCase) key(slot, entry int) []float32 {
	r := rand.New(rand.NewPCG(uint64(slot)+1, uint64(entry)))
	k := make([]float32, c.dim)
	for range 3 {
		k[r.IntN(c.dim)] = float32(r.IntN(3) - 1)
	}
	if c.nan > 0 && entry%c.nan == 0 {
		k[0] = float32(math.NaN())
	}
	return k
}

func (x *indexTest) run(t *testing.T) []int32 {
	t.Helper()
	launches, err := x.in.indexTopK(x.view, chunking{x.chunk, x.spread, x.thin})
	if err != nil {
		t.Fatal(err)
	}
	if thins := slices.ContainsFunc(launches, func(l program.Launch) bool { return l.Role == "thin" }); thins != (x.thin > 0) {
		t.Errorf("%s: thinned out is %v", x.indexCase, thins)
	}
	x.mem.run(t, launches)
	return ints(x.mem.values[x.view.Result])
}

// want is row r's list.
func (x *indexTest) want(r int) []int32 {
	row := x.rows[r]
	n := (int(row.Position) + 1) / x.ratio
	scores, order := make([]float64, n), make([]int32, n)
	for j := range n {
		order[j] = int32(j)
		key := x.keys[[2]int{int(row.Slot), j}]
		for h := range x.heads {
			dot := 0.0
			for i, k := range key {
				dot += float64(k) * float64(x.q[(r*x.heads+h)*x.dim+i])
			}
			if dot < 0 {
				dot = 0
			}
			scores[j] += dot * float64(x.weights[r*x.heads+h])
		}
	}
	if n > x.k {
		slices.SortFunc(order, func(a, b int32) int {
			u, v := scores[a], scores[b]
			if math.IsNaN(u) != math.IsNaN(v) {
				return map[bool]int{true: 1, false: -1}[math.IsNaN(u)]
			}
			if u != v && u == u {
				return cmp.Compare(v, u)
			}
			return int(a - b)
		})
		order = order[:x.k]
		slices.Sort(order)
	}
	for len(order) < x.k {
		order = append(order, -1)
	}
	return order
}

func (x *indexTest) check(t *testing.T, got []int32) {
	t.Helper()
	for r := range x.rows {
		if g, w := got[r*x.k:(r+1)*x.k], x.want(r); !slices.Equal(g, w) {
			t.Fatalf("%s: row %d: %v, want %v", x.indexCase, r, g, w)
		}
	}
}

func TestIndexTopK(t *testing.T) {
	t.Parallel()
	short := slices.Concat(slotRows(0, 0, 1, 2, 3, 4, 5), slotRows(2, 30, 31, 32, 33, 34, 35, 36, 37))
	edges := slices.Concat(slotRows(0, 126, 127, 128), slotRows(1, 510, 511, 512))
	cases := []indexCase{
		{heads: 8, dim: 32, ratio: 4, k: 3, chunk: 32, rows: short},
		{heads: 8, dim: 32, ratio: 4, k: 3, chunk: 32, spread: 2, rows: short},
		{heads: 8, dim: 32, ratio: 1, k: 40, chunk: 128, spread: 6, rows: edges},
		{heads: 8, dim: 32, ratio: 1, k: 70, chunk: 128, spread: 6, rows: edges, nan: 3},
		{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 32, rows: edges},
		{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 64, rows: edges, sign: -1},
		{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 64, rows: edges, sign: 1, nan: 3},
		{heads: 8, dim: 32, ratio: 1, k: 200, chunk: 512, rows: edges, nan: 2},
		{heads: 16, dim: 64, ratio: 1, k: 40, chunk: 96, rows: edges},
		{heads: 8, dim: 64, ratio: 1, k: 9, chunk: 128, rows: edges, format: "fp4_b32"},
		{heads: 8, dim: 32, ratio: 1, k: 9, chunk: 128, rows: edges, format: "bf16"},
		{heads: 3, dim: 20, ratio: 1, k: 8, chunk: 32, rows: edges},
		{heads: 4, dim: 32, ratio: 4, k: 100, chunk: 32, rows: edges},
		{heads: 64, dim: 128, ratio: 4, k: 16, chunk: 64, rows: slotRows(0, 511)},
	}
	for i := range cases {
		cases[i].number = i
	}
	for _, c := range sample.Of(t, cases, unlessShort(6, 2)) {
		for n, machine := range targets {
			c.target = machine
			for _, c.phase = range []program.Phase{program.Decode, program.Prefill} {
				if n > 0 && c.number%4 != 2*int(c.phase) {
					continue
				}
				x := newIndexTest(t, c)
				x.check(t, x.run(t))
			}
		}
	}
}

// TestIndexTopKThin: candidates of many chunks are thinned out in blocks before the
// merge, or not, by the step's longest row: rows with as many entries as a block has,
// one more, and as many as several; with products by fragments and lane by lane.
func TestIndexTopKThin(t *testing.T) {
	t.Parallel()
	edges := slices.Concat(slotRows(0, 6, 126, 127), slotRows(1, 128, 257, 400))
	for _, c := range sample.Short(t, []indexCase{
		{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 32, spread: 4, thin: 128, rows: edges, text: true},
		{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 32, spread: 4, thin: 128, rows: edges[:3], room: 600},
		{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 32, spread: 4, thin: 127, rows: edges[:3], room: 600},
		{heads: 8, dim: 32, ratio: 1, k: 40, chunk: 128, spread: 6, thin: 100, rows: edges, nan: 3},
		{heads: 16, dim: 16, ratio: 1, k: 60, chunk: 1024, spread: 20, thin: 128, rows: edges, sign: 1, format: "fp4_b32"},
		{heads: 8, dim: 16, ratio: 4, k: 60, chunk: 1024, spread: 20, thin: 128, rows: edges, room: 600},
	}, 1) {
		for _, c.target = range []target.Target{target.GPU, target.CUDA} {
			x := newIndexTest(t, c)
			x.check(t, x.run(t))
		}
	}
}

// TestIndexTopKBusy: at 64 k of context one row's scores and its thinning keep more
// than a core for each chunk and block busy, and short steps thin nothing out.
func TestIndexTopKBusy(t *testing.T) {
	for _, machine := range []target.Target{target.GPU, target.CUDA} {
		x := newIndexTest(t, indexCase{target: machine, heads: 64, dim: 128, ratio: 4, k: 512, format: "fp4_b32", rows: slotRows(0, 0)})
		// A cache that holds no more entries than a block has candidates needs no thinning.
		for capacity, want := range map[int]int{thinBlock: 2, thinBlock + 1: 3} {
			x.in.Caches["keys"].Capacity = capacity
			if launches, err := lowerIndexTopK(x.in, x.view); err != nil || len(launches) != want {
				t.Errorf("%s: %d launches for %d entries, expected %d (%v)", machine.Name, len(launches), capacity, want, err)
			}
		}
		x.in.Caches["keys"].Capacity = 1 << 18
		launches, err := lowerIndexTopK(x.in, x.view)
		if err != nil {
			t.Fatal(err)
		}
		if len(launches) != 3 {
			t.Fatalf("%d launches", len(launches))
		}
		groups := func(l program.Launch, context int64) int64 {
			n, err := l.Grid[0].Eval(func(string) (int64, bool) { return context, true })
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := groups(launches[0], 65536); n < 2*int64(machine.Cores) {
			t.Errorf("%s: %d threadgroups score", machine.Name, n)
		}
		for _, thin := range []struct{ context, least, most int64 }{{2048, 0, 0}, {16384, 0, 0}, {16388, 2, 3}, {65536, 4, 12}, {1 << 20, 64, 192}} {
			if n := groups(launches[1], thin.context); n < thin.least || n > thin.most {
				t.Errorf("%s: %d threadgroups thin out at %d tokens, expected %d to %d", machine.Name, n, thin.context, thin.least, thin.most)
			}
		}
	}
}

// TestOrderKey: keys order as the top-k contract orders scores.
func TestOrderKey(t *testing.T) {
	inf := float32(math.Inf(1))
	tiny := math.Float32frombits(1)
	scores := []float32{float32(math.NaN()), -inf, -math.MaxFloat32, -1, -1e-38, -tiny, 0, float32(math.Copysign(0, -1)), tiny, 1e-38, 1, math.MaxFloat32, inf, -float32(math.NaN())}
	place := []int{0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 0}
	in := testInput(target.GPU, ops.RopeAttr{Dims: 2, Theta: 10000}, program.Decode, "keys")
	from, to := testValue(1, ir.F32, len(scores)), testValue(2, ir.I32, len(scores))
	u := in.begin("order_keys", kernel.Schedule{Threads: 32})
	x, y := u.activation("scores", from, kernel.Read), u.activation("keys", to, kernel.Write)
	u.For("i", kernel.Thread(), i32(len(scores)), i32(32), func(i *kernel.Expr) { y.Set(i, u.orderKey(x.At(i)).As(kernel.I32)) })
	launch, err := u.launch("", ir.Const(1))
	if err != nil {
		t.Fatal(err)
	}
	mem := newMemory(in, slotRows(0, 0))
	mem.values[from] = floatBytes(scores)
	mem.run(t, []program.Launch{launch})
	keys := ints(mem.values[to])
	for i := range keys {
		for j := range keys {
			if got, want := cmp.Compare(uint32(keys[i]), uint32(keys[j])), cmp.Compare(place[i], place[j]); got != want {
				t.Errorf("%v and %v compare as %d, want %d", scores[i], scores[j], got, want)
			}
		}
	}
}

// TestIndexTopKSizes goes over the edges of chunks, at the schedules in use.
func TestIndexTopKSizes(t *testing.T) {
	for _, k := range []int{1, 8, 512} {
		for _, machine := range targets {
			x := newIndexTest(t, indexCase{target: machine, heads: 8, dim: 8, ratio: 1, k: k, chunk: 1024, rows: slotRows(0, 510, 511, 512, 1022, 1023, 1024, 2046, 2047, 2048)})
			x.check(t, x.run(t))
		}
	}
}

// TestIndexTopKRowsAlone: a row's choice does not depend on its companions,
// with scores that are not exact.
func TestIndexTopKRowsAlone(t *testing.T) {
	rows := slices.Concat(slotRows(1, 150), slotRows(0, 400), slotRows(2, 90))
	c := indexCase{heads: 8, dim: 32, ratio: 1, k: 8, chunk: 64, spread: 3}
	choose := func(rows []ir.Row) []int32 {
		c.rows = rows
		x := newIndexTest(t, c)
		for key := range x.keys {
			x.keys[key] = normals(rand.New(rand.NewPCG(uint64(key[0]), uint64(key[1]))), c.dim)
		}
		x.mem.fillCache(t, "keys", "f32", c.dim, 0, false, x.keys)
		return x.run(t)
	}
	for _, c.target = range targets {
		together := choose(rows)
		for r := range rows {
			if alone := choose(rows[r : r+1]); !slices.Equal(alone, together[r*c.k:(r+1)*c.k]) {
				t.Errorf("%s: row %d: %v alone, %v in company", c.target.Name, r, alone, together[r*c.k:(r+1)*c.k])
			}
		}
	}
}

func TestIndexTopKRefuses(t *testing.T) {
	for _, c := range []indexCase{
		{target: target.GPU, heads: 8, dim: 30, ratio: 1, k: 8, chunk: 64, rows: slotRows(0, 0)},
		{target: target.GPU, heads: 8, dim: 32, ratio: 1, k: 8, chunk: 1 << 14, rows: slotRows(0, 0)},
	} {
		x := newIndexTest(t, c)
		if _, err := x.in.indexTopK(x.view, chunking{size: c.chunk}); err == nil {
			t.Errorf("%s was accepted", c)
		}
	}
}
