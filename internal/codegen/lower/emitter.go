package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/shrink"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// emitter is a kernel in the making with the arguments of its launch. The first
// error sticks and is reported by launch, so that kernel code reads straight on.
type emitter struct {
	*kernel.Builder
	in   *Input
	args []program.Arg
	held kernel.Buffer // the step's Tokens, once they are bound
	err  error
}

// begin starts a kernel. The name says family and shape, so that equal
// kernels of different layers get equal names.
func (in *Input) begin(name string, s kernel.Schedule, doc ...string) *emitter {
	if s.SimdWidth == 0 {
		s.SimdWidth = in.Target.SimdWidth
	}
	return &emitter{Builder: kernel.New(name, in.Step.Layout, s, doc...), in: in}
}

func (u *emitter) fail(format string, args ...any) {
	if u.err == nil {
		u.err = fmt.Errorf(format, args...)
	}
}

// launch ends the kernel.
func (u *emitter) launch(role string, grid ...ir.Expr) (program.Launch, error) {
	if u.err != nil {
		return program.Launch{}, u.err
	}
	k, err := u.Kernel()
	if err != nil {
		return program.Launch{}, err
	}
	if u.in.Target.Vector == 0 {
		if k, err = shrink.Kernel(k); err != nil {
			return program.Launch{}, err
		}
	}
	if n := k.SharedBytes(); n > u.in.Target.SharedMemory {
		return program.Launch{}, fmt.Errorf("kernel %s: %d bytes of threadgroup memory; at most %d are there", k.Name, n, u.in.Target.SharedMemory)
	}
	l := program.Launch{Kernel: k, Region: u.in.Region.Name, Role: role, Args: u.args}
	for i := range l.Grid {
		l.Grid[i] = ir.Const(1)
		if i < len(grid) {
			l.Grid[i] = grid[i]
		}
	}
	return l, nil
}

func (u *emitter) bind(b kernel.Buffer, a program.Arg) kernel.Buffer {
	a.Param = b.Name()
	u.args = append(u.args, a)
	return b
}

// activation is a value in the arena, of f32 or i32.
func (u *emitter) activation(name string, v *ir.Value, a kernel.Access) kernel.Buffer {
	elem := kernel.F32
	if v.Type.Elem == ir.I32 {
		elem = kernel.I32
	}
	return u.bind(u.Pointer(name, kernel.Of(elem), a), program.Arg{Value: v})
}

// activation4 is a value in the arena read as vectors of four f32: the arena
// aligns values to 256 bytes, so rows of a multiple of four elements allow it.
func (u *emitter) activation4(name string, v *ir.Value, a kernel.Access) kernel.Buffer {
	return u.bind(u.Pointer(name, kernel.Vec(kernel.F32, 4), a), program.Arg{Value: v})
}

// scratch is memory of the region in the arena.
func (u *emitter) scratch(name string, s *program.Scratch, elem kernel.Scalar, a kernel.Access) kernel.Buffer {
	return u.bind(u.Pointer(name, kernel.Of(elem), a), program.Arg{Scratch: s})
}

// accesses states how many bytes of the last bound argument the launch needs.
func (u *emitter) accesses(bytes ir.Expr) { u.args[len(u.args)-1].BytesAccessed = &bytes }

// atMost bounds them where a step is shorter or smaller than accesses assumes.
func (u *emitter) atMost(bytes ir.Expr) { u.args[len(u.args)-1].AtMost = &bytes }

// state is a cache's memory seen as 32-bit words.
func (u *emitter) state(name, state string, a kernel.Access) kernel.Buffer {
	return u.bind(u.Pointer(name, kernel.Of(kernel.U32), a), program.Arg{State: state})
}

// shift is a scalar parameter: the bits by which a weight's words are shifted.
func (u *emitter) shift(name, param string) *kernel.Expr {
	p, value := u.Scalar(name, kernel.U32)
	u.args = append(u.args, program.Arg{Param: p, Shift: param})
	return value
}

// weightPlane is a plane of a parameter, seen as elements of type t.
func (u *emitter) weightPlane(name, param string, r encoding.Role, t kernel.Type) kernel.Buffer {
	return u.bind(u.Pointer(name, t, kernel.Read), program.Arg{Weight: u.weightArg(param, r, t.Bytes())})
}

// weightArg is a plane of a parameter, read in elements of so many bytes.
func (u *emitter) weightArg(param string, r encoding.Role, align int) *program.WeightArg {
	w := &program.WeightArg{Param: param, Role: r, Align: align}
	p := u.in.Params[param]
	if p == nil || p.Columns == (storage.Columns{}) {
		return w
	}
	var err error
	if w.Start, err = p.RowStart(r); err == nil {
		w.Stride, err = p.RowBytes(r)
	}
	if err != nil {
		u.fail("%w", err)
	}
	return w
}

// rotation names the step's table of cosines and sines for a rope.
func (u *emitter) rotation(a ops.RopeAttr, ratio int) string {
	f, err := u.in.Step.RopeField(a, ratio)
	if err != nil {
		u.fail("%w", err)
		return u.in.Step.Layout.Fields[0].Name
	}
	return f
}

// i32 and f32 shorten constants in kernel code.
func i32(n int) *kernel.Expr     { return kernel.I(n) }
func f32(v float64) *kernel.Expr { return kernel.F(v) }

// vectors is a pointer to vectors of four f32.
func (u *emitter) vectors(name string, arg program.Arg, access kernel.Access) kernel.Buffer {
	return u.bind(u.Pointer(name, kernel.Vec(kernel.F32, 4), access), arg)
}
