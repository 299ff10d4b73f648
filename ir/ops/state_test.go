package ops_test

import (
	"fmt"
	"slices"
	"testing"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

func init() {
	opTests["dequantize"] = func(t *testing.T) { testDequantize[float32](t); testDequantize[float64](t) }
	opTests["state"] = func(t *testing.T) { testState[float32](t); testState[float64](t) }
	opTests["append"] = func(t *testing.T) { testAppend[float32](t); testAppend[float64](t) }
	opTests["read"] = func(t *testing.T) { testRead[float32](t); testRead[float64](t) }
}

func node(op *ir.Op, attr any, result ir.Type) *ir.Node {
	return &ir.Node{Op: op, Attr: attr, Result: &ir.Value{Type: result}}
}

// table is a parameter of integers.
type table struct {
	data []int32
	cols int
}

func (m table) Rows() int            { return len(m.data) / m.cols }
func (m table) Cols() int            { return m.cols }
func (m table) Row32([]float32, int) { panic("holds integers") }
func (m table) Row64([]float64, int) { panic("holds integers") }
func (m table) Ints(dst []int32, r int) error {
	if copy(dst, m.data[r*m.cols:(r+1)*m.cols]) != m.cols {
		return fmt.Errorf("row of %d into %d", m.cols, len(dst))
	}
	return nil
}

func testDequantize[F tensor.Float](t *testing.T) {
	r := newSource(t, 91)
	get := func(result ir.Type, p tensor.Source) (tensor.Value[F], error) {
		typ, err := ops.Dequantize.Types(&ir.Signature{Referent: result})
		if err != nil || !typ.Equal(result) {
			t.Errorf("type %s, %v", typ, err)
		}
		return invoke(&ir.Call[F]{Node: node(ops.Dequantize, nil, result), Param: p})
	}
	for _, shape := range [][]int{{9}, {7, 9}, {2, 3, 8}, {1, 1}} {
		x, last := r.reals(shape...), shape[len(shape)-1]
		v, err := get(ir.Tensor(ir.F32, ir.Dims(shape...)...), tensor.NewMatrix(x.f, last))
		if err != nil || v.Rows == nil || !sameBits(v.Dense(), rounded[F](x.f)) {
			t.Errorf("%v: %v (%v)", shape, v, err)
		}
		n := r.ints(-9, 9, shape...)
		v, err = get(ir.Tensor(ir.I32, ir.Dims(shape...)...), table{n.i, last})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Ints(); err != nil || v.Rows == nil || !slices.Equal(got, n.i) {
			t.Errorf("integers %v: %v (%v), want %v", shape, got, err, n.i)
		}
	}
	for _, c := range []struct {
		typ  ir.Type
		p    tensor.Source
		want string
	}{
		{ir.Tensor(ir.F32, ir.Dims(2, 3)...), tensor.NewMatrix(make([]float64, 8), 4), "bound to 2 x 4 values, declared as [2 3]"},
		{ir.Tensor(ir.F32, ir.Dims(2, 3)...), tensor.NewMatrix(make([]float64, 6), 2), "bound to 3 x 2 values, declared as [2 3]"},
	} {
		if _, err := get(c.typ, c.p); err == nil || err.Error() != c.want {
			t.Errorf("error %v, want %s", err, c.want)
		}
	}
	v, err := get(ir.Tensor(ir.I32, ir.Dims(2, 3)...), tensor.NewMatrix([]float64{1, 2, 3, 4, 5.5, 6}, 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Ints(); err == nil || err.Error() != "row 1, column 1: 5.5 is not an integer of 32 bits" {
		t.Errorf("integers of a real parameter: error %v, want one that names 5.5", err)
	}
}

// filled is a log with n rows of width 3 in slots 0 and 2; row k of slot s is s, k, k+1/2.
func filled[F tensor.Float](t *testing.T, n int) *tensor.Log[F] {
	log := tensor.NewLog[F](3)
	for _, slot := range []int32{0, 2} {
		for k := range n {
			if err := log.Append(slot, k, logRow[F](slot, k)); err != nil {
				t.Fatal(err)
			}
		}
		log.Commit(slot, n)
	}
	return log
}

func logRow[F tensor.Float](slot int32, k int) []F { return []F{F(slot), F(k), F(k) + 0.5} }

var stateType = ir.Type{State: true, Shape: ir.Dims(3)}

func testState[F tensor.Float](t *testing.T) {
	log := filled[F](t, 1)
	v, err := invoke(&ir.Call[F]{Node: node(ops.State, nil, stateType), State: log})
	if err != nil || v.Log != log || !slices.Equal(v.Shape, []int{3}) {
		t.Errorf("opened %v (%v)", v, err)
	}
}

func testAppend[F tensor.Float](t *testing.T) {
	appendTo := func(log *tensor.Log[F], slot, index []int32, rows []F) error {
		n := len(slot)
		args := []tensor.Value[F]{{Shape: []int{3}, Log: log}, {Shape: []int{n}, I: slot}, {Shape: []int{n}, I: index}, {Shape: []int{n, 3}, F: rows}}
		v, err := invoke(&ir.Call[F]{Node: node(ops.Append, nil, stateType), Args: args})
		if err == nil && v.Log != log {
			t.Error("the next version is another log")
		}
		return err
	}
	log := filled[F](t, 2)
	rows := slices.Concat(logRow[F](2, 2), logRow[F](7, 0), logRow[F](2, 3))
	if err := appendTo(log, []int32{2, 7, 2}, []int32{2, 0, 3}, rows); err != nil {
		t.Fatal(err)
	}
	if err := appendTo(log, nil, nil, nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
	for slot, n := range map[int32]int{0: 2, 2: 4, 7: 1, 1: 0} {
		if log.Next(slot) != n {
			t.Errorf("slot %d has %d rows, want %d", slot, log.Next(slot), n)
		}
		for k := range n {
			if got, err := log.Row(slot, k); err != nil || !slices.Equal(got, logRow[F](slot, k)) {
				t.Errorf("slot %d row %d is %v (%v)", slot, k, got, err)
			}
		}
	}
	if err := appendTo(log, []int32{0}, []int32{3}, rows[:3]); err == nil || err.Error() != "slot 0: appends row 3 where row 2 is next" {
		t.Errorf("gap: %v", err)
	}
	if err := appendTo(log, []int32{-1}, []int32{0}, rows[:3]); err == nil || err.Error() != "slot -1: slots are numbered from 0" {
		t.Errorf("slot -1: %v", err)
	}
}

func testRead[F tensor.Float](t *testing.T) {
	r := newSource(t, 92)
	const missing = -0.75
	read := func(log *tensor.Log[F], slot, index operand) (tensor.Value[F], error) {
		sig := &ir.Signature{Attr: ops.ReadAttr{Missing: missing}, Args: []ir.Type{
			stateType, ir.Tensor(ir.I32, ir.Dims(slot.shape...)...), ir.Tensor(ir.I32, ir.Dims(index.shape...)...)}}
		typ, err := ops.Read.Types(sig)
		if err != nil {
			t.Fatal(err)
		}
		args := []tensor.Value[F]{{Shape: []int{3}, Log: log}, {Shape: slot.shape, I: slot.i}, {Shape: index.shape, I: index.i}}
		return invoke(&ir.Call[F]{Node: node(ops.Read, sig.Attr, typ), Args: args, Parallel: split(2)})
	}
	log := filled[F](t, 9)
	for _, rows := range []int{0, 1, 7} {
		for _, k := range []int{0, 1, 8, 9} {
			slot, index := r.ints(0, 2, rows), r.ints(-1, 9, rows, k)
			var want []F
			for i := range slot.i {
				slot.i[i] *= 2
				for _, n := range index.i[i*k : (i+1)*k] {
					if n < 0 {
						want = append(want, missing, missing, missing)
					} else {
						want = append(want, logRow[F](slot.i[i], int(n))...)
					}
				}
			}
			v, err := read(log, slot, index)
			if err != nil || !slices.Equal(v.F, want) || !slices.Equal(v.Shape, []int{rows, k, 3}) {
				t.Errorf("%d rows of %d: %v %v (%v), want %v", rows, k, v.Shape, v.F, err, want)
			}
		}
	}
	// The first failing row is named, whatever the split.
	_, err := read(log, ints(0, 1, 0), ints(0, 0, 9).as(3, 1))
	if err == nil || err.Error() != "slot 1: row 0 is not kept (next is 0)" {
		t.Errorf("error %v", err)
	}
}
