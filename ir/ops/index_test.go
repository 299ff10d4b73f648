package ops_test

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

func init() {
	opTests["index_map"] = testIndexMap
	opTests["index_range"] = testIndexRange
	opTests["closing_rows"] = testClosingRows
	opTests["sort"] = testSort
	opTests["topk"] = testTopK
}

var variable = ir.Sym("i")

func testIndexMap(t *testing.T) {
	r := newSource(t, 71)
	for _, c := range []struct {
		to    ir.Expr
		naive func(i int) int
	}{
		{variable, func(i int) int { return i }},
		{ir.Const(7), func(int) int { return 7 }},
		{variable.FloorDiv(4), func(i int) int { return int(math.Floor(float64(i) / 4)) }},
		{variable.Mod(4), func(i int) int { return ((i % 4) + 4) % 4 }},
		{variable.Mul(variable).Sub(ir.Const(3)), func(i int) int { return i*i - 3 }},
	} {
		for _, shape := range [][]int{{0}, {1}, {9}, {3, 5}} {
			x := r.ints(-100, 100, shape...)
			want := result{i: []int32{}}
			for _, i := range x.i {
				want.i = append(want.i, int32(c.naive(int(i))))
			}
			check(t, fmt.Sprint(c.to, shape), call{op: ops.IndexMap, attr: ops.IndexMapAttr{To: c.to}}, []operand{x}, want)
		}
	}
	big := call{op: ops.IndexMap, attr: ops.IndexMapAttr{To: variable.Mul(ir.Const(2))}}
	fails(t, big, "index 4294967294 leaves the 32-bit range", ints(1, math.MaxInt32))
	fails(t, big, "index -4294967296 leaves the 32-bit range", ints(math.MinInt32))
	huge := call{op: ops.IndexMap, attr: ops.IndexMapAttr{To: variable.Mul(variable).Mul(variable)}}
	fails(t, huge, "i*i*i leaves the 64-bit range", ints(math.MaxInt32))
}

func testIndexRange(t *testing.T) {
	r := newSource(t, 72)
	for _, count := range []int{0, 1, 7, 8, 9} {
		for _, rows := range []int{0, 1, 7} {
			x := r.ints(0, 30, rows)
			c := call{op: ops.IndexRange, env: map[string]int64{"P": int64(count)},
				attr: ops.IndexRangeAttr{First: variable.Sub(ir.Const(5)), Count: ir.Sym("P"), Limit: variable.FloorDiv(2)}}
			want := result{i: []int32{}}
			for _, i := range x.i {
				for k := range int32(count) {
					n := i - 5 + k
					if n < 0 || n >= i/2 {
						n = -1
					}
					want.i = append(want.i, n)
				}
			}
			check(t, fmt.Sprintf("%d of %d rows", count, rows), c, []operand{x}, want)
		}
	}
	wide := ops.IndexRangeAttr{First: variable.Mul(ir.Const(4)), Count: ir.Const(1), Limit: ir.Const(math.MaxInt64)}
	fails(t, call{op: ops.IndexRange, attr: wide}, "index 8589934588 leaves the 32-bit range", ints(math.MaxInt32))
	wide.First = variable.Mul(variable).Mul(variable)
	fails(t, call{op: ops.IndexRange, attr: wide}, "i*i*i leaves the 64-bit range", ints(math.MaxInt32))
	wide.First, wide.Limit = variable, wide.First
	fails(t, call{op: ops.IndexRange, attr: wide}, "i*i*i leaves the 64-bit range", ints(math.MaxInt32))
}

func testClosingRows(t *testing.T) {
	r := newSource(t, 73)
	for _, ratio := range []int{1, 4, 128} {
		for _, rows := range []int{0, 1, 7, 300} {
			x := r.ints(0, 1000, rows)
			want := result{i: []int32{}}
			for k, p := range x.i {
				if int(p)%ratio == ratio-1 {
					want.i = append(want.i, int32(k))
				}
			}
			c := call{op: ops.ClosingRows, attr: ops.RatioAttr{Ratio: ratio}, env: map[string]int64{"E": int64(len(want.i))},
				symbols: []ir.Symbol{{Name: "T"}, {Name: "F", Def: ir.Closing, Arg: 3}, {Name: "E", Def: ir.Closing, Arg: int64(ratio)}}}
			check(t, fmt.Sprintf("ratio %d of %d rows", ratio, rows), c, []operand{x}, want)
		}
	}
	c := call{op: ops.ClosingRows, attr: ops.RatioAttr{Ratio: 4}, symbols: []ir.Symbol{{Name: "E", Def: ir.Closing, Arg: 4}}}
	for counted, text := range map[int64]string{
		1: "2 rows close a block of 4, the step counts 1: the operand must be the rows' positions",
		3: "2 rows close a block of 4, the step counts 3: the operand must be the rows' positions",
	} {
		c.env = map[string]int64{"E": counted}
		fails(t, c, text, ints(3, 4, 7))
	}
}

func testSort(t *testing.T) {
	r := newSource(t, 74)
	for _, shape := range [][]int{{9}, {7, 8}, {7, 1}, {0, 5}, {5, 0}, {2, 3, 17}} {
		x := r.ints(-4, 9, shape...)
		want := result{i: slices.Clone(x.i)}
		vectors(shape, -1, func(at []int) {
			for a := range at { // by exchange
				for b := a + 1; b < len(at); b++ {
					if want.i[at[b]] < want.i[at[a]] {
						want.i[at[a]], want.i[at[b]] = want.i[at[b]], want.i[at[a]]
					}
				}
			}
		})
		check(t, fmt.Sprint(shape), call{op: ops.Sort}, []operand{x}, want)
	}
}

func testTopK(t *testing.T) {
	r := newSource(t, 75)
	special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1, 1, -1}
	for _, n := range append([]int{0}, sizes...) {
		for _, k := range []int{1, 7, 8, 9} {
			for _, rows := range []int{0, 1, 9} {
				x := r.reals(rows, n)
				for i := range x.f {
					if r.IntN(2) == 0 {
						x.f[i] = special[r.IntN(len(special))]
					}
				}
				ids := r.ints(0, 50, rows, n)
				for i := range ids.i {
					if r.IntN(4) == 0 {
						ids.i[i] = -1
					}
				}
				var plain, named result
				plain.i, named.i = []int32{}, []int32{}
				for row := range rows {
					plain.i = append(plain.i, topK(x.f[row*n:(row+1)*n], nil, k)...)
					named.i = append(named.i, topK(x.f[row*n:(row+1)*n], ids.i[row*n:(row+1)*n], k)...)
				}
				c := call{op: ops.TopK, attr: ops.TopKAttr{K: k}}
				check(t, fmt.Sprintf("%d of %d in %d rows", k, n, rows), c, []operand{x}, plain)
				check(t, fmt.Sprintf("%d of %d in %d rows with ids", k, n, rows), c, []operand{x, ids}, named)
			}
		}
	}
}

// topK picks the best remaining element k times.
func topK(scores []float64, ids []int32, k int) []int32 {
	taken := make([]bool, len(scores))
	better := func(a, b int) bool { // a stands before b in the total order
		x, y := scores[a], scores[b]
		switch {
		case math.IsNaN(x) != math.IsNaN(y):
			return math.IsNaN(y)
		case x != y && !math.IsNaN(x):
			return x > y
		}
		return a < b
	}
	var out []int32
	for range k {
		best := -1
		for i := range scores {
			if !taken[i] && (ids == nil || ids[i] != -1) && (best < 0 || better(i, best)) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		taken[best] = true
		id := int32(best)
		if ids != nil {
			id = ids[best]
		}
		out = append(out, id)
	}
	sort.Slice(out, func(a, b int) bool { return out[a] < out[b] })
	for len(out) < k {
		out = append(out, -1)
	}
	return out
}

// TestTopKOrder spells the total order out.
func TestTopKOrder(t *testing.T) {
	inf, nan, negZero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	for _, c := range []struct {
		scores []float64
		k      int
		want   []int32
	}{
		{[]float64{1, 2, 3}, 1, []int32{2}},
		{[]float64{3, 1, 3}, 1, []int32{0}},
		{[]float64{negZero, 0}, 1, []int32{0}},
		{[]float64{0, negZero, 0}, 2, []int32{0, 1}},
		{[]float64{nan, -inf}, 1, []int32{1}},
		{[]float64{nan, nan, 5}, 2, []int32{0, 2}},
		{[]float64{inf, nan, inf}, 2, []int32{0, 2}},
		{[]float64{2, 1}, 4, []int32{0, 1, -1, -1}},
	} {
		v, err := execute[float32](call{op: ops.TopK, attr: ops.TopKAttr{K: c.k}}, []operand{reals(c.scores...).as(1, len(c.scores))}, false, 1)
		if err != nil || !slices.Equal(v.I, c.want) {
			t.Errorf("top %d of %v is %v (%v), want %v", c.k, c.scores, v.I, err, c.want)
		}
	}
}
