package lower

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// testTokens is how many different tokens there are; each has a row of every
// input. No step has more than testMaxRows rows.
const (
	testTokens     = 512
	testMaxRows    = 150
	testCacheSlots = 3
)

// cacheTest is a module with its numbers, and memory for its kernels.
type cacheTest struct {
	entries []testEntry
	module  *ir.Module
	mem     *memory
	tables  map[string][]float32 // parameters
}

func newCacheTest(t *testing.T, machine target.Target, entries []testEntry, rounded bool, tables map[string][]float32) *cacheTest {
	t.Helper()
	m := cacheModule(t, entries, rounded)
	c := &cacheTest{entries: entries, module: m, tables: tables}
	in := &Input{Module: m, Region: m.Regions[0], Caches: map[string]*program.Cache{}, Step: program.NewStep(m, testMaxRows), Target: machine, Params: storage.Parameters{}}
	c.mem = newMemory(in, nil)
	for _, s := range m.States {
		name := s.Stored
		if name == "" {
			name = "f32"
		}
		n, _ := s.Row.Shape[0].Value()
		cache := &program.Cache{State: s, Row: rowLayout(t, name, int(n)), Slots: testCacheSlots, Capacity: 64}
		if keep, fixed := s.Keep.Value(); fixed {
			cache.Ring, cache.Capacity = true, int(keep)+testMaxRows-1
			if keep == 8 {
				cache.Capacity = 256
			}
		}
		in.Caches[s.Name] = cache
		c.mem.states[s.Name] = poisoned(cache.Slots * cache.Capacity * cache.Row.Bytes)
	}
	for _, p := range m.Params {
		cols, _ := p.Type.Shape[p.Type.Rank()-1].Value()
		if _, made := tables[p.Name]; !made {
			n := 1
			for _, d := range p.Type.Shape {
				size, _ := d.Value()
				n *= int(size)
			}
			tables[p.Name] = normals(rand.New(rand.NewPCG(uint64(len(tables)), 8)), n)
		}
		in.Params[p.Name] = &storage.Parameter{Name: p.Name, Rows: len(tables[p.Name]) / int(cols), Cols: int(cols), Lead: 1, Encoding: encoding.Plain{DType: encoding.F32}, Pieces: []storage.Piece{{}}}
		c.mem.weights[weightPlane{p.Name, encoding.Weight}] = floatBytes(tables[p.Name])
	}
	return c
}

func rowLayout(t *testing.T, format string, width int) encoding.RowLayout {
	t.Helper()
	f, err := encoding.ParseRow(format)
	if err != nil {
		t.Fatal(err)
	}
	l, err := f.Layout(width)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// row is a token's row of a parameter.
func (c *cacheTest) row(param string, token int32, width int) []float32 {
	return c.tables[param][int(token)*width:][:width]
}

// stored is the memory of one row of a state.
func (c *cacheTest) stored(state string, slot int32, index int) []byte {
	cache := c.mem.in.Caches[state]
	at := int(slot)*cache.Capacity + index%cache.Capacity
	return c.mem.states[state][at*cache.Row.Bytes:][:cache.Row.Bytes]
}

// decoded is one row of a state as values.
func (c *cacheTest) decoded(state string, slot int32, index int) []float32 {
	layout := c.mem.in.Caches[state].Row
	values := make([]float32, layout.Width)
	encoding.DecodeRow(layout, values, c.stored(state, slot, index))
	return values
}

// step does what launches before the region's would, then runs that.
func (c *cacheTest) step(t *testing.T, rows []ir.Row) {
	t.Helper()
	c.mem.rows = rows
	clear(c.mem.values)
	values := map[string]*ir.Value{}
	for _, n := range c.module.Nodes {
		values[n.Result.Name] = n.Result
	}
	for _, e := range c.entries {
		if e.ratio == 0 {
			var x []float32
			for _, r := range rows {
				x = append(x, c.row(e.name+".x", r.Token, e.width)...)
			}
			c.mem.values[values[e.name+".x"]] = floatBytes(x)
			continue
		}
		for _, r := range rows {
			for _, log := range []string{e.name + ".values", e.name + ".scores"} {
				copy(c.stored(log, r.Slot, int(r.Position)), floatBytes(c.row(log, r.Token, e.channels())))
			}
		}
	}
	for _, phase := range []program.Phase{program.Decode, program.Prefill} {
		c.mem.in.Phase = phase
		launches, err := Lower(c.mem.in)
		if err != nil {
			t.Fatal(err)
		}
		if len(launches) != 1 {
			t.Fatalf("%d launches", len(launches))
		}
		c.mem.run(t, launches)
		if len(rows) > program.MaxDecodeRows { // the kinds have the same kernel
			break
		}
	}
}

// appended lists the rows that a step appends to an entry's state.
func (e testEntry) appended(rows []ir.Row) (out []ir.Row, index []int) {
	for _, r := range rows {
		switch {
		case e.ratio == 0:
			out, index = append(out, r), append(index, int(r.Position))
		case (int(r.Position)+1)%e.ratio == 0:
			out, index = append(out, r), append(index, int(r.Position)/e.ratio)
		}
	}
	return out, index
}

// reference evaluates steps and returns what each appends to the entries, by name.
func reference[F tensor.Float](t *testing.T, c *cacheTest, steps [][]ir.Row) []map[string][]F {
	t.Helper()
	machine, err := eval.New[F](c.module, func(name string) tensor.Source {
		var values []float64
		for _, v := range c.tables[name] {
			values = append(values, float64(v))
		}
		return tensor.NewMatrix(values, c.mem.in.Params[name].Cols)
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string][]F
	machine.Observe = func(name string, v tensor.Value[F]) {
		for _, e := range c.entries {
			if e.name == name {
				out[len(out)-1][name] = slices.Clone(v.Dense())
			}
		}
	}
	for _, rows := range steps {
		out = append(out, map[string][]F{})
		if _, err := machine.Step(rows, nil); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// testSteps are prompts in chunks and single rows of two slots: blocks end
// inside and at the end of steps, steps without closing rows are among them,
// and positions pass the rings' capacity.
func testSteps(last int) [][]ir.Row {
	row := func(slot, position int) ir.Row {
		return ir.Row{Token: int32((slot*251 + position) % testTokens), Position: int32(position), Slot: int32(slot)}
	}
	var rows []ir.Row
	for p := range last {
		rows = append(rows, row(2, p))
	}
	both := slices.Clone(rows[3:9])
	for p := range 5 {
		both = append(both, row(0, p))
	}
	return [][]ir.Row{
		rows[:3], both, {row(0, 5), rows[9]}, {rows[10]}, rows[11:min(140, last)], rows[min(140, last):],
	}
}

var (
	roundFP8 = func(width, tail int) []ops.RoundAttr {
		return []ops.RoundAttr{{Format: "e4m3", Block: 64, Count: width - tail}, {Format: "bf16", From: width - tail, Count: tail}}
	}
	roundFP4  = func(width int) []ops.RoundAttr { return []ops.RoundAttr{{Format: "e2m1", Block: 32, Count: width}} }
	roundBF   = func(width int) []ops.RoundAttr { return []ops.RoundAttr{{Format: "bf16", Count: width}} }
	testCases = [][]testEntry{
		{{name: "window", width: 96, norm: true, rope: 32, round: roundFP8(96, 32), format: "fp8_b64_r32"}},
		{
			{name: "window", width: 512, norm: true, rope: 64, round: roundFP8(512, 64), format: "fp8_b64_r64"},
			{name: "entries", width: 512, ratio: 4, overlap: true, norm: true, rope: 64, round: roundFP8(512, 64), format: "fp8_b64_r64"},
			{name: "keys", width: 128, ratio: 4, overlap: true, norm: true, rope: 64, hadamard: true, round: roundFP4(128), format: "fp4_b32"},
		},
		{
			{name: "window", width: 160, norm: true, rope: 64, round: roundFP8(160, 64), format: "fp8_b64_r64"},
			{name: "entries", width: 160, ratio: 128, norm: true, rope: 64, round: roundFP8(160, 64), format: "fp8_b64_r64"},
		},
		{
			{name: "wide", width: 256, ratio: 3, overlap: true, norm: true, rope: 6, hadamard: true, round: roundBF(256), format: "bf16"},
			{name: "small", width: 8, ratio: 5, norm: true, hadamard: true, round: roundFP4(8), format: "fp4_b32"},
			{name: "real", width: 192, norm: true, rope: 64, round: append(roundFP8(192, 64), roundFP4(192)...), format: "f32"},
			{name: "huge", width: 640, ratio: 4, rope: 640, round: roundFP8(640, 0)[:1], format: "fp8_b64_r0"},
		},
	}
)

// TestCache: without rounding, kernels append what the evaluator computes in
// float64, within a bound for sums; with rounding exactly that, rounded and
// stored as the reference does it. All other memory stays as it was.
func TestCache(t *testing.T) {
	for _, machine := range sample.Short(t, targets, 1) {
		for i, entries := range testCases {
			testCache(t, machine, entries, i%2 == 1)
		}
	}
}

func testCache(t *testing.T, machine target.Target, entries []testEntry, native bool) {
	tables := map[string][]float32{}
	real := newCacheTest(t, machine, entries, false, tables)
	stored := newCacheTest(t, machine, entries, true, tables)
	for _, c := range []*cacheTest{real, stored} { // compared to the bit, so both in one way
		c.mem.native, c.mem.interpreted = native, !native
	}
	steps := testSteps(150)
	wants := reference[float64](t, real, steps)
	written := map[string]map[int]bool{}
	for i, rows := range steps {
		real.step(t, rows)
		stored.step(t, rows)
		for _, e := range entries {
			appended, index := e.appended(rows)
			for n, r := range appended {
				got := floats(real.stored(e.name, r.Slot, index[n]))
				e.checkReal(t, r, got, wants[i][e.name][n*e.width:][:e.width])
				stored.checkStored(t, e, r, index[n], got)
				if written[e.name] == nil {
					written[e.name] = map[int]bool{}
				}
				written[e.name][int(r.Slot)*1e6+index[n]%stored.mem.in.Caches[e.name].Capacity] = true
			}
		}
	}
	for _, e := range entries {
		stored.checkPoison(t, e.name, written[e.name])
	}
}

// checkReal compares with the evaluator in float64. Softmax weights are
// positive and add up to 1, so that the error of pooling counts at the size of
// the values; a norm makes it larger by 1/rms, at most the root of the tokens.
func (e testEntry) checkReal(t *testing.T, r ir.Row, got []float32, want []float64) {
	t.Helper()
	largest := 1.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	bound := float64(e.tokens()+e.width+32) * 0x1p-24 * largest * math.Sqrt(float64(e.tokens()))
	for i := range got {
		if !(math.Abs(float64(got[i])-want[i]) <= bound) {
			t.Fatalf("%s of %+v: element %d is %v, want %v within %g", e.name, r, i, got[i], want[i], bound)
		}
	}
}

// checkStored compares with a vector that was not rounded yet: what is stored
// must be its rounding, in the bytes that the reference writes. (Formats that
// hold rounded values do the rounding.)
func (c *cacheTest) checkStored(t *testing.T, e testEntry, r ir.Row, index int, vector []float32) {
	t.Helper()
	have, layout := c.stored(e.name, r.Slot, index), c.mem.in.Caches[e.name].Row
	rounded, source := slices.Clone(vector), vector
	for _, a := range e.round {
		roundLike(t, a, rounded)
	}
	if e.format == "f32" {
		source = rounded
	}
	want := make([]byte, layout.Bytes)
	encoding.EncodeRow(layout, want, source)
	if !slices.Equal(have, want) {
		t.Fatalf("%s of %+v is stored as\n%x, want\n%x", e.name, r, have, want)
	}
	if values := c.decoded(e.name, r.Slot, index); !sameBits(values, rounded) {
		t.Fatalf("%s of %+v is stored as %v, want %v", e.name, r, values, rounded)
	}
}

// roundLike is ops.RoundTo for one vector.
func roundLike(t *testing.T, a ops.RoundAttr, v []float32) {
	t.Helper()
	v = v[a.From:][:a.Count]
	if a.Format == "bf16" {
		for i, x := range v {
			v[i] = num.BF16ToF32(num.F32ToBF16(x))
		}
		return
	}
	code, err := encoding.BlockCodeNamed(a.Format)
	if err != nil {
		t.Fatal(err)
	}
	for block := range slices.Chunk(v, a.Block) {
		encoding.Round(code, block)
	}
}

// checkPoison: rows that nothing was appended to are untouched.
func (c *cacheTest) checkPoison(t *testing.T, state string, written map[int]bool) {
	t.Helper()
	cache := c.mem.in.Caches[state]
	for slot := range cache.Slots {
		for i := range cache.Capacity {
			row := c.stored(state, int32(slot), i)
			if !written[slot*1e6+i] && !slices.Equal(row, poisoned(len(row))) {
				t.Fatalf("%s: row %d of slot %d was written", state, i, slot)
			}
		}
	}
}
