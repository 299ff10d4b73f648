// Package llvm prints kernels as LLVM IR: a SIMD group becomes one vector
// program, so that a kernel written for a GPU's threads runs on a CPU's vector
// registers. Values on which all lanes agree stay scalars, indices that differ
// by constants stay a scalar and constants, divergence becomes masks.
//
// The text keeps to what LLVM 14 and its successors up to 19 all read: typed
// pointers, no bfloat, intrinsics of both. It knows kernels (package kernel) and
// no model, and decides nothing that a schedule does. It does choose the form of the
// text: equal loops become one function, neighbouring stores one store.
package llvm

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// Module is the LLVM IR of one kernel. It defines
//
//	void NAME(i8* args, i8* step, i8* shared, i32 first, i32 end, i32 width, i32 height)
//
// which runs the threadgroups numbered first to end-1 of a grid that is width
// threadgroups wide and height high (a number counts along x, then y, then z).
// args is the argument block, step the kernel's StepTable, shared SharedBytes of
// memory aligned to 64 bytes that no other call uses meanwhile. Its other functions
// are internal.
//
// It fails for what the CPU does not run: threadgroups of several SIMD groups
// and fragments other than f32.
//
// register is how many floats a vector register of the machine holds. It picks
// how vectors are transposed, and with 16 (AVX-512) how e2m1 becomes float32.
func Module(k *kernel.Kernel, register int) (text string, err error) {
	s := k.Schedule
	if s.Threads != s.SimdWidth || s.SimdWidth&(s.SimdWidth-1) != 0 || s.SimdWidth < 2 || s.SimdWidth > 32 {
		return "", fmt.Errorf("kernel %s: threadgroups of %d threads in SIMD groups of %d; the CPU runs one SIMD group of 2 to 32, a power of two", k.Name, s.Threads, s.SimdWidth)
	}
	f := newFunction(k, register)
	f.recurring = recurringLoops(f)
	if err := f.define(); err != nil {
		return "", fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	if text, err = textOf(f.module, k.Doc); err != nil {
		return "", fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	return text, nil
}

// sharedAlign aligns threadgroup arrays: to a cache line.
const sharedAlign = 64

// SharedBytes is the memory a call of the kernel needs for threadgroup arrays.
func SharedBytes(k *kernel.Kernel) int {
	n := 0
	for _, s := range k.Shared {
		n += (s.Bytes() + sharedAlign - 1) / sharedAlign * sharedAlign
	}
	return n
}

// function is a kernel in the making.
type function struct {
	k         *kernel.Kernel
	width     int // lanes
	machine   int // floats that a vector register of the machine holds
	register  int // the same, at most width
	uniform   map[string]bool
	forms     *forms
	repeats   map[value.Value]value.Value // vectors on which lanes agree, of one value
	recurring map[*kernel.For]*occurrence // loops that are calls

	module *ir.Module
	fn     *ir.Func
	shared *ir.Param // of fn: threadgroup memory
	entry  *ir.Block // of allocations
	block  *ir.Block // that instructions go to
	blocks int

	places    map[place]value.Value // first element, typed as the place's scalar
	scalars   map[string]value.Value
	group     [3]value.Value
	locals    map[string]operand
	vars      map[string]*variable
	fragments map[string]*fragment
	inPlace   map[string]side // fragments that are operands on one side alone, read when they are used
	mask      *mask           // lanes at work; nil: all
	known     []map[expression]value.Value
	declared  map[string]*ir.Func
	err       error
}

// place names a place in memory.
type place struct {
	space kernel.Space
	name  string
}

func newFunction(k *kernel.Kernel, register int) *function {
	return functionOf(k, register, kernel.Uniform(k), operandsInPlace(k.Body))
}

// functionOf is newFunction with the uniform locals and the fragments in place known.
func functionOf(k *kernel.Kernel, register int, uniform map[string]bool, inPlace map[string]side) *function {
	return &function{
		k: k, width: k.Schedule.SimdWidth, machine: register, register: min(register, k.Schedule.SimdWidth),
		uniform: uniform, forms: formsOf(k.Body, uniform), repeats: map[value.Value]value.Value{},
		inPlace: inPlace, module: ir.NewModule(),
		places: map[place]value.Value{}, scalars: map[string]value.Value{}, locals: map[string]operand{},
		vars: map[string]*variable{}, fragments: map[string]*fragment{}, declared: map[string]*ir.Func{},
		known: []map[expression]value.Value{{}},
	}
}

// fail keeps the first error.
func (f *function) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// define writes the module's functions: the kernel for one threadgroup, whose
// pointers are arguments that LLVM may take as not overlapping, with its recurring
// loops, and the loop over threadgroups that others call.
func (f *function) define() error {
	inner, leading := f.declareInner()
	f.fn = inner
	f.entry = inner.NewBlock("entry")
	f.block = inner.NewBlock("start")
	f.run(f.k.Body)
	f.block.NewRet(nil)
	f.entry.NewBr(inner.Blocks[1])
	if f.err != nil {
		return f.err
	}
	f.defineOuter(inner, leading)
	return f.err
}

// bind loads an argument of the inner function from the argument block or the
// step's table.
type bind func(b *ir.Block, args, step value.Value) value.Value

// declareInner makes the function of one threadgroup, and tells where its
// leading arguments come from.
func (f *function) declareInner() (*ir.Func, []bind) {
	var params []*ir.Param
	var leading []bind
	offsets, _ := f.k.Args()
	for i, p := range f.k.Params {
		t := scalarType(p.Elem.Scalar)
		if p.Pointer {
			t = types.NewPointer(t)
		}
		param := ir.NewParam("arg."+p.Name, t)
		if p.Pointer {
			param.Attrs = append(param.Attrs, enum.ParamAttrNoAlias)
			f.places[place{kernel.Device, p.Name}] = param
		} else {
			f.scalars[p.Name] = param
		}
		params = append(params, param)
		leading = append(leading, func(b *ir.Block, args, _ value.Value) value.Value {
			at := b.NewGetElementPtr(types.I8, args, constant.NewInt(types.I64, int64(offsets[i])))
			return b.NewLoad(t, b.NewBitCast(at, types.NewPointer(t)))
		})
	}
	for i, field := range stepFields(f.k) {
		t := types.NewPointer(scalarType(field.Elem))
		param := ir.NewParam("step."+field.Name, t)
		param.Attrs = append(param.Attrs, enum.ParamAttrNoAlias)
		f.places[place{kernel.StepBlock, field.Name}] = param
		params = append(params, param)
		leading = append(leading, func(b *ir.Block, _, step value.Value) value.Value {
			at := b.NewGetElementPtr(types.I8, step, constant.NewInt(types.I64, int64(8*i)))
			return b.NewLoad(t, b.NewBitCast(at, types.NewPointer(t)))
		})
	}
	f.shared = ir.NewParam("shared", types.I8Ptr)
	f.shared.Attrs = append(f.shared.Attrs, enum.ParamAttrNoAlias)
	params = append(params, f.shared)
	for axis := range f.group {
		g := ir.NewParam("group."+string("xyz"[axis]), types.I32)
		f.group[axis] = g
		params = append(params, g)
	}
	fn := f.module.NewFunc(f.k.Name+".threadgroup", types.Void, params...)
	fn.Linkage = enum.LinkageInternal
	fn.FuncAttrs = append(fn.FuncAttrs, attributes...)
	return fn, leading
}

// attributes are those of all functions. noimplicitfloat keeps the code generator from
// merging stores of vectors (it still uses vector registers for vectors): there, LLVM 19
// with AVX-512 ends the process for some kernels whose lanes store one lane's vector
// (TestOneLanesVector in internal/runtime/cpu).
var attributes = []ir.FuncAttribute{enum.FuncAttrNoUnwind, enum.FuncAttrNoImplicitFloat}

// defineOuter writes the loop over threadgroups.
func (f *function) defineOuter(inner *ir.Func, leading []bind) {
	args, step, shared := ir.NewParam("args", types.I8Ptr), ir.NewParam("step", types.I8Ptr), ir.NewParam("shared", types.I8Ptr)
	first, end := ir.NewParam("first", types.I32), ir.NewParam("end", types.I32)
	width, height := ir.NewParam("width", types.I32), ir.NewParam("height", types.I32)
	fn := f.module.NewFunc(f.k.Name, types.Void, args, step, shared, first, end, width, height)
	fn.FuncAttrs = append(fn.FuncAttrs, attributes...)
	entry, loop, body, done := fn.NewBlock("entry"), fn.NewBlock("loop"), fn.NewBlock("body"), fn.NewBlock("done")
	var actual []value.Value
	for _, b := range leading {
		actual = append(actual, b(entry, args, step))
	}
	entry.NewBr(loop)
	number := loop.NewPhi(ir.NewIncoming(first, entry))
	loop.NewCondBr(loop.NewICmp(enum.IPredSLT, number, end), body, done)
	x, row := body.NewURem(number, width), body.NewUDiv(number, width)
	y, z := body.NewURem(row, height), body.NewUDiv(row, height)
	body.NewCall(inner, append(actual, shared, x, y, z)...)
	next := body.NewAdd(number, constant.NewInt(types.I32, 1))
	number.Incs = append(number.Incs, ir.NewIncoming(next, body))
	body.NewBr(loop)
	done.NewRet(nil)
}

// scalarType is the LLVM type of an element in memory; bool is never there.
func scalarType(s kernel.Scalar) types.Type {
	switch s {
	case kernel.Bool:
		return types.I1
	case kernel.F32:
		return types.Float
	case kernel.F16:
		return types.Half
	case kernel.I64:
		return types.I64
	case kernel.U8:
		return types.I8
	case kernel.U16:
		return types.I16
	}
	return types.I32
}

// newBlock is a block with a fresh name.
func (f *function) newBlock(name string) *ir.Block {
	f.blocks++
	return f.fn.NewBlock(fmt.Sprintf("%s.%d", name, f.blocks))
}

// pointer is the first element of a place. Those of threadgroup arrays are made in
// the entry block once.
func (f *function) pointer(p place) value.Value {
	if v, ok := f.places[p]; ok {
		return v
	}
	offset, elem := int64(0), types.Type(types.I32)
	for _, s := range f.k.Shared {
		if s.Name == p.name {
			elem = scalarType(s.Elem)
			break
		}
		offset += int64(s.Bytes()+sharedAlign-1) / sharedAlign * sharedAlign
	}
	at := f.entry.NewGetElementPtr(types.I8, f.shared, constant.NewInt(types.I64, offset))
	v := f.entry.NewBitCast(at, types.NewPointer(elem))
	f.places[p] = v
	return v
}

// elemOf is the kernel type of a place's elements.
func (f *function) elemOf(p place) kernel.Type {
	switch p.space {
	case kernel.Device:
		return f.k.Param(p.name).Elem
	case kernel.StepBlock:
		return kernel.Of(f.k.Step.Field(p.name).Elem)
	}
	for _, s := range f.k.Shared {
		if s.Name == p.name {
			return kernel.Of(s.Elem)
		}
	}
	f.fail("no threadgroup array %s", p.name)
	return kernel.Of(kernel.F32)
}
