package kernel

// Stmt is a statement; the types below are all there are.
type Stmt interface{ stmt() }

// Comment is a remark for readers of the printed kernel.
type Comment struct{ Text string }

// Let names a value that does not change. An estimate takes About, if not nil, for a
// value that depends on data: the mean, say. Code does not depend on it.
type Let struct {
	Name  string
	Value *Expr
	About *Expr
}

// Var declares a variable of the thread.
type Var struct {
	Name string
	Init *Expr
}

// Set assigns to a Var.
type Set struct {
	Name  string
	Value *Expr
}

// Locals declares Len variables of the thread under one name. They have no values yet.
// Indices are known once loops are unrolled, so that variables lie in registers.
type Locals struct {
	Name string
	Elem Type
	Len  int
}

// SetElement assigns to one of Locals.
type SetElement struct {
	Name  string
	Index *Expr
	Value *Expr
}

// Store writes Value to element Index of a place.
type Store struct {
	Space Space // Device or Threadgroup
	Name  string
	Index *Expr
	Value *Expr
}

// Prefetch says that element Index of device memory, by the first lane's number,
// is going to be read: a hint for machines whose caches take hints. It changes
// no result, and the index may lie anywhere.
type Prefetch struct {
	Name  string
	Index *Expr
}

// For counts Name (i32) from Lo while it is below Hi, in steps of Step. Unrolled asks
// the target's compiler for code without a loop; bounds and step are constants then.
type For struct {
	Name         string
	Lo, Hi, Step *Expr
	Unrolled     bool
	Body         []Stmt
}

// If runs Then where the condition holds, else Else.
type If struct {
	Cond       *Expr
	Then, Else []Stmt
}

// Barrier makes all threads of the threadgroup meet. What they wrote to
// threadgroup memory, and with Device also to device memory, is seen by all
// of the threadgroup after it.
type Barrier struct{ Device bool }

// fragmentSide is how many rows and columns fragments have where nothing is said.
const fragmentSide = 8

// Fragment declares a matrix of F32 or F16 held by a SIMD group, filled with
// zero. How lanes hold it is the target's secret. GPUs have 8x8; where registers
// are vectors the schedule says how many of them a matrix is to fill.
type Fragment struct {
	Name          string
	Elem          Scalar
	Rows, Columns int
}

// FragmentLoad reads a fragment: row r, column c is element Index+r*Stride+c of
// the place (c*Stride+r with Transpose).
type FragmentLoad struct {
	Name      string
	Space     Space
	Place     string
	Index     *Expr
	Stride    *Expr
	Transpose bool
}

// FragmentStore writes a fragment to a place, laid out as in FragmentLoad.
type FragmentStore struct {
	Name   string
	Space  Space
	Place  string
	Index  *Expr
	Stride *Expr
}

// FragmentMultiply is D += A times B, of fitting sizes. An element's products are
// added to it one after the other, in the order of A's columns.
type FragmentMultiply struct{ D, A, B string }

func (*Comment) stmt()          {}
func (*Let) stmt()              {}
func (*Var) stmt()              {}
func (*Set) stmt()              {}
func (*Locals) stmt()           {}
func (*SetElement) stmt()       {}
func (*Store) stmt()            {}
func (*Prefetch) stmt()         {}
func (*For) stmt()              {}
func (*If) stmt()               {}
func (*Barrier) stmt()          {}
func (*Fragment) stmt()         {}
func (*FragmentLoad) stmt()     {}
func (*FragmentStore) stmt()    {}
func (*FragmentMultiply) stmt() {}
