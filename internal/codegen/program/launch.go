package program

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/ir"
)

// Launch is one dispatch.
type Launch struct {
	Kernel *kernel.Kernel
	Region string     // the region it stands for
	Role   string     // what it does there: "score", "merge"; empty if the region is one launch
	Grid   [3]ir.Expr // threadgroups, over the module's symbols
	Args   []Arg      // one for each of the kernel's parameters, in order
}

// Arg binds one kernel parameter. Exactly one of Value, Scratch, Weight, State,
// Kept and Shift is set.
type Arg struct {
	Param         string
	Value         *ir.Value  // an activation in the arena
	Scratch       *Scratch   // memory of the region in the arena
	Weight        *WeightArg // a plane of a parameter, or its table of pieces
	State         string     // a cache; all slots, from the first byte; in a prefill step the area of a ring
	Kept          string     // a ring in the slots, of whatever kind the step is
	Shift         string     // a u32: the bits by which words of that parameter, read as aligned ones, are to be shifted
	BytesAccessed *ir.Expr   // bytes of it this launch needs (each counted once), for the cost; nil: all of it
	AtMost        *ir.Expr   // what it needs where that is less: of short texts and few rows; nil: no less
}

// WeightArg is the address of a stored plane, aligned down to Align bytes (a
// kernel that loads words is told by how many bits to shift). Of a parameter in
// pieces it is the lowest of the pieces' addresses, and Table the table of
// them: for piece i an i64, the bytes from that address to its first row.
//
// Where the parameter has some columns of the stored rows only, what it has of a
// row begins Start bytes after the row does, and Stride bytes after what it has of
// the row before. A Stride of 0 is the length of the parameter's rows.
type WeightArg struct {
	Param         string
	Role          encoding.Role
	Align         int
	Table         bool
	Start, Stride int
}

// Scratch is memory that lives from the region's first launch that names it
// to its last. What is Held is no region's: it lies at one place of the arena in
// steps of every kind, and keeps what it has between them.
type Scratch struct {
	Name  string
	Bytes ir.Expr // over the module's symbols
	Held  bool
}

// Cache is the layout of a state's memory: Slots logs of Capacity rows of Row.Bytes
// bytes. Index i of a slot lies at row i, or where the log is a ring at row i mod
// Capacity.
type Cache struct {
	State    *ir.State
	Row      encoding.RowLayout
	Capacity int
	Ring     bool
	Slots    int
	// Area: it is a step's, not the slots': the one ring in which the prompt of a prefill
	// step runs, whichever its slot.
	Area bool
}

// KeptRows is how many rows a slot's ring has, of a state that is looked back to for
// keep rows, a token's own among them. A decode step appends up to MaxDecodeRows. That
// many can also be taken back, by making the sequence shorter again: the rows that
// are looked back to are still there.
func KeptRows(keep, context int) int { return min(keep-1+MaxDecodeRows, context) }

// AreaRows is how many rows the same state's area has in a prefill step of up to chunk
// rows.
func AreaRows(keep, chunk, context int) int { return min(keep-1+chunk, context) }
