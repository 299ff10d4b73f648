package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// ringGroups is the most SIMD groups of a threadgroup that copies rows.
const ringGroups = 4

// Rings are what a launch copies rows between, of states of which each has a ring in the
// slots and an area.
type Rings struct {
	Role   string // program.RingsIn or RingsOut
	States []string
	Kept   map[string]*program.Cache // the slots' rings, by state
}

// LowerRings makes the launch that copies rows which a reader may look back to, of the slot
// that the step's rows are of: program.RingsIn brings those before the step's first row
// from the slot's rings into the areas (the input's Caches), program.RingsOut those before
// the row to come after the step back into the slot's. Rings have a row at its number
// modulo their own capacity; rows are copied by number. It fails for more than
// program.MaxRings states, and for one without an area or with nothing to look back to.
// The input's region is not used.
func LowerRings(in *Input, r Rings) (program.Launch, error) {
	if len(r.States) < 1 || len(r.States) > program.MaxRings {
		return program.Launch{}, fmt.Errorf("rings of %d states in a launch; expected 1 to %d", len(r.States), program.MaxRings)
	}
	own := *in
	own.Region = &ir.Region{Kind: program.RingsRegion, Name: program.RingsRegion}
	groups := in.Target.Groups(ringGroups)
	what := "Copies the rows that the step's first token looks back to from its slot's rings into the areas."
	if r.Role == program.RingsOut {
		what = "Copies the rows that the token after the step's last looks back to from the areas into its slot's rings."
	}
	c := &ringCopier{Rings: r, groups: groups, emitter: own.begin(own.kernelName(r.Role), kernel.Schedule{Threads: groups * in.Target.SimdWidth, Settings: []kernel.Setting{
		{Name: "rows per threadgroup", Value: fmt.Sprint(groups), Why: "a SIMD group copies a row, and waits for no other"},
	}}, what)}
	if err := c.place(); err != nil {
		return program.Launch{}, err
	}
	var parts []part
	most := 0
	for i, state := range r.States {
		rows, p, err := c.part(i, state)
		if err != nil {
			return program.Launch{}, fmt.Errorf("state @%s: %w", state, err)
		}
		parts, most = append(parts, p), max(most, rows)
	}
	c.deal(parts)
	copied := ir.Const(int64(most))
	if c.before != nil {
		copied = atMost(*c.before, most)
	}
	return c.launch(r.Role, ir.Const(int64(groupsOf(parts))), ceilDiv(copied, groups))
}

// ringCopier writes the kernel that copies.
type ringCopier struct {
	*emitter
	Rings
	groups int          // SIMD groups of a threadgroup
	next   *kernel.Expr // the row that what is copied stands before
	slot   *kernel.Expr
	before *ir.Expr // how many rows there are before it; nil if no symbol tells
}

// place finds where in which text rows are copied.
func (c *ringCopier) place() error {
	rows, err := c.in.symbol(ir.Rows)
	if err != nil {
		return err
	}
	var before ir.Expr
	reach, err := c.in.symbol(ir.Reach)
	if err == nil {
		before, c.before = ir.Sym(reach), &before
	}
	c.slot = c.Let("slot", c.StepAt("slot", i32(0)))
	next := c.StepAt("position", i32(0))
	if c.Role == program.RingsOut {
		next = next.Add(c.StepValue(rows))
	} else if c.before != nil {
		before = before.Sub(before.Min(ir.Sym(rows))) // sizes may be asked for that no step has
	}
	c.next = c.Let("next", next)
	return nil
}

// part copies the rows of the i-th state, of which there are so many at most: a threadgroup
// of the grid's second axis some of them.
func (c *ringCopier) part(i int, state string) (rows int, p part, err error) {
	kept, area := c.Kept[state], c.in.Caches[state]
	if kept == nil || area == nil || !kept.Ring || !area.Ring || !area.Area || kept.Area {
		return 0, part{}, fmt.Errorf("it has no ring in the slots and area")
	}
	keep, _ := kept.State.Keep.Value()
	if rows = int(keep) - 1; rows < 1 { // a token's own is its step's
		return 0, part{}, fmt.Errorf("nothing looks back to its rows")
	}
	ends := [2]ringEnd{{fmt.Sprint("slots", i), program.Arg{Kept: state}, kept}, {fmt.Sprint("area", i), program.Arg{State: state}, area}}
	if c.Role == program.RingsOut {
		ends[0], ends[1] = ends[1], ends[0]
	}
	from, to := c.bind(ends[0], kernel.Read, rows), c.bind(ends[1], kernel.Write, rows)
	return rows, part{groups: 1, body: func(*kernel.Expr) {
		back := c.Let("back", kernel.Group(1).Mul(i32(c.groups)).Add(kernel.Simd()).Add(i32(1)))
		c.If(back.Le(c.next.Min(i32(rows))), func() { c.copy(to, from, c.Let("index", c.next.Sub(back))) }, nil)
	}}, nil
}

// ringEnd is a ring that rows are copied from, or to.
type ringEnd struct {
	name  string
	arg   program.Arg
	cache *program.Cache
}

// bind binds a ring's memory, of which so many rows are needed.
func (c *ringCopier) bind(e ringEnd, a kernel.Access, rows int) *cacheRows {
	bytes := ir.Const(int64(e.cache.Row.Bytes))
	out := &cacheRows{u: c.emitter, name: e.name, cache: e.cache, unit: 4, index: indexOf(e.cache, 4)}
	out.memory = c.emitter.bind(c.Pointer(e.name, kernel.Of(kernel.U32), a), e.arg)
	c.accesses(bytes.Mul(ir.Const(int64(rows))))
	if c.before != nil {
		c.atMost(bytes.Mul(*c.before))
	}
	return out
}

// copy copies a row.
func (c *ringCopier) copy(to, from *cacheRows, index *kernel.Expr) {
	source, target := from.row(c.slot, index), to.row(c.slot, index)
	c.For("word", kernel.Lane(), i32(from.cache.Row.Bytes/4), i32(c.Schedule().SimdWidth), func(word *kernel.Expr) {
		to.memory.Set(to.word(target, 0, word), from.memory.At(from.word(source, 0, word)))
	})
}
