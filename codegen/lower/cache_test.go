package lower

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt/codegen/storage"
	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/ir/eval"
	"smelt/ir/tensor"
	"smelt/ir/text"
)

// testEntry is one entry of a cache region.
type testEntry struct {
	name     string
	width    int
	ratio    int // 0: not pooled
	overlap  bool
	norm     bool
	rope     int // dimensions
	hadamard bool
	round    []string // attributes of round_to
	format   string   // that rows are stored in with rounding, else f32
}

func (e testEntry) channels() int {
	if e.overlap {
		return 2 * e.width
	}
	return e.width
}

func (e testEntry) tokens() int {
	if e.overlap {
		return 2 * e.ratio
	}
	return max(e.ratio, 1)
}

// testTokens is how many different tokens there are; each has a row of every
// input. A slot has some of them.
const (
	testTokens     = 512
	tokensOfSlot   = 170
	testMaxRows    = 150
	testCacheSlots = 3
)

// cacheModule writes a module with one region of these entries. What comes
// from products in a model is looked up by token here.
func cacheModule(entries []testEntry, rounded bool) string {
	head, before, region := &strings.Builder{}, &strings.Builder{}, &strings.Builder{}
	fmt.Fprintf(head, "module @cache\nsymbol T = rows\nsymbol P = reach\n")
	var yields, ratios, params, states []string
	for _, e := range entries {
		if r := fmt.Sprint(e.ratio); e.ratio > 0 && !slices.Contains(ratios, r) {
			ratios = append(ratios, r)
			fmt.Fprintf(head, "symbol E%s = closing(%s)\n", r, r)
		}
		format := "f32"
		if rounded {
			format = e.format
		}
		keep := "8"
		if e.ratio > 0 {
			keep = fmt.Sprintf("floor(P/%d)", e.ratio)
		}
		states = append(states, fmt.Sprintf("state @%s : tensor<%d x f32> keep %s stored %s", e.name, e.width, keep, format))
		inputs := []string{"x"}
		if e.ratio > 0 {
			inputs = []string{"values", "scores"}
		}
		for _, in := range inputs {
			params = append(params, fmt.Sprintf("param @%s.%s : tensor<%d x %d x f32>", e.name, in, testTokens, e.channels()))
			fmt.Fprintf(before, "%%%[1]s.%[2]s.table = dequantize @%[1]s.%[2]s : tensor<%[3]d x %[4]d x f32>\n", e.name, in, testTokens, e.channels())
			fmt.Fprintf(before, "%%%[1]s.%[2]s = take_rows(%%%[1]s.%[2]s.table, %%token) : tensor<T x %[3]d x f32>\n", e.name, in, e.channels())
			if e.ratio > 0 {
				states = append(states, fmt.Sprintf("state @%s.%s : tensor<%d x f32> keep %d", e.name, in, e.channels(), e.tokens()))
				fmt.Fprintf(before, "%%%[1]s.%[2]s.before = state @%[1]s.%[2]s : state<%[3]d x f32>\n", e.name, in, e.channels())
				fmt.Fprintf(before, "%%%[1]s.%[2]s.log = append(%%%[1]s.%[2]s.before, %%slot, %%position, %%%[1]s.%[2]s) : state<%[3]d x f32>\n", e.name, in, e.channels())
			}
		}
		if e.norm {
			params = append(params, fmt.Sprintf("param @%s.norm : tensor<%d x f32>", e.name, e.width))
		}
		e.writeRegion(region, rounded)
		yields = append(yields, "%"+e.name+".log")
	}
	fmt.Fprintf(head, "input %%token : tensor<T x i32>\ninput %%position : tensor<T x i32>\ninput %%slot : tensor<T x i32>\n")
	fmt.Fprintf(head, "%s\n%s\n", strings.Join(params, "\n"), strings.Join(states, "\n"))
	return head.String() + before.String() + "region cache @layers.3.attn.cache {\n" + region.String() + "}\nreturn %position\n"
}

// writeRegion writes an entry's operations. The vector before rounding is
// called .exact, the one that is appended .vector.
func (e testEntry) writeRegion(w *strings.Builder, rounded bool) {
	rows, n := "T", 0
	line := func(result, typ, format string, args ...any) string {
		if result == "" {
			result = fmt.Sprintf("%%%s.v%d", e.name, n)
			n++
		}
		fmt.Fprintf(w, "  %s = %s : %s\n", result, fmt.Sprintf(format, args...), typ)
		return result
	}
	vector := func() string { return fmt.Sprintf("tensor<%s x %d x f32>", rows, e.width) }
	x, slot, index, turned := "%"+e.name+".x", "%slot", "%position", "%position"
	if e.ratio > 0 {
		rows = fmt.Sprintf("E%d", e.ratio)
		numbers := fmt.Sprintf("tensor<%s x i32>", rows)
		closing := line("", numbers, "closing_rows(%%position) {ratio = %d}", e.ratio)
		position := line("", numbers, "take_rows(%%position, %s)", closing)
		slot = line("", numbers, "take_rows(%%slot, %s)", closing)
		read := func(log, missing string, back, from int) string {
			list := line("", fmt.Sprintf("tensor<%s x %d x i32>", rows, e.ratio), "index_range(%s) {first = i-%d, count = %d, limit = i+1}", position, back+e.ratio-1, e.ratio)
			block := line("", fmt.Sprintf("tensor<%s x %d x %d x f32>", rows, e.ratio, e.channels()), "read(%%%s.%s.log, %s, %s)%s", e.name, log, slot, list, missing)
			if !e.overlap {
				return block
			}
			first := ""
			if from > 0 {
				first = fmt.Sprintf("from = %d, ", from)
			}
			return line("", fmt.Sprintf("tensor<%s x %d x %d x f32>", rows, e.ratio, e.width), "slice(%s) {axis = -1, %scount = %d}", block, first, e.width)
		}
		all := fmt.Sprintf("tensor<%s x %d x %d x f32>", rows, e.tokens(), e.width)
		both := func(log, missing string) string {
			if !e.overlap {
				return read(log, missing, 0, 0)
			}
			own := read(log, missing, 0, e.width)
			return line("", all, "concat(%s, %s) {axis = 1}", read(log, missing, e.ratio, 0), own)
		}
		values := both("values", "")
		soft := line("", all, "softmax(%s) {axis = 1}", both("scores", " {missing = -inf}"))
		product := line("", all, "mul(%s, %s)", soft, values)
		x = line("", vector(), "reduce_sum(%s) {axis = 1}", product)
		turned = line("", numbers, "index_map(%s) {to = i-%d}", position, e.ratio-1)
		if e.ratio == 1 {
			panic("a formula without i-0 is not written here")
		}
		index = line("", numbers, "index_map(%s) {to = floor(i/%d)}", position, e.ratio)
	}
	if e.norm {
		normed := line("", vector(), "rms_norm(%s) {eps = 1e-06}", x)
		weight := line("", fmt.Sprintf("tensor<%d x f32>", e.width), "dequantize @%s.norm", e.name)
		x = line("", vector(), "mul(%s, %s)", normed, weight)
	}
	if e.rope > 0 {
		x = line("", vector(), "rope(%s, %s) {dims = %d, theta = 10000.0}", x, turned, e.rope)
	}
	if e.hadamard {
		x = line("", vector(), "hadamard(%s)", x)
	}
	if rounded {
		for _, r := range e.round {
			x = line("", vector(), "round_to(%s) {%s}", x, r)
		}
	}
	opened := line("", fmt.Sprintf("state<%d x f32>", e.width), "state @%s", e.name)
	line("%"+e.name+".log", fmt.Sprintf("state<%d x f32>", e.width), "append(%s, %s, %s, %s)", opened, slot, index, x)
}

// cacheTest is a module with its numbers, and memory for its kernels.
type cacheTest struct {
	entries []testEntry
	module  *ir.Module
	mem     *memory
	tables  map[string][]float32 // parameters
}

func newCacheTest(t *testing.T, entries []testEntry, rounded bool, tables map[string][]float32) *cacheTest {
	t.Helper()
	src := cacheModule(entries, rounded)
	m, err := text.Parse("cache.ir", src)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	c := &cacheTest{entries: entries, module: m, tables: tables}
	in := &Input{Module: m, Region: m.Regions[0], Caches: map[string]*Cache{}, Step: NewStep(m, testMaxRows), Target: Metal, Params: storage.Parameters{}}
	c.mem = newMemory(in, nil)
	for _, s := range m.States {
		name := s.Stored
		if name == "" {
			name = "f32"
		}
		n, _ := s.Row.Shape[0].Value()
		cache := &Cache{State: s, Row: rowLayout(t, name, int(n)), Slots: testCacheSlots, Capacity: 64}
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
	for _, kind := range []Kind{Decode, Prefill} {
		c.mem.in.Kind = kind
		launches, err := lowerCache(c.mem.in)
		if err != nil {
			t.Fatal(err)
		}
		if len(launches) != 1 {
			t.Fatalf("%d launches", len(launches))
		}
		c.mem.run(t, launches)
		if len(rows) > MaxDecodeRows { // the kinds have the same kernel
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

// reference evaluates steps and returns what each appends to each entry, by name.
func reference[F tensor.Float](t *testing.T, c *cacheTest, steps [][]ir.Row) []map[string][]F {
	t.Helper()
	machine, err := eval.New[F](c.module, func(name string) tensor.Source {
		p := c.mem.in.Params[name]
		m := tensor.Matrix{R: p.Rows, C: p.Cols}
		return sourceOf(m, c.tables[name])
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string][]F
	machine.Observe = func(name string, v tensor.Value[F]) {
		// The vector is the last value but the state's versions.
		out[len(out)-1][name] = slices.Clone(v.Dense())
	}
	for _, rows := range steps {
		out = append(out, map[string][]F{})
		if _, err := machine.Step(rows, nil); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
