package lower

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// Hyper-connections take two launches or three. "write" makes a tile of the
// half block's result y, writes it into the streams and adds up the tile's
// share of the next half block's stream logits z; threadgroups cannot meet, so
// "read", a threadgroup a row, adds the shares up, makes the weights and
// collapses the streams into the next input. In decode on a GPU "comb" makes one of the
// weights beside what comes next.
//
// In prefill y comes from launches of its own.

// hyperColumns is how many columns of streams of some width a threadgroup of "write"
// makes.
func (in *Input) hyperColumns(width int) int {
	if in.Target.Vector > 0 {
		return 128
	}
	columns := 32
	if in.Phase == program.Decode {
		columns = in.tileOf(width, leastHyperColumns, columns)
	}
	return columns
}

// leastHyperColumns are those of two SIMD groups that make a few outputs each, and of
// a sector of memory.
const leastHyperColumns = 2 * matvecRows

func lowerHyper(in *Input, m *fusion.Hyper) ([]program.Launch, error) {
	if n := m.Streams; n&(n-1) != 0 || n*n > in.Target.SimdWidth || m.Width%4 != 0 {
		return nil, fmt.Errorf("%d streams of %d elements; kernels take 1, 2 or 4 streams of a multiple of 4", n, m.Width)
	}
	x := &hyper{in: in, m: m, rows: hyperRows(m), columns: in.hyperColumns(m.Width)}
	x.inputs = in.inputsAtOnce(x.stagedBytes())
	if in.Target.Vector == 0 && m.Source.Experts != nil && in.Phase == program.Decode {
		x.inputs = program.MaxDecodeRows // an expert is read once for all of them
		for x.columns > leastHyperColumns && x.sharedRowBytes()*x.inputs > in.Target.SharedMemory/4*3 {
			x.columns /= 2
		}
	}
	if in.Phase == program.Prefill {
		if err := x.sourceLaunches(); err != nil {
			return nil, err
		}
	}
	if m.Next != nil {
		m := x.logitCount() + 1
		x.shares = &program.Scratch{Name: "z_shares", Bytes: ir.Sym(x.rows).Mul(ir.Const(int64(4 * m * x.tiles())))}
	}
	if err := x.write(); err != nil {
		return nil, err
	}
	if m.Next == nil {
		return x.launches, nil
	}
	x.combApart()
	if err := x.read(); err != nil {
		return nil, err
	}
	return x.launches, x.comb()
}

// hyperRows is the symbol of the rows that hyper-connections work on.
func hyperRows(m *fusion.Hyper) string {
	v := m.After
	if m.Source.Take != nil {
		v = m.Source.Take.Rows
	}
	name, _ := v.Type.Shape[0].Symbol()
	return name
}

// hyper is the lowering of one region of hyper-connections.
type hyper struct {
	in           *Input
	m            *fusion.Hyper
	rows         string
	columns      int              // of a threadgroup of "write"
	inputs       int              // rows of a threadgroup of "write", at most
	shares       *program.Scratch // [rows, tiles, logits+1]: shares of z, and of the sum of squares last
	combElements *program.Scratch // [rows, streams, streams]: what comb is made of, where another launch makes it
	ready        *ready           // in prefill, where y lies
	launches     []program.Launch
}

func (x *hyper) tiles() int { return (x.m.Width + x.columns - 1) / x.columns }

// takenBytes is the size of the rows taken of a value with more.
func (x *hyper) takenBytes() ir.Expr {
	return ir.Sym(x.rows).Mul(ir.Const(int64(4 * x.m.Streams * x.m.Width)))
}

// logitCount is the length of z.
func (x *hyper) logitCount() int {
	if x.m.Next.Head {
		return x.m.Streams
	}
	return (2 + x.m.Streams) * x.m.Streams
}

// stagedBytes is the size of a row's inputs in threadgroup memory, if they are staged.
func (x *hyper) stagedBytes() int {
	s := x.m.Source
	switch {
	case x.in.Phase == program.Prefill:
	case s.Project != nil:
		return bytesOfStaged(dim(s.Project.X, 1))
	case s.Experts != nil:
		return (dim(s.Experts.Mid, 1) + 1) * bytesOfStaged(dim(s.Experts.Mid, 2))
	}
	return 0
}

// sharedRowBytes is what a row's parts of y and new streams take of a threadgroup's memory.
func (x *hyper) sharedRowBytes() int {
	return 4 * x.columns * (dim(x.m.Source.Experts.Mid, 1) + mostShares + x.m.Streams)
}

// writeSchedule is that of "write".
func (x *hyper) writeSchedule() kernel.Schedule {
	s, _ := x.in.matvecSchedule()
	set := kernel.Setting{Name: "columns per threadgroup", Value: fmt.Sprint(x.columns), Why: "as many as eight SIMD groups make outputs of the product at once"}
	switch {
	case x.in.Target.Vector > 0:
		set.Why = "the input is staged once for all of them"
	case x.in.Phase == program.Decode:
		s.Threads = x.in.Target.Threads(sharedDecodeThreads)
		set.Why = "so few that there are some threadgroups for each core; SIMD groups share what makes them"
	}
	s.Settings = []kernel.Setting{set}
	return s
}

// write is the first launch.
func (x *hyper) write() error {
	u := x.in.begin(x.in.kernelName("write"), x.writeSchedule(), x.in.doc("a tile of the result, written into the streams, and its share of the next logits")...)
	w := &hyperWrite{emitter: u, hyper: x, parts: 1}
	w.bind()
	tiles, rows := 0, 1 // axes of the grid
	grid := []ir.Expr{ir.Const(int64(x.tiles())), ceilDiv(ir.Sym(x.rows), x.inputs)}
	if !u.stages() {
		// Those of the same columns follow each other: what one reads a cache has for the next.
		tiles, rows = 1, 0
		slices.Reverse(grid)
	}
	w.group = kernel.Group(tiles)
	w.column0 = u.Let("column0", w.group.Mul(i32(x.columns)))
	row0 := u.Let("row0", kernel.Group(rows).Mul(i32(x.inputs)))
	left := u.Let("rows_left", u.StepValue(x.rows).Sub(row0))
	switch {
	case u.err != nil:
	case u.stages():
		u.oneOrMore(left, x.inputs, func(n int) { w.body(row0, left, n) })
	default:
		w.together(row0, left)
	}
	l, err := u.launch("write", grid...)
	x.launches = append(x.launches, l)
	return err
}
