package lower

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/cpu/native"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// targets are those that every family is tested for. Only some cases of a test
// run for those after the first.
var targets = []target.Target{target.GPU, target.CPU8}

// cpu is the target of processors with registers of 4, 8 or 16 lanes.
func cpu(lanes int) target.Target {
	return map[int]target.Target{4: target.CPU4, 8: target.CPU8, 16: target.CPU16}[lanes]
}

// unlessShort is how many of a test's cases are drawn: n, or fewer with -short.
func unlessShort(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// memory is what a test's launches see, by the things that arguments name.
// Values that are not set are made, full of poison, where a launch needs them.
type memory struct {
	in          *Input
	native      bool // all kernels for processors run as machine code, not only some
	interpreted bool // none does
	text        bool // kernels for GPUs run as their Metal text too
	rows        []ir.Row
	sources     []int32 // of the rows' tokens, by row; none: they are given
	into        int     // the place of the first wanted row's token
	wanted      []int32
	choices     []pick.Choice // of the wanted rows
	asks        []scoreAsk    // of scores
	values      map[*ir.Value][]byte
	weights     map[weightPlane][]byte
	tables      map[weightPlane][]byte
	states      map[string][]byte
	kept        map[string][]byte // of rings, the slots'
	scratch     map[*program.Scratch][]byte
}

type weightPlane struct {
	param string
	role  encoding.Role
}

func newMemory(in *Input, rows []ir.Row) *memory {
	return &memory{
		in: in, rows: rows,
		values: map[*ir.Value][]byte{}, weights: map[weightPlane][]byte{}, tables: map[weightPlane][]byte{},
		states: map[string][]byte{}, scratch: map[*program.Scratch][]byte{},
	}
}

// run executes launches one after another.
func (m *memory) run(t *testing.T, launches []program.Launch) {
	t.Helper()
	step := m.stepBlock(t)
	for _, l := range launches {
		if err := kernel.Verify(l.Kernel); err != nil {
			t.Fatalf("kernel %s: %v", l.Kernel.Name, err)
		}
		buffers, scalars := map[string][]byte{}, map[string]int32{}
		for _, a := range l.Args {
			if a.Shift != "" {
				scalars[a.Param] = int32(8 * (m.in.Params[a.Shift].Skew(0, encoding.Weight) % 4))
				continue
			}
			buffers[a.Param] = m.bytes(t, a)
		}
		var grid [3]int
		for i, e := range l.Grid {
			grid[i] = m.eval(t, e)
		}
		launch := interp.Launch{Buffers: buffers, Scalars: scalars, Step: step, Grid: grid}
		if m.in.Target.Vector > 0 {
			m.runNative(t, l.Kernel, launch)
			continue
		}
		if m.text {
			runText(t, l.Kernel, launch)
			continue
		}
		if err := interp.Run(l.Kernel, launch); err != nil {
			t.Fatal(err)
		}
	}
}

// libLLVM is loaded once.
var libLLVM = sync.OnceValues(func() (*jit.LLVM, error) { return jit.Open("") })

// codes holds machine code by the kernel's text: rows run alone, and the steps of
// a sequence, have kernels that others had before them.
var codes struct {
	sync.Mutex
	of map[string]*native.Code
}

func codeOf(l *jit.LLVM, k *kernel.Kernel, text string) (*native.Code, error) {
	codes.Lock()
	code := codes.of[text]
	codes.Unlock()
	if code != nil {
		return code, nil
	}
	code, err := native.Compile(l, k)
	if err != nil {
		return nil, err
	}
	codes.Lock()
	defer codes.Unlock()
	if codes.of == nil {
		codes.of = map[string]*native.Code{}
	}
	codes.of[text] = code
	return code, nil
}

// runNative executes a kernel as machine code where libLLVM is there; of large
// tests one in a few, since compiling takes longer than the interpreter, which
// goes first and finds races and places outside buffers.
func (m *memory) runNative(t *testing.T, k *kernel.Kernel, launch interp.Launch) {
	t.Helper()
	restore := interpret(t, k, launch)
	l, err := libLLVM()
	text := kernel.Print(k)
	if sample := sha256.Sum256([]byte(text)); err != nil || testing.Short() || m.interpreted || !m.native && sample[0]%16 > 0 {
		return
	}
	restore()
	code, err := codeOf(l, k, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := code.Run(launch); err != nil {
		t.Fatal(err)
	}
}

// interpret runs a kernel in the interpreter; restore undoes what it wrote.
func interpret(t *testing.T, k *kernel.Kernel, launch interp.Launch) (restore func()) {
	t.Helper()
	before := maps.Clone(launch.Buffers)
	for name, b := range before {
		before[name] = bytes.Clone(b)
	}
	if err := interp.Run(k, launch); err != nil {
		t.Fatal(err)
	}
	return func() {
		for name, b := range before {
			copy(launch.Buffers[name], b)
		}
	}
}

// bytes is the memory an argument names.
func (m *memory) bytes(t *testing.T, a program.Arg) []byte {
	t.Helper()
	switch {
	case a.Value != nil:
		if m.values[a.Value] == nil {
			n := 4
			for _, d := range a.Value.Type.Shape {
				n *= m.eval(t, d)
			}
			m.values[a.Value] = poisoned(n)
		}
		return m.values[a.Value]
	case a.Scratch != nil:
		if m.scratch[a.Scratch] == nil {
			m.scratch[a.Scratch] = poisoned(m.eval(t, a.Scratch.Bytes))
		}
		return m.scratch[a.Scratch]
	case a.Weight != nil && a.Weight.Table:
		return m.tables[weightPlane{a.Weight.Param, a.Weight.Role}]
	case a.Weight != nil:
		return m.weights[weightPlane{a.Weight.Param, a.Weight.Role}]
	case a.Kept != "":
		return m.kept[a.Kept]
	}
	if m.states[a.State] == nil {
		c := m.in.Caches[a.State]
		m.states[a.State] = poisoned(c.Slots * c.Capacity * c.Row.Bytes)
	}
	return m.states[a.State]
}

// poisoned is memory of NaNs, or -1s.
func poisoned(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func (m *memory) eval(t *testing.T, e ir.Expr) int {
	t.Helper()
	n, err := e.Eval(func(name string) (int64, bool) { return m.symbol(name) })
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// symbol is the step's value of a symbol.
func (m *memory) symbol(name string) (int64, bool) {
	switch draws := slices.ContainsFunc(m.choices, func(c pick.Choice) bool { return c.Inv > 0 }); {
	case name == program.SampledRows || name == program.DrawnRows && draws:
		return int64(len(m.choices)), true
	case name == program.DrawnRows:
		return 0, true
	case name == program.ScoredTokens:
		return int64(len(m.asks)), true
	}
	for _, s := range m.in.Module.Symbols {
		if s.Name != name {
			continue
		}
		switch s.Def {
		case ir.Rows:
			return int64(len(m.rows)), true
		case ir.Wanted:
			return int64(len(m.wanted)), true
		case ir.Closing:
			return int64(len(m.closing(int(s.Arg)))), true
		}
		reach := int64(0)
		for _, r := range m.rows {
			reach = max(reach, int64(r.Position)+1)
		}
		return reach, true
	}
	return 0, false
}

// closing lists the rows that close a block.
func (m *memory) closing(ratio int) (rows []int32) {
	for i, r := range m.rows {
		if (int(r.Position)+1)%ratio == 0 {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

// stepBlock fills the step block as a run would; what no row uses is poison.
func (m *memory) stepBlock(t *testing.T) []byte {
	t.Helper()
	s := m.in.Step
	block := poisoned(s.Layout.Bytes())
	put := func(field string, i int, bits uint32) {
		binary.LittleEndian.PutUint32(block[s.Layout.Offset(field)+4*i:], bits)
	}
	for _, sym := range s.Symbols {
		n, _ := m.symbol(sym.Name)
		put(sym.Name, 0, uint32(n))
	}
	for i, r := range m.rows {
		if i < s.Sampled {
			put(program.Source, i, math.MaxUint32)
		}
		if i >= len(m.sources) || m.sources[i] < 0 {
			put("token", i, uint32(r.Token))
		} else {
			put(program.Source, i, uint32(m.sources[i]))
		}
		put("position", i, uint32(r.Position))
		put("slot", i, uint32(r.Slot))
	}
	for i, w := range m.wanted {
		put("wanted", i, uint32(w))
	}
	if s.Vocab > 0 {
		put(program.SampleInto, 0, uint32(m.into))
		put(program.ScoreInto, 0, uint32(m.into))
	}
	m.putChoices(put)
	for i, a := range m.asks {
		put(program.ScoreRow, i, uint32(a.row))
		put(program.ScoreToken, i, uint32(a.token))
		put(program.ScoreTop, i, uint32(a.top))
	}
	for _, ratio := range s.Closing {
		for i, r := range m.closing(ratio) {
			put(fmt.Sprintf("closing%d", ratio), i, uint32(r))
		}
	}
	for n, r := range s.Ropes {
		var positions []int
		for _, row := range m.rows {
			positions = append(positions, int(row.Position))
		}
		if r.Ratio > 0 {
			positions = nil
			for _, row := range m.closing(r.Ratio) {
				positions = append(positions, int(m.rows[row].Position)-(r.Ratio-1))
			}
		}
		for i, p := range positions {
			for j, f := range r.Attr.Frequencies() {
				sin, cos := num.SinCos(float64(p) * f)
				put(fmt.Sprintf("rope%d", n), i*r.Attr.Dims+2*j, math.Float32bits(float32(cos)))
				put(fmt.Sprintf("rope%d", n), i*r.Attr.Dims+2*j+1, math.Float32bits(float32(sin)))
			}
		}
	}
	return block
}

// putChoices fills in the choices, with a mask and a part of the lists for each.
func (m *memory) putChoices(put func(field string, i int, bits uint32)) {
	changes := 0
	for i, c := range m.choices {
		put(program.SampleInv, i, math.Float32bits(c.Inv))
		put(program.SampleTopK, i, uint32(c.TopK))
		put(program.SampleTopP, i, c.TopP)
		put(program.SampleMinP, i, c.MinP)
		put(program.SampleRandom, i, c.Random)
		words := pick.MaskWords(m.in.Step.Vocab)
		put(program.SampleMask, i, uint32(len(m.choices)-1-i))
		for w := range words {
			bits := uint32(math.MaxUint32)
			if c.Allowed != nil {
				bits = binary.LittleEndian.Uint32(c.Allowed.Bytes()[4*w:])
			}
			put(program.SampleMasks, (len(m.choices)-1-i)*words+w, bits)
		}
		put(program.SampleFrom, i, uint32(changes))
		if c.Changes != nil {
			put(program.SamplePositive, i, math.Float32bits(c.Changes.Positive))
			put(program.SampleNegative, i, math.Float32bits(c.Changes.Negative))
			for _, x := range c.Changes.Tokens {
				put(program.SampleTokens, changes, uint32(x.Word()))
				put(program.SampleLess, changes, math.Float32bits(x.Less))
				changes++
			}
		}
		put(program.SampleTo, i, uint32(changes))
	}
}

// floatBytes and intBytes lay numbers out as kernels read them, floats and ints
// are the inverse.
func floatBytes(x []float32) []byte {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return b
}

func intBytes(x []int32) []byte {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(v))
	}
	return b
}

func floats(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

func ints(b []byte) []int32 {
	x := make([]int32, len(b)/4)
	for i := range x {
		x[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// normals are random numbers around 0.
func normals(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// testValue is a value of a test module: T rows of the given sizes.
func testValue(id int, elem ir.Elem, sizes ...int) *ir.Value {
	shape := []ir.Expr{ir.Sym("T")}
	return &ir.Value{ID: id, Type: ir.Tensor(elem, append(shape, ir.Dims(sizes...)...)...)}
}

// testInput is the input of a region of a module that has symbols T and P and
// a rotation of its rows.
func testInput(machine target.Target, rope ops.RopeAttr, phase program.Phase, region string) *Input {
	position := &ir.Value{ID: 900, Name: "position", Type: ir.Tensor(ir.I32, ir.Sym("T"))}
	turned := &ir.Node{Op: ops.Rope, Attr: rope, Args: []*ir.Value{testValue(901, ir.F32, rope.Dims), position}, Result: testValue(902, ir.F32, rope.Dims)}
	m := &ir.Module{
		Symbols: []ir.Symbol{{Name: "T", Def: ir.Rows}, {Name: "P", Def: ir.Reach}},
		Inputs:  []*ir.Value{position}, Nodes: []*ir.Node{turned},
		Regions: []*ir.Region{{Kind: region, Name: region}},
	}
	return &Input{Module: m, Region: m.Regions[0], Phase: phase, Caches: map[string]*program.Cache{}, Step: program.NewStep(m, 32), Target: machine}
}

// fillCache makes a cache of one slot more than content has and writes content,
// by slot and index, into it; all else is poison. A ring keeps at least keep
// rows. Content becomes what the format keeps of it.
func (m *memory) fillCache(t *testing.T, name, format string, width, keep int, ring bool, content map[[2]int][]float32) {
	t.Helper()
	f, err := encoding.ParseRow(format)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := f.Layout(width)
	if err != nil {
		t.Fatal(err)
	}
	c := &program.Cache{State: &ir.State{Name: name, Row: ir.Tensor(ir.F32, ir.Const(int64(width))), Stored: format}, Row: layout, Capacity: 1, Ring: ring, Slots: 2}
	newest := map[int]int{}
	for at := range content {
		c.Slots = max(c.Slots, at[0]+2)
		newest[at[0]] = max(newest[at[0]], at[1])
		if !ring {
			c.Capacity = max(c.Capacity, at[1]+1)
		}
	}
	for ring && c.Capacity < keep {
		c.Capacity *= 2
	}
	m.in.Caches[name] = c
	bytes := poisoned(c.Slots * c.Capacity * layout.Bytes)
	for at, row := range content {
		stored := make([]byte, layout.Bytes)
		encoding.EncodeRow(layout, stored, row)
		encoding.DecodeRow(layout, row, stored)
		if newest[at[0]]-at[1] < c.Capacity {
			copy(bytes[(at[0]*c.Capacity+at[1]%c.Capacity)*layout.Bytes:], stored)
		}
	}
	m.states[name] = bytes
}
