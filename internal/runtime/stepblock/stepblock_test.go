package stepblock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/runtime/sampling"
)

const module = `module @m
symbol T = rows
symbol W = wanted
symbol P = reach
symbol E4 = closing(4)
input %token : tensor<T x i32>
input %position : tensor<T x i32>
input %wanted : tensor<W x i32>
param @table : tensor<8 x 8 x f32>
%t = dequantize @table : tensor<8 x 8 x f32>
%x = take_rows(%t, %token) : tensor<T x 8 x f32>
%y = rope(%x, %position) {dims = 4, theta = 10000.0} : tensor<T x 8 x f32>
%ends = closing_rows(%position) {ratio = 4} : tensor<E4 x i32>
%at = take_rows(%position, %ends) : tensor<E4 x i32>
%back = index_map(%at) {to = i-3} : tensor<E4 x i32>
%e = take_rows(%y, %ends) : tensor<E4 x 8 x f32>
%f = rope(%e, %back) {dims = 4, theta = 10000.0, inverse = true} : tensor<E4 x 8 x f32>
%z = take_rows(%y, %wanted) : tensor<W x 8 x f32>
return %z, %f
`

func TestFill(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 6)
	f := New(s)
	block := make([]byte, f.Bytes())
	rows := []ir.Row{{Token: 5, Position: 1_000_003, Slot: 2}, {Token: 6, Position: 1_000_004, Slot: 2}, {Token: 7, Position: 7, Slot: 0}}
	if err := f.Fill(block, rows, []int{2, 0}, nil); err != nil {
		t.Fatal(err)
	}
	word := func(field string, i int) uint32 {
		at := s.Layout.Offset(field)
		if at < 0 {
			t.Fatalf("no field %s", field)
		}
		return binary.LittleEndian.Uint32(block[at+4*i:])
	}
	for field, want := range map[string][]uint32{
		"T": {3}, "W": {2}, "P": {1_000_005}, "E4": {2},
		"token": {5, 6, 7}, "position": {1_000_003, 1_000_004, 7}, "slot": {2, 2, 0}, "wanted": {2, 0}, "closing4": {0, 2},
	} {
		for i, w := range want {
			if got := word(field, i); got != w {
				t.Errorf("%s[%d] is %d, expected %d", field, i, got, w)
			}
		}
	}
	if v, ok := f.Symbol("P"); !ok || v != 1_000_005 {
		t.Errorf("P is %d", v)
	}
	// Two tables: of the rows' positions, and of closing rows' three back; an
	// inverse rotation uses the same.
	if len(s.Ropes) != 2 {
		t.Fatalf("%d tables of rotations", len(s.Ropes))
	}
	for table, positions := range [][]float64{{1_000_003, 1_000_004, 7}, {1_000_000, 4}} {
		for row, p := range positions {
			for pair, freq := range []float64{1, 0.01} {
				sin, cos := math.Sincos(p * freq)
				got := [2]float64{}
				for i := range got {
					got[i] = float64(math.Float32frombits(word(program.RopeTable(table), 4*row+2*pair+i)))
				}
				if math.Abs(got[0]-cos) > 1e-7 || math.Abs(got[1]-sin) > 1e-7 {
					t.Errorf("table %d, row %d, pair %d: %v, expected %v %v", table, row, pair, got, cos, sin)
				}
			}
		}
	}
}

// TestFillChoices: how tokens are picked, by wanted row; without choices that
// they are not, whatever the block had before.
func TestFillChoices(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 3)
	f := New(s)
	block := make([]byte, f.Bytes())
	rows, wanted := []ir.Row{{}, {Position: 1}}, []int{1, 0}
	word := func(field string, i int) uint32 {
		return binary.LittleEndian.Uint32(block[s.Layout.Offset(field)+4*i:])
	}
	choices := []sampling.Choice{{Inv: 2, TopK: 3, TopP: 1 << 31, MinP: 5, Random: 0xfffffff0}, {}}
	if err := f.Fill(block, rows, wanted, choices); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string][2]uint32{
		program.SampleInv: {math.Float32bits(2), 0}, program.SampleTopK: {3, 0}, program.SampleTopP: {1 << 31, 0}, program.SampleMinP: {5, 0}, program.SampleRandom: {0xfffffff0, 0},
	} {
		if got := [2]uint32{word(field, 0), word(field, 1)}; got != want {
			t.Errorf("%s is %v, expected %v", field, got, want)
		}
	}
	for _, c := range []struct {
		choices        []sampling.Choice
		sampled, drawn int64
	}{{choices, 2, 2}, {nil, 0, 0}, {make([]sampling.Choice, 2), 2, 0}, {[]sampling.Choice{{}, {Inv: 1}}, 2, 2}} {
		if err := f.Fill(block, rows, wanted, c.choices); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]int64{program.SampledRows: c.sampled, program.DrawnRows: c.drawn} {
			if got, ok := f.Symbol(name); got != want || !ok {
				t.Errorf("%+v: %s is %d, expected %d", c.choices, name, got, want)
			}
		}
	}
	if err := f.Fill(block, rows, wanted, nil); err != nil {
		t.Fatal(err)
	}
	for i := range wanted {
		if inv := math.Float32frombits(word(program.SampleInv, i)); !(inv < 0) {
			t.Errorf("row %d is sampled with %v, though nobody asked", i, inv)
		}
	}
	if err := f.Fill(block, rows, wanted, choices[:1]); err == nil {
		t.Error("one choice for two rows was accepted")
	}
	m.Results = m.Results[1:]
	f = New(program.NewStep(m, 3))
	if err := f.Fill(make([]byte, f.Bytes()), rows, wanted, choices); err == nil {
		t.Error("choices were accepted where there are no logits")
	}
}

// TestFillMasks: rows share masks and have their parts of the lists; what has no room
// is refused.
func TestFillMasks(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	s := program.NewStep(m, 6)
	f := New(s)
	block := bytes.Repeat([]byte{0x5a}, f.Bytes())
	rows, wanted := make([]ir.Row, 5), []int{0, 1, 2, 3, 4}
	some, none := pick.NewMask(8), pick.NewMask(8)
	some.Allow(1)
	some.Allow(7)
	a := &pick.Changes{Positive: 0.5, Negative: 2, Tokens: []pick.Change{{Token: 0, Less: 1}, {Token: 7, Less: -1, Unscaled: true}}}
	b := &pick.Changes{Positive: 1, Negative: 1, Tokens: []pick.Change{{Token: 3, Less: 0.25}}}
	choices := []sampling.Choice{{Allowed: some}, {Changes: a}, {Allowed: none}, {Allowed: some, Changes: b}, {}}
	if err := f.Fill(block, rows, wanted, choices); err != nil {
		t.Fatal(err)
	}
	word := func(field string, i int) uint32 {
		return binary.LittleEndian.Uint32(block[s.Layout.Offset(field)+4*i:])
	}
	float := math.Float32bits
	for field, want := range map[string][]uint32{
		program.SampleMask:  {0, 1, 2, 0, 1},
		program.SampleMasks: {0x82, 0xff, 0, 0x5a5a5a5a},
		program.SampleFrom:  {0, 0, 2, 2, 3}, program.SampleTo: {0, 2, 2, 3, 3},
		program.SampleTokens: {0, math.MaxUint32 - 7, 3}, program.SampleLess: {float(1), float(-1), float(0.25)},
	} {
		for i, w := range want {
			if got := word(field, i); got != w {
				t.Errorf("%s[%d] is %#x, expected %#x", field, i, got, w)
			}
		}
	}
	for field, want := range map[string]map[int]float32{program.SamplePositive: {1: 0.5, 3: 1}, program.SampleNegative: {1: 2, 3: 1}} {
		for i, w := range want {
			if got := word(field, i); got != float(w) {
				t.Errorf("%s[%d] is %#x, expected %v", field, i, got, w)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { f.Fill(block, rows, wanted, choices) }); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
	long := &pick.Changes{Positive: 1, Negative: 1}
	for id := range int32(8) {
		long.Tokens = append(long.Tokens, pick.Change{Token: id})
	}
	if err := f.Fill(block, rows[:1], wanted[:1], []sampling.Choice{{Changes: long}}); err != nil {
		t.Errorf("changes of the whole vocabulary: %v", err)
	}
	for name, c := range map[string][]sampling.Choice{
		"changes of five texts":        {{Changes: long}, {Changes: long}, {Changes: long}, {Changes: long}, {Changes: b}},
		"a mask of another vocabulary": {{Allowed: pick.NewMask(9)}, {}},
		"a change of no token":         {{}, {Changes: &pick.Changes{Tokens: []pick.Change{{Token: 8}}}}},
	} {
		if err := f.Fill(block, rows, wanted[:len(c)], c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	f = New(program.NewStep(m, 100))
	block, rows, wanted = make([]byte, f.Bytes()), make([]ir.Row, 17), make([]int, 17)
	if err := f.Fill(block, rows, wanted, make([]sampling.Choice, 17)); err == nil {
		t.Error("17 tokens were to be picked in one step")
	}
}

// vocabularyModule has logits for so many tokens.
func vocabularyModule(t *testing.T, vocab int) *ir.Module {
	t.Helper()
	m, err := text.Parse("module", fmt.Sprintf(`module @m
symbol T = rows
symbol W = wanted
input %%token : tensor<T x i32>
input %%position : tensor<T x i32>
input %%wanted : tensor<W x i32>
param @table : tensor<%[1]d x %[1]d x f32>
%%t = dequantize @table : tensor<%[1]d x %[1]d x f32>
%%x = take_rows(%%t, %%token) : tensor<T x %[1]d x f32>
%%y = rope(%%x, %%position) {dims = 4, theta = 10000.0} : tensor<T x %[1]d x f32>
%%z = take_rows(%%y, %%wanted) : tensor<W x %[1]d x f32>
return %%z
`, vocab))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// changes are of so many tokens, from the first on.
func changes(n int) *pick.Changes {
	c := &pick.Changes{Positive: 0.5, Negative: 2}
	for id := range int32(n) {
		c.Tokens = append(c.Tokens, pick.Change{Token: id, Less: 1})
	}
	return c
}

// TestUsedBytes: of a block for DeepSeek's vocabulary, which has room for sixteen masks
// and changes of every logit of four rows, a step uses what it has.
func TestUsedBytes(t *testing.T) {
	const vocab, mask = 129280, 129280 / 8
	s := program.NewStep(vocabularyModule(t, vocab), 16)
	f := New(s)
	head := s.Layout.Offset(program.SampleMasks)
	if all := head + 16*mask + 4*2*4*vocab; f.Bytes() != all || head > 4<<10 {
		t.Fatalf("a block of %d bytes, %d of them before the masks; expected %d", f.Bytes(), head, all)
	}
	a, b := pick.NewMaskOfAll(vocab), pick.NewMask(vocab)
	for name, c := range map[string]struct {
		choices []sampling.Choice
		bytes   int
	}{
		"logits alone":         {nil, head},
		"nothing allowed":      {[]sampling.Choice{{}, {}}, head + mask},
		"one mask":             {[]sampling.Choice{{Allowed: a}, {Allowed: a}}, head + mask},
		"two masks":            {[]sampling.Choice{{Allowed: a}, {Allowed: b}}, head + 2*mask},
		"a mask and none":      {[]sampling.Choice{{Allowed: b}, {}}, head + 2*mask},
		"changes":              {[]sampling.Choice{{Changes: changes(100)}, {}}, head + mask + 800},
		"changes of both":      {[]sampling.Choice{{Changes: changes(100)}, {Changes: changes(1), Allowed: a}}, head + 2*mask + 808},
		"changes of nothing":   {[]sampling.Choice{{Changes: changes(0)}, {}}, head + mask},
		"changes of all":       {[]sampling.Choice{{}, {Changes: changes(vocab)}}, head + mask + 8*vocab},
		"changes of all twice": {[]sampling.Choice{{Changes: changes(vocab)}, {Changes: changes(vocab)}}, head + mask + 16*vocab},
	} {
		for _, poison := range []byte{0x5a, 0xa5} { // what is written shows beside one of them
			block := bytes.Repeat([]byte{poison}, f.Bytes())
			if err := f.Fill(block, make([]ir.Row, 2), []int{0, 1}, c.choices); err != nil {
				t.Fatal(err)
			}
			n, at := 0, 0
			for _, part := range append(slices.Clone(f.Used()), Span{f.Bytes(), f.Bytes()}) {
				if part.From < at || part.To < part.From {
					t.Fatalf("%s: parts %v", name, f.Used())
				}
				if left := block[at:part.From]; bytes.Count(left, []byte{poison}) != len(left) {
					t.Errorf("%s: something is written between %d and %d, which is not used", name, at, part.From)
				}
				n, at = n+part.To-part.From, part.To
			}
			if n != c.bytes {
				t.Errorf("%s: %d bytes are used, expected %d", name, n, c.bytes)
			}
		}
	}
}

// TestUsedWithoutLogits: where no tokens are picked, all of the block is used.
func TestUsedWithoutLogits(t *testing.T) {
	m := vocabularyModule(t, 8)
	m.Results = m.Results[:0]
	f := New(program.NewStep(m, 3))
	for range 2 {
		if err := f.Fill(make([]byte, f.Bytes()), make([]ir.Row, 1), nil, nil); err != nil {
			t.Fatal(err)
		}
		if got := f.Used(); !slices.Equal(got, []Span{{0, f.Bytes()}}) {
			t.Errorf("%v of %d bytes", got, f.Bytes())
		}
	}
}

func TestRefusals(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	f := New(program.NewStep(m, 2))
	block := make([]byte, f.Bytes())
	row := ir.Row{}
	for name, err := range map[string]error{
		"short block":        f.Fill(block[1:], []ir.Row{row}, nil, nil),
		"no rows":            f.Fill(block, nil, nil, nil),
		"too many rows":      f.Fill(block, []ir.Row{row, row, row}, nil, nil),
		"too many asked for": f.Fill(block, []ir.Row{row}, []int{0, 0, 0}, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestFillAllocates: in the decode loop nothing is allocated.
func TestFillAllocates(t *testing.T) {
	m, err := text.Parse("module", module)
	if err != nil {
		t.Fatal(err)
	}
	f := New(program.NewStep(m, 2))
	block, rows, wanted := make([]byte, f.Bytes()), []ir.Row{{Position: 3}}, []int{0}
	if err := f.Fill(block, rows, wanted, nil); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { f.Fill(block, rows, wanted, nil) }); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}
