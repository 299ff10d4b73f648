package plan

import (
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// order puts every dispatch on the earliest level its operands allow and sorts
// by level: dispatches of one level do not depend on each other and need no
// barrier between them. Copies into areas alone come late, and those that score tokens, which
// run when all others have, behind them.
func (s *Step) order() {
	var users uses
	var before *Dispatch
	last := 0
	for _, d := range s.Dispatches {
		d.Level = users.level(d)
		if before != nil && d.Region == before.Region && d.touchesSame(before) && s.apart(d, before) {
			d.Level = before.Level
		}
		if d.Region == program.ScoreRegion {
			d.Level = max(d.Level, last+1)
		} else {
			last = max(last, d.Level)
		}
		users.record(d)
		before = d
	}
	s.copyLate()
	slices.SortStableFunc(s.Dispatches, func(a, b *Dispatch) int { return a.Level - b.Level })
	level := 0
	for _, d := range s.Dispatches {
		d.Barrier = d.Level != level
		level = d.Level
	}
}

// touchesSame tells whether two dispatches use the same memory of those that are written.
func (d *Dispatch) touchesSame(o *Dispatch) bool {
	if len(d.Args) != len(o.Args) {
		return false
	}
	for i := range d.Args {
		if d.Args[i].object() != o.Args[i].object() || d.Args[i].Param.Access != o.Args[i].Param.Access {
			return false
		}
	}
	return true
}

// apart tells whether no step has threadgroups of both dispatches, whatever its number of
// rows: they need no barrier between them.
func (s *Step) apart(a, b *Dispatch) bool {
	rows, ok := s.RowsAlone(a)
	if other, too := s.RowsAlone(b); !ok || !too || other != rows {
		return false
	}
	for n := int64(0); n <= int64(s.MaxRows); n++ {
		if a.groups(rows, n) > 0 && b.groups(rows, n) > 0 {
			return false
		}
	}
	return true
}

// RowsAlone is the symbol of rows, or of wanted ones, if the dispatch's grid depends on it
// and on nothing else: steps of as many have as many threadgroups, however long texts are.
func (s *Step) RowsAlone(d *Dispatch) (symbol string, ok bool) {
	ok = true
	for _, g := range d.Grid {
		g.Walk(func(name string) {
			i := slices.IndexFunc(s.Params.Symbols, func(sym ir.Symbol) bool { return sym.Name == name })
			ok = ok && i >= 0 && (s.Params.Symbols[i].Def == ir.Rows || s.Params.Symbols[i].Def == ir.Wanted) && (symbol == "" || symbol == name)
			symbol = name
		})
	}
	if !ok {
		symbol = ""
	}
	return symbol, symbol != ""
}

// groups is how many threadgroups the dispatch has where a symbol, the only one of its grid,
// has a value.
func (d *Dispatch) groups(symbol string, n int64) int64 {
	total := int64(1)
	for _, g := range d.Grid {
		count, err := g.Eval(func(name string) (int64, bool) { return n, name == symbol })
		if err != nil {
			return 1 // whatever it is, it may be some
		}
		total = max(0, min(total, 1)*min(count, 1))
	}
	return total
}

// uses remembers on which levels each object was last written and read.
type uses struct{ written, read map[any]int }

// object identifies the memory by which an argument's accesses are ordered; nil for
// memory that no dispatch writes.
func (a *Arg) object() any {
	switch {
	case a.Buffer != nil:
		return a.Buffer
	case a.Cache != nil:
		return a.Cache
	}
	return nil
}

func (u *uses) level(d *Dispatch) int {
	level := 0
	for i := range d.Args {
		o := d.Args[i].object()
		if o == nil {
			continue
		}
		if w, ok := u.written[o]; ok {
			level = max(level, w+1)
		}
		if r, ok := u.read[o]; ok && d.Args[i].Param.Access != kernel.Read {
			level = max(level, r+1)
		}
	}
	return level
}

func (u *uses) record(d *Dispatch) {
	if u.written == nil {
		u.written, u.read = map[any]int{}, map[any]int{}
	}
	for i := range d.Args {
		o := d.Args[i].object()
		if o == nil {
			continue
		}
		if d.Args[i].Param.Access != kernel.Read {
			u.written[o] = d.Level
			delete(u.read, o)
		} else {
			u.read[o] = max(u.read[o], d.Level)
		}
	}
}

// place packs the arena. A buffer lives from the level of its first dispatch
// to that of its last, so memory is never reused without a barrier that is
// there anyway. What is held goes first, then large buffers, each to the lowest free
// place.
func (s *Step) place() {
	for _, b := range s.Buffers {
		b.First, b.Last = -1, -1
	}
	for _, d := range s.Dispatches {
		for i := range d.Args {
			if b := d.Args[i].Buffer; b != nil {
				if b.First < 0 {
					b.First = d.Level
				}
				b.Last = d.Level
			}
		}
	}
	last := s.Dispatches[len(s.Dispatches)-1].Level
	for _, r := range s.outcome() {
		r.Last = last
	}
	bySize := slices.Clone(s.Buffers)
	for _, b := range bySize {
		n, _ := b.Bytes.Eval(env(s.Limits))
		b.Size = align(max(n, 1))
		if b.Held {
			b.First, b.Last = 0, last
		}
	}
	slices.SortStableFunc(bySize, func(a, b *Buffer) int {
		if a.Held != b.Held {
			return map[bool]int{true: -1, false: 1}[a.Held]
		}
		if a.Size != b.Size {
			return int(min(max(b.Size-a.Size, -1), 1))
		}
		return a.First - b.First
	})
	var placed []*Buffer
	for _, b := range bySize {
		b.Offset = lowestFree(b, placed)
		at, _ := slices.BinarySearchFunc(placed, b.Offset, func(p *Buffer, off int64) int { return int(min(max(p.Offset-off, -1), 1)) })
		placed = slices.Insert(placed, at, b)
		s.ArenaBytes = max(s.ArenaBytes, b.Offset+b.Size)
	}
}

// outcome lists the buffers that are read after the last dispatch.
func (s *Step) outcome() []*Buffer {
	return append(slices.Clip(s.Results), s.ofLogits()...)
}

// ofLogits lists what the dispatches behind those of all regions write.
func (s *Step) ofLogits() []*Buffer {
	return slices.DeleteFunc([]*Buffer{s.Scores, s.Tokens}, func(b *Buffer) bool { return b == nil })
}

// lowestFree finds the lowest offset at which b fits beside the buffers that
// live at the same time; placed is ascending in offset.
func lowestFree(b *Buffer, placed []*Buffer) int64 {
	at := int64(0)
	for _, p := range placed {
		if p.Last < b.First || b.Last < p.First {
			continue
		}
		if at+b.Size <= p.Offset {
			break
		}
		at = max(at, p.Offset+p.Size)
	}
	return at
}

// namer collects distinct kernels: equal programs over arguments of equal extents share
// one, others of the same name get a letter.
type namer struct {
	kernels  []*kernel.Kernel
	known    map[*kernel.Kernel]*kernel.Kernel // as lowered -> as named
	byDigest map[string]*kernel.Kernel
	count    map[string]int
}

func newNamer() *namer {
	return &namer{known: map[*kernel.Kernel]*kernel.Kernel{}, byDigest: map[string]*kernel.Kernel{}, count: map[string]int{}}
}

func (n *namer) add(k *kernel.Kernel, extents string) *kernel.Kernel {
	if have := n.known[k]; have != nil {
		return have
	}
	digest := k.Name + " " + k.Digest() + extents
	if have := n.byDigest[digest]; have != nil {
		n.known[k] = have
		return have
	}
	named := *k
	n.count[k.Name]++
	if c := n.count[k.Name]; c > 1 {
		named.Name = k.Name + "_" + letters(c)
	}
	n.byDigest[digest] = &named
	n.known[k] = &named
	n.kernels = append(n.kernels, &named)
	return &named
}

// letters numbers variants: 2 is b, 27 is aa.
func letters(n int) string {
	s := ""
	for ; n > 0; n = (n - 1) / 26 {
		s = string(rune('a'+(n-1)%26)) + s
	}
	return s
}
