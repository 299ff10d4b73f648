// Package kernel is smelt's kernel IR: one GPU kernel as a typed, structured
// SIMT program. Printers (packages msl and llvm) turn it into a target's text and
// decide nothing; what a target lacks is legalised here.
//
// A launch runs a grid of threadgroups. A threadgroup is Schedule.Threads
// threads in SIMD groups of Schedule.SimdWidth lanes; its threads share the
// kernel's Shared arrays and meet at barriers. Threadgroups never meet.
//
// The package knows no tensor operation, no model and no target. Package
// codegen/kernel is its public face.
package kernel

import "fmt"

// Kernel is one program with its interface and schedule.
type Kernel struct {
	Name     string
	Doc      []string // what it computes, for the header comment; one line each
	Schedule Schedule
	Step     *StepLayout // the layout of the step block all kernels of a plan read
	Params   []*Param    // in the order of the argument block
	Shared   []*Shared   // threadgroup memory
	Body     []Stmt
}

// Schedule holds the numbers that may differ between targets for one computation.
type Schedule struct {
	Threads   int // per threadgroup, a multiple of SimdWidth
	SimdWidth int // lanes of a SIMD group
	// Settings lists all other choices (tile sizes, rows a pass ...) with reasons,
	// for `smelt inspect --explain`; printers ignore it.
	Settings []Setting
}

// Setting is one choice of a schedule with its reason.
type Setting struct{ Name, Value, Why string }

// Access says what a kernel does with a buffer.
type Access uint8

// The accesses of a buffer.
const (
	Read Access = iota
	Write
	ReadWrite
)

var accesses = [...]string{Read: "read", Write: "write", ReadWrite: "readwrite"}

func (a Access) String() string { return wordOf(accesses[:], int(a)) }

// Param is one field of the argument block: a pointer into device memory, or
// (Pointer false) a 32-bit scalar that the plan fixes for each launch.
type Param struct {
	Name    string
	Pointer bool
	Elem    Type // of a pointer, what it points at; of a scalar, I32, U32 or F32
	Access  Access
}

// Shared is an array in threadgroup memory. Its content is undefined when a
// threadgroup starts.
type Shared struct {
	Name string
	Elem Scalar
	Len  int
}

// Bytes is the size of the array.
func (s *Shared) Bytes() int { return s.Len * s.Elem.Bytes() }

// StepLayout describes the block of step parameters, which a run rewrites before each
// step. Fields lie in order, 4 bytes for each element, without padding.
type StepLayout struct{ Fields []StepField }

// StepField is one number (Len 0) or an array of Len numbers, I32 or F32.
type StepField struct {
	Name string
	Elem Scalar
	Len  int
}

// Field returns the field of that name, or nil.
func (l *StepLayout) Field(name string) *StepField {
	for i := range l.Fields {
		if l.Fields[i].Name == name {
			return &l.Fields[i]
		}
	}
	return nil
}

// Offset is the byte offset of a field, -1 for an unknown one.
func (l *StepLayout) Offset(name string) int {
	at := 0
	for _, f := range l.Fields {
		if f.Name == name {
			return at
		}
		at += 4 * max(f.Len, 1)
	}
	return -1
}

// Bytes is the size of the block.
func (l *StepLayout) Bytes() int {
	at := 0
	for _, f := range l.Fields {
		at += 4 * max(f.Len, 1)
	}
	return at
}

// Scalar is an element type.
type Scalar uint8

// The element types. Bool is for conditions only; U8, U16 and F16 are for
// memory: arithmetic converts them first. I64 is for addresses.
const (
	Bool Scalar = iota
	I32
	U32
	F32
	I64
	U8
	U16
	F16
)

var scalars = [...]struct {
	name  string
	bytes int
}{Bool: {"bool", 1}, I32: {"i32", 4}, U32: {"u32", 4}, F32: {"f32", 4}, I64: {"i64", 8}, U8: {"u8", 1}, U16: {"u16", 2}, F16: {"f16", 2}}

func (s Scalar) String() string {
	if int(s) < len(scalars) {
		return scalars[s].name
	}
	return fmt.Sprintf("scalar(%d)", s)
}

// Bytes is the size of an element in memory; 0 for an unknown type.
func (s Scalar) Bytes() int {
	if int(s) < len(scalars) {
		return scalars[s].bytes
	}
	return 0
}

// Type is a scalar (Lanes 1) or a vector of 2 or 4.
type Type struct {
	Scalar Scalar
	Lanes  int
}

// Of is the scalar type.
func Of(s Scalar) Type { return Type{s, 1} }

// Vec is the vector type of n lanes.
func Vec(s Scalar, n int) Type { return Type{s, n} }

// Bytes is the size in memory.
func (t Type) Bytes() int { return t.Scalar.Bytes() * t.Lanes }

// String is f32 or f32x4.
func (t Type) String() string {
	if t.Lanes == 1 {
		return t.Scalar.String()
	}
	return fmt.Sprintf("%sx%d", t.Scalar, t.Lanes)
}

// Args is the layout of the argument block: pointers take 8 bytes, scalars 4,
// each at its natural alignment, the whole a multiple of 8. It returns the
// offset of each parameter and the size.
func (k *Kernel) Args() (offsets []int, size int) {
	for _, p := range k.Params {
		n := 4
		if p.Pointer {
			n = 8
		}
		size = (size + n - 1) / n * n
		offsets = append(offsets, size)
		size += n
	}
	return offsets, (size + 7) / 8 * 8
}

// Param returns the parameter of that name, or nil.
func (k *Kernel) Param(name string) *Param {
	for _, p := range k.Params {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// SharedBytes is the threadgroup memory a threadgroup takes, every array
// rounded up to 16 bytes.
func (k *Kernel) SharedBytes() int {
	n := 0
	for _, s := range k.Shared {
		n += (s.Bytes() + 15) / 16 * 16
	}
	return n
}
