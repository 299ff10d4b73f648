package ops_test

import (
	"fmt"
	"math"
	"testing"

	"smelt.example/smelt/ir/ops"
)

func init() {
	opTests["matmul"] = testMatmul
	opTests["expert_matmul"] = testExpertMatmul
	opTests["einsum"] = testEinsum
}

// sum collects a sum of products with its bound.
type sum struct{ value, abs float64 }

func (s *sum) add(x float64) { s.value, s.abs = s.value+x, s.abs+math.Abs(x) }

func (w *result) append(s sum) { w.f, w.scale = append(w.f, s.value), append(w.scale, s.abs) }

func testMatmul(t *testing.T) {
	r := newSource(t, 51)
	for _, k := range append([]int{0}, sizes...) {
		for _, c := range []struct {
			lead []int
			n    int
		}{{[]int{1}, 1}, {[]int{7}, 9}, {[]int{9}, 8}, {[]int{0}, 5}, {[]int{5}, 0}, {[]int{2, 3}, 7}, {[]int{2, 0}, 7}} {
			x, w := r.reals(append(c.lead, k)...), r.reals(c.n, k)
			want := result{f: []float64{}, n: k}
			each(c.lead, func(idx []int) {
				for j := range c.n {
					var s sum
					for i := range k {
						s.add(x.at(append(append([]int{}, idx...), i)...) * w.at(j, i))
					}
					want.append(s)
				}
			})
			check(t, fmt.Sprint(x.shape, w.shape), call{op: ops.Matmul}, []operand{x, w}, want)
		}
	}
}

func testExpertMatmul(t *testing.T) {
	r := newSource(t, 52)
	for _, k := range sizes {
		for _, c := range []struct{ rows, e, experts, n int }{{1, 1, 1, 1}, {7, 2, 5, 9}, {9, 3, 4, 7}, {0, 2, 3, 5}, {5, 0, 3, 5}, {8, 6, 64, 3}, {3, 2, 4, 0}} {
			ids, w := r.ints(0, c.experts, c.rows, c.e), r.reals(c.experts, c.n, k)
			if len(ids.i) > 1 {
				ids.i[1] = ids.i[0] // an expert may be named twice
			}
			for _, x := range []operand{r.reals(c.rows, k), r.reals(c.rows, c.e, k)} {
				want := result{f: []float64{}, n: k}
				each([]int{c.rows, c.e, c.n}, func(idx []int) {
					row := idx[:1]
					if len(x.shape) == 3 {
						row = idx[:2]
					}
					expert := int(ids.i[offset(ids.shape, idx[:2])])
					var s sum
					for i := range k {
						s.add(x.at(append(append([]int{}, row...), i)...) * w.at(expert, idx[2], i))
					}
					want.append(s)
				})
				check(t, fmt.Sprint(x.shape, ids.shape, w.shape), call{op: ops.ExpertMatmul}, []operand{x, ids, w}, want)
			}
		}
	}
	x, w := reals(1, 2), reals(1, 2, 3, 4, 5, 6)
	fails(t, call{op: ops.ExpertMatmul}, "expert 3 is outside 3", x.as(1, 2), ints(3).as(1, 1), w.as(3, 1, 2))
	fails(t, call{op: ops.ExpertMatmul}, "expert -1 is outside 3", x.as(1, 2), ints(-1).as(1, 1), w.as(3, 1, 2))
}

func testEinsum(t *testing.T) {
	r := newSource(t, 53)
	for _, spec := range []string{
		"tk,tkd->td", "tjk,tjd->tkd", "thd,tkd->thk", "thk,tkd->thd", "tgi,goi->tgo", // DeepSeek's
		"ik,kj->ij", "ki,kj->ji", "i,j->ij", "i,j->ji", "ab,ab->ab", "ab,ba->ab", "abc,cab->b", "abc,abc->c", "abc,acd->dab", "k,k->", "abk,akb->a",
	} {
		for trial := range 12 {
			if spec == "k,k->" {
				fails(t, call{op: ops.Einsum, attr: ops.EinsumAttr{Spec: spec}},
					`spec "k,k->": the result names a dimension no operand has, or none`, r.reals(3), r.reals(3))
				continue
			}
			size := map[rune]int{}
			for _, letter := range "abcdghijkot" {
				size[letter] = []int{1, 2, 3, 5, 7, 8, 9, 17}[r.IntN(8)]
				if trial == 3 && r.IntN(3) == 0 {
					size[letter] = 0
				}
			}
			terms := splitSpec(spec)
			a, b := r.reals(shapeOf(terms[0], size)...), r.reals(shapeOf(terms[1], size)...)
			check(t, fmt.Sprint(spec, a.shape, b.shape), call{op: ops.Einsum, attr: ops.EinsumAttr{Spec: spec}}, []operand{a, b}, einsum(terms, size, a, b))
		}
	}
}

// splitSpec cuts "ab,bc->ac" into its three terms.
func splitSpec(spec string) (terms [3]string) {
	k := 0
	for _, r := range spec {
		switch r {
		case ',', '>':
			k++
		case '-':
		default:
			terms[k] += string(r)
		}
	}
	return terms
}

func shapeOf(term string, size map[rune]int) (shape []int) {
	for _, r := range term {
		shape = append(shape, size[r])
	}
	return shape
}

// einsum visits every combination of all letters.
func einsum(terms [3]string, size map[rune]int, a, b operand) result {
	letters := terms[2]
	n := 1
	for _, r := range terms[0] {
		inResult := false
		for _, o := range terms[2] {
			inResult = inResult || o == r
		}
		if !inResult {
			letters += string(r)
			n *= size[r]
		}
	}
	pick := func(term string, idx []int) (out []int) {
		for _, r := range term {
			for i, l := range letters {
				if l == r {
					out = append(out, idx[i])
				}
			}
		}
		return out
	}
	out := shapeOf(terms[2], size)
	total := 1
	for _, d := range out {
		total *= d
	}
	want := result{f: make([]float64, total), scale: make([]float64, total), n: n}
	each(shapeOf(letters, size), func(idx []int) {
		p := a.at(pick(terms[0], idx)...) * b.at(pick(terms[1], idx)...)
		o := offset(out, idx[:len(out)])
		want.f[o] += p
		want.scale[o] += math.Abs(p)
	})
	return want
}
