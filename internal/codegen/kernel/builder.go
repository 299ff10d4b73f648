package kernel

import "fmt"

// Builder writes a kernel. Names it is given are made unique by a number
// behind them, so that code fragments compose.
type Builder struct {
	k     *Kernel
	names map[string]int
	block *[]Stmt
}

// New starts a kernel. A step of nil is a block without fields.
func New(name string, step *StepLayout, s Schedule, doc ...string) *Builder {
	if step == nil {
		step = &StepLayout{}
	}
	b := &Builder{k: &Kernel{Name: name, Doc: doc, Schedule: s, Step: step}, names: map[string]int{}}
	b.block = &b.k.Body
	return b
}

// Kernel verifies and returns the kernel.
func (b *Builder) Kernel() (*Kernel, error) {
	if err := Verify(b.k); err != nil {
		return nil, err
	}
	return b.k, nil
}

// Schedule is the kernel's schedule.
func (b *Builder) Schedule() Schedule { return b.k.Schedule }

func (b *Builder) unique(name string) string {
	b.names[name]++
	if n := b.names[name]; n > 1 {
		return b.unique(fmt.Sprintf("%s_%d", name, n))
	}
	return name
}

func (b *Builder) add(s Stmt) { *b.block = append(*b.block, s) }

// Buffer is a pointer parameter.
type Buffer struct {
	b *Builder
	p *Param
}

// Pointer declares a parameter that points to elements of type t.
func (b *Builder) Pointer(name string, t Type, a Access) Buffer {
	p := &Param{Name: b.unique(name), Pointer: true, Elem: t, Access: a}
	b.k.Params = append(b.k.Params, p)
	return Buffer{b, p}
}

// Name is the parameter's name, by which the launch binds it.
func (p Buffer) Name() string { return p.p.Name }

// At loads element i (i32, u32 or i64).
func (p Buffer) At(i *Expr) *Expr {
	return &Expr{Op: OpLoad, Type: p.p.Elem, Args: []*Expr{i}, Name: p.p.Name, Space: Device}
}

// Set stores element i.
func (p Buffer) Set(i, v *Expr) { p.b.add(&Store{Device, p.p.Name, i, v}) }

// Prefetch says that element i, by the first lane's number, is going to be read.
func (p Buffer) Prefetch(i *Expr) { p.b.add(&Prefetch{p.p.Name, i}) }

// Scalar declares a 32-bit scalar parameter that the plan fixes.
func (b *Builder) Scalar(name string, s Scalar) (param string, value *Expr) {
	p := &Param{Name: b.unique(name), Elem: Of(s)}
	b.k.Params = append(b.k.Params, p)
	return p.Name, &Expr{Op: OpScalar, Type: p.Elem, Name: p.Name}
}

// StepValue reads a number of the step block.
func (b *Builder) StepValue(field string) *Expr {
	f := b.k.Step.Field(field)
	if f == nil {
		panic("kernel: the step block lacks " + field)
	}
	return &Expr{Op: OpStep, Type: Of(f.Elem), Name: field}
}

// StepAt reads element i of an array of the step block.
func (b *Builder) StepAt(field string, i *Expr) *Expr {
	f := b.k.Step.Field(field)
	if f == nil {
		panic("kernel: the step block lacks " + field)
	}
	return &Expr{Op: OpLoad, Type: Of(f.Elem), Args: []*Expr{i}, Name: field, Space: StepBlock}
}

// Array is a threadgroup array.
type Array struct {
	b *Builder
	s *Shared
}

// SharedArray declares threadgroup memory. Parts of a kernel that never run in
// the same threadgroup may ask for the same name and type again and get one
// array, of the larger length.
func (b *Builder) SharedArray(name string, elem Scalar, n int) Array {
	for _, s := range b.k.Shared {
		if s.Name == name && s.Elem == elem {
			s.Len = max(s.Len, n)
			return Array{b, s}
		}
	}
	s := &Shared{Name: b.unique(name), Elem: elem, Len: n}
	b.k.Shared = append(b.k.Shared, s)
	return Array{b, s}
}

// At loads element i.
func (a Array) At(i *Expr) *Expr {
	return &Expr{Op: OpLoad, Type: Of(a.s.Elem), Args: []*Expr{i}, Name: a.s.Name, Space: Threadgroup}
}

// Set stores element i.
func (a Array) Set(i, v *Expr) { a.b.add(&Store{Threadgroup, a.s.Name, i, v}) }

// Comment adds a remark.
func (b *Builder) Comment(format string, args ...any) { b.add(&Comment{fmt.Sprintf(format, args...)}) }

// Let names a value; use it wherever an expression occurs more than once.
func (b *Builder) Let(name string, v *Expr) *Expr { return b.LetAbout(name, v, nil) }

// LetAbout names a value that depends on data; estimates use `about` in its place.
func (b *Builder) LetAbout(name string, v, about *Expr) *Expr {
	l := &Let{b.unique(name), v, about}
	b.add(l)
	return &Expr{Op: OpLocal, Type: v.Type, Name: l.Name}
}

// Variable is a Var that can be read and set.
type Variable struct {
	b *Builder
	*Expr
}

// Var declares a variable.
func (b *Builder) Var(name string, init *Expr) Variable {
	v := &Var{b.unique(name), init}
	b.add(v)
	return Variable{b, &Expr{Op: OpLocal, Type: init.Type, Name: v.Name}}
}

// Vars declares n variables name0, name1 ...
func (b *Builder) Vars(name string, n int, init *Expr) []Variable {
	vs := make([]Variable, n)
	for i := range vs {
		vs[i] = b.Var(fmt.Sprintf("%s%d", name, i), init)
	}
	return vs
}

// Set assigns.
func (v Variable) Set(x *Expr) { v.b.add(&Set{v.Name, x}) }

// Several are variables under one name, of which the index is known once loops are
// unrolled.
type Several struct {
	b *Builder
	l *Locals
}

// Several declares n variables, without values.
func (b *Builder) Several(name string, t Type, n int) Several {
	l := &Locals{b.unique(name), t, n}
	b.add(l)
	return Several{b, l}
}

// At is variable i.
func (s Several) At(i *Expr) *Expr {
	return &Expr{Op: OpElement, Type: s.l.Elem, Args: []*Expr{i}, Name: s.l.Name}
}

// Set assigns to variable i.
func (s Several) Set(i, v *Expr) { s.b.add(&SetElement{s.l.Name, i, v}) }

// within runs f with statements going to dst.
func (b *Builder) within(dst *[]Stmt, f func()) {
	outer := b.block
	b.block = dst
	f()
	b.block = outer
}

// For counts from lo while below hi.
func (b *Builder) For(name string, lo, hi, step *Expr, body func(i *Expr)) {
	s := &For{Name: b.unique(name), Lo: lo, Hi: hi, Step: step}
	b.within(&s.Body, func() { body(&Expr{Op: OpLocal, Type: Of(I32), Name: s.Name}) })
	b.add(s)
}

// Unroll counts from 0 while below n; the target's compiler is asked for code without a
// loop.
func (b *Builder) Unroll(name string, n int, body func(i *Expr)) {
	b.For(name, I(0), I(n), I(1), body)
	(*b.block)[len(*b.block)-1].(*For).Unrolled = true
}

// If runs then where the condition holds, else (may be nil) otherwise.
func (b *Builder) If(cond *Expr, then, otherwise func()) {
	s := &If{Cond: cond}
	b.within(&s.Then, then)
	if otherwise != nil {
		b.within(&s.Else, otherwise)
	}
	b.add(s)
}

// Barrier makes the threadgroup meet; threadgroup memory is ordered.
func (b *Builder) Barrier() { b.add(&Barrier{}) }

// DeviceBarrier also orders the threadgroup's accesses to device memory.
func (b *Builder) DeviceBarrier() { b.add(&Barrier{Device: true}) }

// Matrix is a fragment.
type Matrix struct {
	b    *Builder
	name string
}

// Fragment declares a matrix of zeros.
func (b *Builder) Fragment(name string, elem Scalar, rows, columns int) Matrix {
	f := &Fragment{b.unique(name), elem, rows, columns}
	b.add(f)
	return Matrix{b, f.Name}
}

// Load fills the matrix from a threadgroup array: row r, column c from element
// i+r*stride+c (i+c*stride+r if transposed).
func (m Matrix) Load(from Array, i, stride *Expr, transpose bool) {
	m.b.add(&FragmentLoad{m.name, Threadgroup, from.s.Name, i, stride, transpose})
}

// LoadBuffer fills the matrix from device memory.
func (m Matrix) LoadBuffer(from Buffer, i, stride *Expr, transpose bool) {
	m.b.add(&FragmentLoad{m.name, Device, from.p.Name, i, stride, transpose})
}

// Store writes the matrix to a threadgroup array.
func (m Matrix) Store(to Array, i, stride *Expr) {
	m.b.add(&FragmentStore{m.name, Threadgroup, to.s.Name, i, stride})
}

// StoreBuffer writes the matrix to device memory.
func (m Matrix) StoreBuffer(to Buffer, i, stride *Expr) {
	m.b.add(&FragmentStore{m.name, Device, to.p.Name, i, stride})
}

// Accumulate adds a times b.
func (m Matrix) Accumulate(a, b Matrix) { m.b.add(&FragmentMultiply{m.name, a.name, b.name}) }
