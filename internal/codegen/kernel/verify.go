package kernel

import (
	"fmt"
)

// Limits of a threadgroup on any machine. A CPU's second level of cache is the largest
// threadgroup memory; lowering checks the target's own.
const (
	maxThreads = 1024
	maxSide    = 1 << 12 // rows or columns of a fragment
	maxField   = 1 << 24 // numbers of an array of the step block
	maxShared  = 1 << 20
	maxLocals  = 1 << 10 // variables of a thread under one name
)

// Verify checks a kernel: every expression has the type its operation's rule
// gives; names are declared once and visible where they are used; stores go to
// places that may be written and loads to places that may be read, with the
// place's element type; indices that are known before running lie inside;
// barriers stand where all threads of the threadgroup come along, operations
// over a SIMD group and on fragments where all its lanes do (see uniform.go);
// the schedule fits a threadgroup; and the text form carries all of it, so that
// Parse gives back what Print writes (see carried.go).
func Verify(k *Kernel) error {
	v := &verifier{k: k, declared: map[string]bool{}, scope: map[string]local{}}
	if err := v.head(); err != nil {
		return fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	if err := v.block(k.Body); err != nil {
		return fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	if err := uniformity(k); err != nil {
		return fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	return nil
}

// local is a name of a block: a Let, a Var, Locals, a For's counter or a fragment.
type local struct {
	typ      Type
	variable bool // Set may assign it
	several  *Locals
	fragment *Fragment
	known    bool  // a counter with constant bounds
	last     int64 // its largest value
	unrolled bool  // a counter of a loop that is unrolled
	first    int64 // its least value
}

type verifier struct {
	k        *Kernel
	declared map[string]bool  // all names, ever
	scope    map[string]local // those visible
	depth    int              // of blocks and operands, as the parser counts
	size     int              // bytes of text, at most
	located  bool             // the error names its statement
}

func (v *verifier) declare(name string) error {
	if !IsName(name) {
		return fmt.Errorf("%.60q is not a name", name)
	}
	if v.declared[name] {
		return fmt.Errorf("%s is declared twice", name)
	}
	v.declared[name] = true
	return nil
}

func (v *verifier) head() error {
	k, s := v.k, v.k.Schedule
	if !IsName(k.Name) {
		return fmt.Errorf("%.60q is not a name", k.Name)
	}
	if err := v.texts(); err != nil {
		return err
	}
	if s.SimdWidth < 1 || s.Threads < 1 || s.Threads%s.SimdWidth != 0 || s.Threads > maxThreads {
		return fmt.Errorf("%d threads in SIMD groups of %d; expected a multiple of the group of at most %d", s.Threads, s.SimdWidth, maxThreads)
	}
	for _, p := range k.Params {
		if err := v.declare(p.Name); err != nil {
			return fmt.Errorf("parameter %w", err)
		}
		if !p.Elem.valid() || p.Elem.Scalar == Bool || int(p.Access) >= len(accesses) {
			return fmt.Errorf("parameter %s: no memory holds %s to %s", p.Name, p.Elem, p.Access)
		}
		if !p.Pointer && (p.Elem.Lanes != 1 || p.Elem.Bytes() != 4 || p.Access != Read) {
			return fmt.Errorf("parameter %s: a scalar parameter is i32, u32 or f32 and only read, not %s", p.Name, p.Elem)
		}
	}
	for _, a := range k.Shared {
		if err := v.declare(a.Name); err != nil {
			return fmt.Errorf("threadgroup array %w", err)
		}
		if a.Len < 1 || a.Len > maxShared || !Of(a.Elem).valid() || a.Elem == Bool || a.Elem == I64 {
			return fmt.Errorf("threadgroup array %s: %d elements of %s do not fit threadgroup memory", a.Name, a.Len, a.Elem)
		}
	}
	if n := k.SharedBytes(); n > maxShared {
		return fmt.Errorf("%d bytes of threadgroup memory; at most %d are there", n, maxShared)
	}
	return v.step()
}

func (v *verifier) step() error {
	if v.k.Step == nil {
		return fmt.Errorf("the layout of the step block is missing; of an empty one it is &StepLayout{}")
	}
	names := map[string]bool{}
	for _, f := range v.k.Step.Fields {
		if !IsName(f.Name) || names[f.Name] || f.Len < 0 || f.Len > maxField || f.Elem != I32 && f.Elem != F32 {
			return fmt.Errorf("field %q of the step block: expected i32 or f32 under a name of its own", f.Name)
		}
		names[f.Name] = true
	}
	return nil
}

// block checks statements; what they declare ends with them.
func (v *verifier) block(body []Stmt) error {
	if err := v.deeper(); err != nil {
		return err
	}
	var mine []string
	defer func() {
		v.depth--
		for _, name := range mine {
			delete(v.scope, name)
		}
	}()
	for _, s := range body {
		if err := v.grow(2*v.depth + stmtBytes + namesOf(s)); err != nil {
			return err
		}
		name, l, err := v.stmt(s)
		if err == nil && declares(s) {
			err = v.declare(name)
			v.scope[name] = l
			mine = append(mine, name)
		}
		if err != nil && !v.located {
			v.located = true
			err = fmt.Errorf("%s: %w", clip(s), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clip prints the first line of a statement, for errors.
func clip(s Stmt) string {
	p := &textPrinter{limit: 100}
	p.stmt(s)
	line := p.out.String()
	for i, c := range line {
		if c == '\n' || i > 100 {
			return line[:i]
		}
	}
	return line
}

// declares reports whether a statement declares a name for those behind it.
func declares(s Stmt) bool {
	switch s.(type) {
	case *Let, *Var, *Locals, *Fragment:
		return true
	}
	return false
}

// stmt checks one statement and returns what it declares.
func (v *verifier) stmt(s Stmt) (name string, l local, err error) {
	switch s := s.(type) {
	case *Comment:
		return "", l, v.oneLine("the comment", s.Text)
	case *Barrier:
		return "", l, nil
	case *Let:
		err := v.expr(s.Value)
		if err == nil && s.About != nil {
			err = v.typed(s.About, s.Value.Type)
		}
		return s.Name, local{typ: s.Value.Type}, err
	case *Var:
		return s.Name, local{typ: s.Init.Type, variable: true}, v.expr(s.Init)
	case *Set:
		have, ok := v.scope[s.Name]
		if !ok || !have.variable {
			return "", l, fmt.Errorf("%s is no variable of this block", s.Name)
		}
		return "", l, v.typed(s.Value, have.typ)
	case *Locals:
		return s.Name, local{typ: s.Elem, several: s}, v.variables(s)
	case *SetElement:
		if err := v.element(s.Name, s.Index); err != nil {
			return "", l, err
		}
		return "", l, v.typed(s.Value, v.scope[s.Name].typ)
	case *Store:
		if err := v.index(s.Space, s.Name, s.Index, s.Value.Type, true); err != nil {
			return "", l, err
		}
		return "", l, v.expr(s.Value)
	case *Prefetch:
		return "", l, v.prefetch(s)
	case *For:
		return "", l, v.loop(s)
	case *If:
		if err := v.typed(s.Cond, Of(Bool)); err != nil {
			return "", l, err
		}
		if err := v.block(s.Then); err != nil {
			return "", l, err
		}
		return "", l, v.block(s.Else)
	}
	return v.fragment(s)
}

func (v *verifier) prefetch(s *Prefetch) error {
	if p := v.k.Param(s.Name); p == nil || !p.Pointer {
		return fmt.Errorf("there is no device memory %s", s.Name)
	}
	if t := s.Index.Type; t.Lanes != 1 || !t.Scalar.integer() {
		return fmt.Errorf("the index is %s, must be an integer", t)
	}
	return v.expr(s.Index)
}

func (v *verifier) loop(s *For) error {
	for _, e := range []*Expr{s.Lo, s.Hi, s.Step} {
		if err := v.typed(e, Of(I32)); err != nil {
			return err
		}
	}
	if n, ok := s.Step.Constant(); ok && n <= 0 {
		return fmt.Errorf("the step is %d; it must be above 0", n)
	}
	if s.Unrolled && (s.Lo.Op != OpConst || s.Hi.Op != OpConst || s.Step.Op != OpConst) {
		return fmt.Errorf("an unrolled loop has bounds and a step that are constants")
	}
	if err := v.declare(s.Name); err != nil {
		return err
	}
	counter := local{typ: Of(I32)}
	if lo, hi := v.most(s.Lo), v.most(s.Hi); lo.known && hi.known {
		step := max(v.most(s.Step).last, 1)
		counter.known, counter.last = true, lo.last+max(hi.last-1-lo.last, 0)/step*step
	}
	counter.unrolled, counter.first = s.Unrolled, s.Lo.Int
	v.scope[s.Name] = counter
	defer delete(v.scope, s.Name)
	return v.block(s.Body)
}

// fragment checks the statements on fragments.
func (v *verifier) fragment(s Stmt) (name string, l local, err error) {
	elem := func(names ...string) (Scalar, error) {
		for i, n := range names {
			have, ok := v.scope[n]
			if !ok || have.fragment == nil {
				return 0, fmt.Errorf("%s is no fragment of this block", n)
			}
			if i > 0 && have.typ != v.scope[names[0]].typ {
				return 0, fmt.Errorf("fragments %s and %s hold %s and %s", names[0], n, v.scope[names[0]].typ, have.typ)
			}
		}
		return v.scope[names[0]].typ.Scalar, nil
	}
	switch s := s.(type) {
	case *Fragment:
		if s.Elem != F32 && s.Elem != F16 {
			return "", l, fmt.Errorf("a fragment holds f32 or f16, not %s", s.Elem)
		}
		if s.Rows < 1 || s.Columns < 1 || s.Rows > maxSide || s.Columns > maxSide {
			return "", l, fmt.Errorf("a fragment of %d rows and %d columns", s.Rows, s.Columns)
		}
		return s.Name, local{typ: Of(s.Elem), fragment: s}, nil
	case *FragmentLoad:
		_, err := elem(s.Name)
		if err == nil {
			err = v.tile(s.Space, s.Place, s.Index, s.Stride, v.scope[s.Name].fragment, s.Transpose, false)
		}
		return "", l, err
	case *FragmentStore:
		_, err := elem(s.Name)
		if err == nil {
			err = v.tile(s.Space, s.Place, s.Index, s.Stride, v.scope[s.Name].fragment, false, true)
		}
		return "", l, err
	case *FragmentMultiply:
		if _, err := elem(s.A, s.B); err != nil {
			return "", l, err
		}
		d, err := elem(s.D)
		if err == nil && d != F32 {
			err = fmt.Errorf("products are added up in f32, not %s", d)
		}
		if err == nil {
			err = fitting(v.scope[s.D].fragment, v.scope[s.A].fragment, v.scope[s.B].fragment)
		}
		return "", l, err
	}
	return "", l, fmt.Errorf("statement %T is unknown", s)
}

// tile checks the place of a fragment's transfer; its far corner must lie
// inside where it is known.
func (v *verifier) tile(space Space, name string, index, stride *Expr, f *Fragment, transpose, write bool) error {
	if err := v.typed(stride, Of(I32)); err != nil {
		return err
	}
	if err := v.index(space, name, index, Of(f.Elem), write); err != nil {
		return err
	}
	rows, columns := f.Rows, f.Columns
	if transpose {
		rows, columns = columns, rows
	}
	last := func(n int) *Expr { return C(index.Type.Scalar, float64(n-1)) }
	corner := index.Add(stride.To(index.Type.Scalar).Mul(last(rows))).Add(last(columns))
	return v.inside(space, name, corner)
}

// fitting refuses a product whose sizes do not.
func fitting(d, a, b *Fragment) error {
	if a.Columns != b.Rows || d.Rows != a.Rows || d.Columns != b.Columns {
		return fmt.Errorf("%d x %d times %d x %d does not give %d x %d", a.Rows, a.Columns, b.Rows, b.Columns, d.Rows, d.Columns)
	}
	return nil
}

// index checks an access, and the index as an expression of its own.
func (v *verifier) index(space Space, name string, index *Expr, t Type, write bool) error {
	if err := v.expr(index); err != nil {
		return err
	}
	return v.place(space, name, index, t, write)
}

// place checks an access to an element of type t; the index was checked.
func (v *verifier) place(space Space, name string, index *Expr, t Type, write bool) error {
	elem, ok := v.k.element(space, name)
	if !ok {
		return fmt.Errorf("there is no %s", place(space, name))
	}
	if elem != t {
		return fmt.Errorf("%s holds %s, not %s", place(space, name), elem, t)
	}
	if space == Device {
		switch a := v.k.Param(name).Access; {
		case write && a == Read:
			return fmt.Errorf("%s is only read", name)
		case !write && a == Write:
			return fmt.Errorf("%s is only written", name)
		}
	} else if write && space == StepBlock {
		return fmt.Errorf("the step block is only read")
	}
	if !index.Type.Scalar.integer() || index.Type.Lanes != 1 {
		return fmt.Errorf("an index is i32, u32 or i64, not %s", index.Type)
	}
	return v.inside(space, name, index)
}

// inside refuses an index that is known to be outside its array.
func (v *verifier) inside(space Space, name string, index *Expr) error {
	n := int64(-1)
	switch space {
	case Threadgroup:
		for _, a := range v.k.Shared {
			if a.Name == name {
				n = int64(a.Len)
			}
		}
	case StepBlock:
		n = int64(v.k.Step.Field(name).Len)
	default:
		return nil
	}
	if at := v.most(index); at.known && (at.last >= n || index.Op == OpConst && at.last < 0) {
		return fmt.Errorf("element %d of %s, which has %d", at.last, name, n)
	}
	return nil
}

// most is the largest value of an index, as far as it follows from constants and counters
// with constant bounds. Values that depend on the thread are left out: conditions narrow
// them.
func (v *verifier) most(e *Expr) local {
	known := func(n int64) local { return local{known: true, last: n} }
	switch e.Op {
	case OpConst:
		return known(e.Int)
	case OpLocal:
		return v.scope[e.Name]
	case OpAdd, OpMul, OpRem:
		a, b := v.most(e.Args[0]), v.most(e.Args[1])
		switch {
		case e.Op == OpRem && b.known && e.Args[1].Op == OpConst:
			if a.known {
				return known(min(a.last, b.last-1))
			}
			return local{}
		case !a.known || !b.known || a.last < 0 || b.last < 0:
			return local{}
		case e.Op == OpAdd:
			return known(a.last + b.last)
		case e.Op == OpMul:
			return known(a.last * b.last)
		}
	}
	return local{}
}

func (v *verifier) typed(e *Expr, want Type) error {
	if e.Type != want {
		return fmt.Errorf("expected %s, found %s", want, e.Type)
	}
	return v.expr(e)
}

// expr checks an expression and all below it.
func (v *verifier) expr(e *Expr) error {
	if err := v.deeper(); err != nil {
		return err
	}
	defer func() { v.depth-- }()
	if e.Op >= opCount {
		return fmt.Errorf("operation %d is unknown", e.Op)
	}
	if err := v.carried(e); err != nil {
		return err
	}
	row := ops[e.Op]
	if n := len(e.Args); row.args >= 0 && n != row.args {
		return fmt.Errorf("%s takes %d operands, has %d", e.Op, row.args, n)
	}
	for _, a := range e.Args {
		if err := v.expr(a); err != nil {
			return err
		}
	}
	t, err := row.types(e)
	if err != nil {
		return err
	}
	if t != e.Type {
		return fmt.Errorf("%s gives %s, is marked %s", e.Op, t, e.Type)
	}
	return v.leaf(e)
}

// leaf checks the name in an expression.
func (v *verifier) leaf(e *Expr) error {
	switch e.Op {
	case OpConst:
		return constantFits(e)
	case OpLocal:
		if l, ok := v.scope[e.Name]; !ok || l.fragment != nil || l.several != nil || l.typ != e.Type {
			return fmt.Errorf("%s is no %s of this block", e.Name, e.Type)
		}
	case OpElement:
		if err := v.element(e.Name, e.Args[0]); err != nil {
			return err
		}
		if t := v.scope[e.Name].typ; t != e.Type {
			return fmt.Errorf("%s are %s, not %s", e.Name, t, e.Type)
		}
	case OpScalar:
		if p := v.k.Param(e.Name); p == nil || p.Pointer || p.Elem != e.Type {
			return fmt.Errorf("%s is no scalar parameter of %s", e.Name, e.Type)
		}
	case OpStep:
		if f := v.k.Step.Field(e.Name); f == nil || f.Len != 0 || Of(f.Elem) != e.Type {
			return fmt.Errorf("the step block has no number %s of %s", e.Name, e.Type)
		}
	case OpGroup:
		if e.Int < 0 || e.Int > 2 {
			return fmt.Errorf("a grid has no axis %d", e.Int)
		}
	case OpLoad:
		return v.place(e.Space, e.Name, e.Args[0], e.Type, false)
	case OpSimdShuffleXor:
		if e.Int < 1 || e.Int >= int64(v.k.Schedule.SimdWidth) {
			return fmt.Errorf("shuffle_xor%d in a SIMD group of %d", e.Int, v.k.Schedule.SimdWidth)
		}
	}
	return nil
}
