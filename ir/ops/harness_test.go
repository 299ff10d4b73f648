package ops_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// operand is an input of an operation: f for real numbers (each a float32), i for integers.
type operand struct {
	shape []int
	f     []float64
	i     []int32
}

// result is what a naive implementation computes. Scale bounds errors: the sum
// of absolute terms of a reduction, otherwise the magnitude (nil means that of f);
// n is a reduction's length.
type result struct {
	f, scale []float64
	n        int
	i        []int32
}

// call is an application of an operation.
type call struct {
	op      *ir.Op
	attr    any
	symbols []ir.Symbol
	env     map[string]int64
}

// split runs body over [0,n) in ranges of some length, the last range first.
func split(length int) func(n int, body func(lo, hi int)) {
	return func(n int, body func(lo, hi int)) {
		for hi := n; hi > 0; hi -= length {
			body(max(0, hi-length), hi)
		}
	}
}

// execute applies the operation in one precision, with dense operands or with
// real operands as parameters.
func execute[F tensor.Float](c call, args []operand, asParams bool, chunk int) (tensor.Value[F], error) {
	sig := &ir.Signature{Attr: c.attr, Symbols: c.symbols}
	values := make([]tensor.Value[F], len(args))
	for k, a := range args {
		elem := ir.F32
		if a.i != nil {
			elem = ir.I32
		}
		sig.Args = append(sig.Args, ir.Tensor(elem, ir.Dims(a.shape...)...))
		values[k] = tensor.Value[F]{Shape: a.shape, I: a.i}
		if a.i == nil {
			values[k].F = rounded[F](a.f)
		}
		if asParams && a.i == nil {
			cols := a.shape[len(a.shape)-1]
			values[k].F, values[k].Rows = nil, tensor.NewMatrix(a.f, cols)
		}
	}
	typ, err := c.op.Types(sig)
	if err != nil {
		return tensor.Value[F]{}, err
	}
	env := func(s string) (int64, bool) { n, ok := c.env[s]; return n, ok }
	return invoke(&ir.Call[F]{Node: &ir.Node{Op: c.op, Attr: c.attr, Result: &ir.Value{Type: typ}}, Args: values, Env: env, Parallel: split(chunk)})
}

// invoke evaluates the result's shape and runs the reference.
func invoke[F tensor.Float](c *ir.Call[F]) (tensor.Value[F], error) {
	for _, d := range c.Node.Result.Type.Shape {
		n, err := d.Eval(c.Env)
		if err != nil {
			return c.Out, err
		}
		c.Shape = append(c.Shape, int(n))
	}
	var err error
	switch c := any(c).(type) {
	case *ir.Call[float32]:
		err = c.Node.Op.Execute.F32(c)
	case *ir.Call[float64]:
		err = c.Node.Op.Execute.F64(c)
	}
	return c.Out, err
}

func rounded[F tensor.Float](x []float64) []F {
	out := make([]F, len(x))
	for i, v := range x {
		out[i] = F(v)
	}
	return out
}

// check compares the operation with what the naive implementation computed, in
// both precisions, for dense operands and parameters, and for two ways to
// split the work, which must give the same bits.
func check(t *testing.T, name string, c call, args []operand, want result) {
	t.Helper()
	checkIn[float32](t, name+" in float32", c, args, want)
	checkIn[float64](t, name+" in float64", c, args, want)
}

func checkIn[F tensor.Float](t *testing.T, name string, c call, args []operand, want result) {
	t.Helper()
	got, err := execute[F](c, args, false, 3)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if !slices.Equal(got.I, want.i) || len(got.F) != len(want.f) {
		t.Errorf("%s: got %v and %d reals, want %v and %d reals", name, got.I, len(got.F), want.i, len(want.f))
		return
	}
	for i, w := range want.f {
		scale := math.Abs(w)
		if want.scale != nil {
			scale = want.scale[i]
		}
		if limit := tolerance[F](c.op.Class, scale, want.n); !close(got.F[i], w, limit) {
			t.Errorf("%s: element %d is %v, want %v within %.3g", name, i, got.F[i], w, limit)
			return
		}
	}
	positive := true
	for _, a := range args {
		positive = positive && tensor.Len(a.shape) > 0
	}
	for _, asParams := range []bool{false, positive} {
		again, err := execute[F](c, args, asParams, 1000)
		if err != nil || !slices.Equal(again.I, got.I) || !sameBits(again.Dense(), got.F) {
			t.Errorf("%s: other bits with parameters %v or another split (%v)", name, asParams, err)
		}
	}
}

// tolerance is the class's bound. In float64 functions of package num add up
// to 4 units in the last place.
func tolerance[F tensor.Float](class ir.Class, scale float64, n int) float64 {
	unit, smallest, more := math.Ldexp(1, -24), float64(math.SmallestNonzeroFloat32), 0
	if _, is64 := any(F(0)).(float64); is64 {
		unit, smallest, more = math.Ldexp(1, -53), math.SmallestNonzeroFloat64, 4
	}
	switch class.Kind {
	case ir.Elementwise:
		return float64(class.ULP+more) * max(2*unit*scale, smallest)
	case ir.Reduction:
		return float64(n) * unit * scale
	}
	return 0
}

// close treats NaN as equal to NaN, and with no tolerance the sign of a zero counts.
func close[F tensor.Float](got F, want, limit float64) bool {
	g := float64(got)
	switch {
	case want != want:
		return g != g
	case limit == 0 || math.IsInf(want, 0):
		return math.Float64bits(g) == math.Float64bits(float64(F(want)))
	}
	return math.Abs(g-want) <= limit
}

func sameBits[F tensor.Float](a, b []F) bool {
	return slices.EqualFunc(a, b, func(x, y F) bool {
		return math.Float64bits(float64(x)) == math.Float64bits(float64(y))
	})
}

// fails checks an error of the reference function in both precisions.
func fails(t *testing.T, c call, want string, args ...operand) {
	t.Helper()
	_, err32 := execute[float32](c, args, false, 3)
	_, err64 := execute[float64](c, args, false, 3)
	for _, err := range []error{err32, err64} {
		if err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", c.op.Name, err, want)
		}
	}
}

// source of random operands; the seed is printed when a test fails.
type source struct{ *rand.Rand }

func newSource(t *testing.T, seed uint64) source {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return source{rand.New(rand.NewPCG(seed, 0))}
}

func (r source) reals(shape ...int) operand {
	f := make([]float64, tensor.Len(shape))
	for i := range f {
		f[i] = float64(float32(r.NormFloat64()))
	}
	return operand{shape: shape, f: f}
}

// ints are from [lo, hi).
func (r source) ints(lo, hi int, shape ...int) operand {
	x := make([]int32, tensor.Len(shape))
	for i := range x {
		x[i] = int32(lo + r.IntN(hi-lo))
	}
	return operand{shape: shape, i: x}
}

func reals(f ...float64) operand { return operand{shape: []int{len(f)}, f: f} }
func ints(i ...int32) operand    { return operand{shape: []int{len(i)}, i: append([]int32{}, i...)} }

func (a operand) as(shape ...int) operand { a.shape = shape; return a }

// each visits all indices of a shape in order.
func each(shape []int, visit func(idx []int)) {
	idx := make([]int, len(shape))
	var dim func(d int)
	dim = func(d int) {
		if d == len(shape) {
			visit(idx)
			return
		}
		for idx[d] = 0; idx[d] < shape[d]; idx[d]++ {
			dim(d + 1)
		}
	}
	dim(0)
}

// offset is where an index lies in a row-major array of that shape.
func offset(shape, idx []int) int {
	o := 0
	for d, n := range shape {
		o = o*n + idx[d]
	}
	return o
}

func (a operand) at(idx ...int) float64 { return a.f[offset(a.shape, idx)] }

// sizes straddle the eight lanes of a sum.
var sizes = []int{1, 7, 8, 9, 17, 64}

// opTests has one test for each operation.
var opTests = map[string]func(t *testing.T){}

// TestOperations fails for an operation that has no test.
func TestOperations(t *testing.T) {
	for _, name := range ops.Names() {
		test := opTests[name]
		if test == nil {
			t.Errorf("operation %s has no entry in opTests", name)
			continue
		}
		t.Run(name, test)
	}
	for name := range opTests {
		if ops.Named(name) == nil {
			t.Errorf("opTests has an entry for %s, which is no operation", name)
		}
	}
}
