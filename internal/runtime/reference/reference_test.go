package reference_test

import (
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// vocab is the vocabulary of a model that looks tokens up in a table
// [vocab, vocab] and does nothing else.
const vocab = 5

// table is a parameter whose element (r, c) is 10 r + c.
type table struct{ rows, cols int }

func (t table) Rows() int                { return t.rows }
func (t table) Cols() int                { return t.cols }
func (t table) Ints([]int32, int) error  { panic("no integers") }
func (t table) Row64(d []float64, r int) { panic("the reference device computes in float32") }
func (t table) Row32(d []float32, r int) {
	for c := range d {
		d[c] = float32(10*r + c)
	}
}

func weights(name string) tensor.Source {
	if name == "table" {
		return table{vocab, vocab}
	}
	return nil
}

// build makes a module; results says what it returns of x [rows, vocab] and
// the wanted rows of x.
func build(t *testing.T, results func(b *ir.Builder, x, wanted *ir.Value) *ir.Value) *ir.Module {
	t.Helper()
	b := ir.NewBuilder("small", ir.Symbol{Name: "T", Def: ir.Rows}, ir.Symbol{Name: "W", Def: ir.Wanted})
	token := b.Input("token", ir.Tensor(ir.I32, ir.Sym("T")))
	wanted := b.Input("wanted", ir.Tensor(ir.I32, ir.Sym("W")))
	b.Param(ir.Param{Name: "table", Type: ir.Tensor(ir.F32, ir.Dims(vocab, vocab)...)})
	x := b.Add(ops.TakeRows, nil, b.AddNaming(ops.Dequantize, nil, "table"), token)
	b.Name(x, "looked_up")
	b.Return(results(b, x, wanted))
	m, err := b.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func logits(b *ir.Builder, x, wanted *ir.Value) *ir.Value { return b.Add(ops.TakeRows, nil, x, wanted) }

func newDevice(t *testing.T) *reference.Device {
	t.Helper()
	d, err := reference.New(build(t, logits), weights)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPace: a step says how far it is while it runs, and nothing is done between steps.
func TestPace(t *testing.T) {
	d := newDevice(t)
	between := func(when string) {
		if done, total := d.Pace(); done != 0 || total < 2 {
			t.Errorf("%s: %d of %d", when, done, total)
		}
	}
	between("before the first step")
	seen := 0
	d.Observe(func(string, tensor.Value[float32]) {
		seen++
		if done, total := d.Pace(); done < 1 || done >= total {
			t.Errorf("within a step: %d of %d", done, total)
		}
	})
	if _, err := d.Step([]ir.Row{{Token: 2}}, []int{0}); err != nil || seen == 0 {
		t.Fatalf("%d values seen: %v", seen, err)
	}
	between("after a step")
	if _, err := d.Step([]ir.Row{{Token: 2, Position: 9}}, []int{0}); err == nil {
		t.Error("a step that does not go on is taken")
	}
	between("after one that failed")
}

func TestStep(t *testing.T) {
	d := newDevice(t)
	if d.Name() != "reference" || d.Vocab() != vocab {
		t.Errorf("name %q, vocabulary %d", d.Name(), d.Vocab())
	}
	rows := []ir.Row{{Token: 2, Slot: 3}, {Token: 4, Slot: 1}, {Token: 0, Slot: 3, Position: 1}}
	got, err := d.Step(rows, []int{1, 0, 1})
	want := []float32{40, 41, 42, 43, 44, 20, 21, 22, 23, 24, 40, 41, 42, 43, 44}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want the rows asked for in that order: %v", got, err, want)
	}
	if got, err := d.Step([]ir.Row{{Token: 1, Slot: 1, Position: 1}}, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing wanted: %v, %v", got, err)
	}
}

// TestStepRefuses: after an error every slot is where it was.
func TestStepRefuses(t *testing.T) {
	d := newDevice(t)
	if _, err := d.Step([]ir.Row{{Token: 2, Slot: 3}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		rows   []ir.Row
		wanted []int
		want   string
	}{
		{"no rows", nil, nil, "at least one row"},
		{"gap", []ir.Row{{Slot: 3, Position: 2}}, nil, "slot 3 goes on at position 1, not 2"},
		{"again", []ir.Row{{Slot: 3}}, nil, "slot 3 goes on at position 1, not 0"},
		{"negative slot", []ir.Row{{Slot: -1}}, nil, "slot -1"},
		{"wanted row too high", []ir.Row{{Slot: 3, Position: 1}}, []int{1}, "wanted row 1 is outside 1 rows"},
		{"wanted row negative", []ir.Row{{Slot: 3, Position: 1}}, []int{-1}, "wanted row -1"},
		{"token too high", []ir.Row{{Slot: 3, Position: 1, Token: vocab}}, []int{0}, "looked_up"},
		{"token negative", []ir.Row{{Slot: 3, Position: 1, Token: -1}}, []int{0}, "looked_up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := d.Step(c.rows, c.wanted); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := d.Step([]ir.Row{{Slot: 3, Position: 1}}, nil); err != nil {
		t.Errorf("slot 3 does not go on: %v", err)
	}
	d.Reset(3)
	if _, err := d.Step([]ir.Row{{Slot: 3}}, nil); err != nil {
		t.Errorf("after Reset slot 3 does not begin at 0: %v", err)
	}
}

func TestObserve(t *testing.T) {
	d := newDevice(t)
	var seen []float32
	d.Observe(func(name string, v tensor.Value[float32]) {
		if name == "looked_up" {
			seen = append(seen, v.F...)
		}
	})
	if _, err := d.Step([]ir.Row{{Token: 3}}, nil); err != nil {
		t.Fatal(err)
	}
	d.Observe(nil)
	if _, err := d.Step([]ir.Row{{Token: 1, Position: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	if want := []float32{30, 31, 32, 33, 34}; !slices.Equal(seen, want) {
		t.Errorf("saw %v, want %v", seen, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		results func(b *ir.Builder, x, wanted *ir.Value) *ir.Value
		weights func(string) tensor.Source
		want    string
	}{
		{"rows that were not asked for", func(_ *ir.Builder, x, _ *ir.Value) *ir.Value { return x }, weights, "returns tensor<T x 5 x f32>; a model returns logits"},
		{"integers", func(_ *ir.Builder, _, wanted *ir.Value) *ir.Value { return wanted }, weights, "returns tensor<W x i32>"},
		{"rows of the table", func(b *ir.Builder, _, _ *ir.Value) *ir.Value { return b.AddNaming(ops.Dequantize, nil, "table") }, weights, "returns tensor<5 x 5 x f32>"},
		{"three dimensions", func(b *ir.Builder, x, wanted *ir.Value) *ir.Value {
			return b.Add(ops.Reshape, ops.ShapeAttr{Shape: []ir.Expr{ir.Sym("W"), ir.Const(1), ir.Const(vocab)}}, logits(b, x, wanted))
		}, weights, "returns tensor<W x 1 x 5 x f32>"},
		{"no weights", logits, func(string) tensor.Source { return nil }, "parameter @table has no values"},
		{"weights of another size", logits, func(string) tensor.Source { return table{vocab, 4} }, "parameter @table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := reference.New(build(t, c.results), c.weights)
			if err == nil || d != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
