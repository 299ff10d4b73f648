package lockstep

import (
	"math"
	"testing"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// TestClose: a choice may differ where scores are nearly equal, and nowhere else.
func TestClose(t *testing.T) {
	nan := float32(math.NaN())
	scores := []float32{9, 9, 9, 9, 9, 9, 1, 0.99999, 0.5, nan, 1, float32(math.Inf(-1))} // the second row is judged
	ids := []int32{0, 0, 0, 0, 0, 0, 4, 5, 6, 7, -1, 9}
	value := func(with bool) scoring {
		s := scoring{args: []tensor.Value[float32]{{Shape: []int{2, 6}, F: scores}}}
		if with {
			s.args = append(s.args, tensor.Value[float32]{Shape: []int{2, 6}, I: ids})
		}
		return s
	}
	for _, c := range []struct {
		name      string
		ids       bool
		want, got []int32
		close     bool
		possible  bool
	}{
		{"the same", false, []int32{0}, []int32{0}, false, true}, // never asked: nothing was left
		{"nearly equal scores", false, []int32{0}, []int32{1}, true, true},
		{"nearly equal scores by id", true, []int32{4}, []int32{5}, true, true},
		{"a lower score", false, []int32{0}, []int32{2}, false, true},
		{"one of two lower", false, []int32{0, 1}, []int32{1, 2}, false, true},
		{"no number", false, []int32{0}, []int32{3}, false, true},
		{"a masked one", false, []int32{0}, []int32{5}, false, true},
		{"one that must not be chosen", true, []int32{4}, []int32{-1}, false, false},
		{"one that is not there", true, []int32{4}, []int32{8}, false, false},
		{"twice the same", false, []int32{0, 1}, []int32{1, 1}, false, false},
		{"not ascending", false, []int32{0, 1}, []int32{1, 0}, false, false},
		{"fewer", false, []int32{0, 1}, []int32{0, -1}, false, false},
		{"more", false, []int32{0, -1}, []int32{0, 1}, false, false},
	} {
		s := value(c.ids)
		if got := s.possible(1, c.want, c.got); got != c.possible {
			t.Errorf("%s: possible %v, expected %v", c.name, got, c.possible)
		}
		if got := s.close(1, c.want, c.got, Bound); got != c.close && c.name != "the same" {
			t.Errorf("%s: close %v, expected %v", c.name, got, c.close)
		}
	}
}

// TestCodes: a few rounded numbers may be neighbours of what is expected; no more,
// and none farther away.
func TestCodes(t *testing.T) {
	x := &ir.Value{Name: "x"}
	first := &ir.Node{Op: ops.RoundTo, Attr: ops.RoundAttr{Format: "e4m3", Block: 64, Count: 3}, Args: []*ir.Value{x}, Result: &ir.Value{Name: "y"}}
	first.Result.Def = first
	last := &ir.Node{Op: ops.RoundTo, Attr: ops.RoundAttr{Format: "bf16", From: 3, Count: 1}, Args: []*ir.Value{first.Result}, Result: &ir.Value{Name: "z", Type: ir.Tensor(ir.F32, ir.Const(1), ir.Const(5))}}
	p := New(Choices)
	p.rows = []ir.Row{{}}
	compare := func(got []float32, times int) *Kernel {
		k := &Kernel{}
		for range times {
			v := tensor.Value[float32]{Shape: []int{1, 5}, F: []float32{8, 1, 2, 4, 0.5}}
			p.compareReals(k, last, v, got, nil)
		}
		return k
	}
	for _, c := range []struct {
		name  string
		got   []float32
		times int
		ok    bool
	}{
		{"equal", []float32{8, 1, 2, 4, 0.5}, 100, true},
		{"a neighbour or two", []float32{9, 1, 2, 4, 0.5}, 2, true},
		{"always a neighbour", []float32{9, 1, 2, 4, 0.5}, 10, false},
		{"far away", []float32{8, 1, 4, 4, 0.5}, 1, false},
		{"bf16 far away", []float32{8, 1, 2, 4.1, 0.5}, 1, false},
		{"what is not rounded", []float32{8, 1, 2, 4, 0.6}, 1, false},
		{"not a number", []float32{8, 1, 2, float32(math.NaN()), 0.5}, 1, false},
	} {
		if k := compare(c.got, c.times); (k.Trouble() == "") != c.ok || k.Codes != 4*c.times {
			t.Errorf("%s: %q, %d codes", c.name, k.Trouble(), k.Codes)
		}
	}
}
