// Package kernel is smelt's kernel IR: one GPU kernel as a typed, structured
// SIMT program. It parses, prints, verifies and compares kernels and has a Builder
// that writes them; a compiled bundle's Plan.Kernels are of it too.
//
//	b := kernel.New("double", nil, kernel.Schedule{Threads: 32, SimdWidth: 32}, "twice x")
//	x := b.Pointer("x", kernel.Of(kernel.F32), kernel.ReadWrite)
//	x.Set(kernel.Thread(), x.At(kernel.Thread()).Mul(kernel.F(2)))
//	k, err := b.Kernel()
//	...
//	fmt.Print(kernel.Print(k))
//
// A launch runs a grid of threadgroups. A threadgroup is Schedule.Threads
// threads in SIMD groups of Schedule.SimdWidth lanes; its threads share arrays of
// threadgroup memory and meet at barriers. Threadgroups never meet.
//
// The types are those of internal/codegen/kernel, which also has the statements and
// operations that printers read; its README.md teaches the text form. Their methods:
//
//	go doc smelt.example/smelt/internal/codegen/kernel.Builder
package kernel

import "smelt.example/smelt/internal/codegen/kernel"

// Kernel is one program with its interface (Params, Shared, Step), Schedule and Body.
// Args lays out its argument block, SharedBytes counts its threadgroup memory, and
// Param finds a parameter.
type Kernel = kernel.Kernel

// Parse reads the text form of one kernel and verifies it. The error is an *Error
// where the text is at fault.
func Parse(src string) (*Kernel, error) { return kernel.Parse(src) }

// Print writes the text form; Parse gives the same kernel back.
func Print(k *Kernel) string { return kernel.Print(k) }

// Verify checks what a kernel must keep to: names, types, bounds known before
// running, barriers where all threads come along.
func Verify(k *Kernel) error { return kernel.Verify(k) }

// Equal reports whether two kernels are the same in all that the text form has:
// names, remarks and schedule too. Numbers are compared by their bits.
func Equal(a, b *Kernel) bool { return kernel.Equal(a, b) }

// Error says what is wrong with a kernel's text, and at which Line and Column.
type Error = kernel.Error

// Schedule holds the numbers that may differ between targets for one computation:
// Threads of a threadgroup, SimdWidth, and Settings with the reasons for the rest.
type Schedule = kernel.Schedule

// Setting is one choice of a Schedule: Name, Value and Why.
type Setting = kernel.Setting

// StepLayout describes the block of numbers that a run rewrites before each step.
// Fields lie in order, 4 bytes for each element, without padding.
type StepLayout = kernel.StepLayout

// StepField is one number (Len 0) of a StepLayout, or an array of Len numbers, I32
// or F32.
type StepField = kernel.StepField

// Builder writes a kernel. Pointer, Scalar and SharedArray declare what it works on,
// StepValue and StepAt read the step block, Let, Var, For, If, Barrier, Fragment and
// Comment add statements, and Kernel verifies what was built. Names that are taken
// get a number behind them.
type Builder = kernel.Builder

// New starts a kernel. A step of nil is a block without fields; doc is the header
// comment, a line each.
func New(name string, step *StepLayout, s Schedule, doc ...string) *Builder {
	return kernel.New(name, step, s, doc...)
}

// Buffer is a pointer parameter: At loads an element, Set stores one, Prefetch hints
// at one.
type Buffer = kernel.Buffer

// Array is an array of threadgroup memory: At loads an element, Set stores one.
type Array = kernel.Array

// Variable is an Expr that Set gives another value.
type Variable = kernel.Variable

// Matrix is a matrix that a SIMD group holds: Load, Store and Accumulate.
type Matrix = kernel.Matrix

// Access says what a kernel does with a buffer.
type Access = kernel.Access

// The accesses of a buffer.
const (
	Read      Access = kernel.Read
	Write     Access = kernel.Write
	ReadWrite Access = kernel.ReadWrite
)

// Scalar is an element type; Bytes is its size in memory.
type Scalar = kernel.Scalar

// The element types. Bool is for conditions only; U8, U16 and F16 are for
// memory: arithmetic converts them first. I64 is for addresses.
const (
	Bool Scalar = kernel.Bool
	I32  Scalar = kernel.I32
	U32  Scalar = kernel.U32
	F32  Scalar = kernel.F32
	I64  Scalar = kernel.I64
	U8   Scalar = kernel.U8
	U16  Scalar = kernel.U16
	F16  Scalar = kernel.F16
)

// Type is a Scalar (Lanes 1) or a vector of 2 or 4.
type Type = kernel.Type

// Of is the scalar type.
func Of(s Scalar) Type { return kernel.Of(s) }

// Vec is the vector type of n lanes, 2 or 4.
func Vec(s Scalar, n int) Type { return kernel.Vec(s, n) }

// Expr is a typed expression. Add, Mul, Min, Lt, Select, Fma, Exp, SimdSum and more
// combine it with others, To converts it, As reinterprets its bits, and Lane takes one
// lane. Expressions have no effects: loads read what memory holds when the statement
// that contains them runs.
type Expr = kernel.Expr

// I is a constant of type i32.
func I(v int) *Expr { return kernel.I(v) }

// U is a constant of type u32.
func U(v uint32) *Expr { return kernel.U(v) }

// F is a constant of type f32.
func F(v float64) *Expr { return kernel.F(v) }

// Group is the threadgroup's position in the grid along an axis: 0, 1 or 2 (i32).
func Group(axis int) *Expr { return kernel.Group(axis) }

// Thread is the thread's index in its threadgroup (i32).
func Thread() *Expr { return kernel.Thread() }

// Lane is the lane's index in its SIMD group (i32).
func Lane() *Expr { return kernel.Lane() }

// Simd is the SIMD group's index in its threadgroup (i32).
func Simd() *Expr { return kernel.Simd() }

// Vector makes a vector of 2 or 4 scalars of one type.
func Vector(lanes ...*Expr) *Expr { return kernel.Vector(lanes...) }
