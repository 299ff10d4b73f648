package lower

import (
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/encoding"
)

// cacheRows reads and writes rows of a state in its stored format.
type cacheRows struct {
	u     *emitter
	name  string
	cache *program.Cache
	// memory is the state as 32-bit words, or where rows of f32 are only read,
	// as vectors of four f32.
	memory kernel.Buffer
	unit   int           // bytes of an element of memory
	index  kernel.Scalar // of an index of memory
}

// cacheRow is one row of a slot's log.
type cacheRow struct {
	at *kernel.Expr // its first element of the memory
}

// cacheRows binds a state's memory.
func (u *emitter) cacheRows(name, state string, a kernel.Access) *cacheRows {
	c := &cacheRows{u: u, name: name, cache: u.in.Caches[state], unit: 4}
	if c.cache == nil {
		u.fail("state @%s has no place in memory", state)
		c.cache = &program.Cache{Row: encoding.RowLayout{Width: 4, Bytes: 16, Segments: []encoding.RowSegment{{Kind: encoding.RowF32, Count: 4}}}, Capacity: 1, Slots: 1}
	}
	c.check(state)
	if a == kernel.Read && c.plain() {
		c.unit = 16
		c.memory = u.vectors(name, program.Arg{State: state}, a)
	} else {
		c.memory = u.state(name, state, a)
	}
	c.index = indexOf(c.cache, c.unit)
	return c
}

// indexOf is what indices of a cache's memory are of, in elements of so many bytes.
func indexOf(c *program.Cache, unit int) kernel.Scalar {
	bytes := float64(c.Slots) * float64(c.Capacity) * float64(c.Row.Bytes)
	if bytes/float64(unit) > math.MaxInt32 {
		return kernel.I64
	}
	return kernel.I32
}

// plain reports whether every element is an f32.
func (c *cacheRows) plain() bool {
	s := c.cache.Row.Segments
	return len(s) == 1 && s[0].Kind == encoding.RowF32
}

// narrow reports whether bf16 has every element exactly: codes of FP8 and FP4 have up
// to four bits, and the powers of two that they are multiplied with, of a row's largest
// magnitude, are far from the smallest.
func narrow(row encoding.RowLayout) bool {
	return !slices.ContainsFunc(row.Segments, func(s encoding.RowSegment) bool { return s.Kind == encoding.RowF32 })
}

// check refuses layouts whose parts do not fit chunks of four elements and
// words of scales.
func (c *cacheRows) check(state string) {
	l := c.cache.Row
	for i, s := range l.Segments {
		chunk := 4
		if s.Kind == encoding.RowE2M1 {
			chunk = 8 // of a word
		}
		if s.FirstElement%4 != 0 || s.Count%chunk != 0 {
			c.u.fail("state @%s: %s rows of %d elements: kernels take elements %d to %d as %s in runs of %d only",
				state, l.Format.Name(), l.Width, s.FirstElement, s.FirstElement+s.Count-1, s.Kind, chunk)
		}
		if s.Block > 0 && (s.ScaleOffset%4 != 0 || s.FirstElement%s.Block != 0 || hasScales(l.Segments[:i])) {
			c.u.fail("state @%s: %s rows of %d elements: kernels take one part with scales, in whole blocks from element 0 and with scales at a multiple of 4 bytes",
				state, l.Format.Name(), l.Width)
		}
	}
}

func hasScales(segments []encoding.RowSegment) bool {
	for _, s := range segments {
		if s.Block > 0 {
			return true
		}
	}
	return false
}

// row names row `index` (at least 0) of a slot's log.
func (c *cacheRows) row(slot, index *kernel.Expr) cacheRow {
	if n := c.cache.Capacity; c.cache.Ring && n&(n-1) == 0 {
		index = index.And(i32(n - 1))
	} else if c.cache.Ring {
		index = index.Rem(i32(n))
	}
	at := index.To(c.index)
	if !c.cache.Area {
		at = slot.To(c.index).Mul(c.number(c.cache.Capacity)).Add(at)
	}
	return cacheRow{c.u.Let(c.name+"_row", at.Mul(c.number(c.cache.Row.Bytes/c.unit)))}
}

func (c *cacheRows) number(n int) *kernel.Expr { return kernel.C(c.index, float64(n)) }

// word is the index of the 32-bit word at a byte offset (a multiple of 4) of a
// row, plus more words.
func (c *cacheRows) word(row cacheRow, offset int, more *kernel.Expr) *kernel.Expr {
	return row.at.Add(more.Add(i32(offset / 4)).To(c.index))
}

// inSegment runs f for the segment that element i (a multiple of 4) lies in.
func (c *cacheRows) inSegment(i *kernel.Expr, f func(encoding.RowSegment)) {
	c.amongSegments(c.cache.Row.Segments, i, f)
}

func (c *cacheRows) amongSegments(segments []encoding.RowSegment, i *kernel.Expr, f func(encoding.RowSegment)) {
	s := segments[0]
	if len(segments) == 1 {
		f(s)
		return
	}
	c.u.If(i.Lt(i32(s.FirstElement+s.Count)), func() { f(s) }, func() { c.amongSegments(segments[1:], i, f) })
}

// load4 reads elements i to i+3; i is a multiple of 4 and may differ from lane
// to lane.
func (c *cacheRows) load4(row cacheRow, i *kernel.Expr) [4]*kernel.Expr {
	return lanesOf(c.load(row, i))
}

// load is load4 as a vector (f32x4).
func (c *cacheRows) load(row cacheRow, i *kernel.Expr) *kernel.Expr {
	if len(c.cache.Row.Segments) == 1 {
		return c.loadFrom(c.cache.Row.Segments[0], row, i)
	}
	v := c.u.Var(c.name+"4", splat(f32(0)))
	c.inSegment(i, func(s encoding.RowSegment) { v.Set(c.loadFrom(s, row, i)) })
	return v.Expr
}

// loadFrom is load of a segment.
func (c *cacheRows) loadFrom(s encoding.RowSegment, row cacheRow, i *kernel.Expr) *kernel.Expr {
	return c.value(c.fetch(s, row, i))
}

// storedChunk is four elements of a row as they are stored: what a fetch reads of
// them, so that more can be asked for before the first is looked at.
type storedChunk struct {
	segment encoding.RowSegment
	words   []*kernel.Expr // that have the elements; of f32 the elements, or one vector of them
	scale   *kernel.Expr   // of the block, if there is one
}

// fetch reads what elements i to i+3 of a segment are made of; i is a multiple of 4
// and may differ from lane to lane.
func (c *cacheRows) fetch(s encoding.RowSegment, row cacheRow, i *kernel.Expr) storedChunk {
	u, place, out := c.u, i.Sub(i32(s.FirstElement)), storedChunk{segment: s}
	read := func(name string, v *kernel.Expr) { out.words = append(out.words, u.Let(name, v)) }
	switch s.Kind {
	case encoding.RowBF16:
		at := u.Let("at", c.word(row, s.Offset, place.Div(i32(2))))
		read("pair", c.memory.At(at))
		read("pair", c.memory.At(at.Add(c.number(1))))
	case encoding.RowE4M3:
		read("codes", c.memory.At(c.word(row, s.Offset, place.Div(i32(4)))))
		out.scale = c.scale(s, row, place)
	case encoding.RowE2M1:
		codes := c.memory.At(c.word(row, s.Offset, place.Div(i32(8))))
		half := place.To(kernel.U32).And(kernel.U(4)).Shl(kernel.U(2)) // bits before the chunk's codes: 0 or 16
		read("codes", codes.Shr(half))
		out.scale = c.scale(s, row, place)
	default:
		if c.unit == 16 {
			read(c.name+"4", c.memory.At(row.at.Add(place.Div(i32(4)).To(c.index))))
			break
		}
		at := u.Let("at", c.word(row, s.Offset, place))
		for n := range 4 {
			read("element", c.memory.At(at.Add(c.number(n))).As(kernel.F32))
		}
	}
	return out
}

// value is the elements of a chunk (f32x4).
func (c *cacheRows) value(f storedChunk) *kernel.Expr {
	switch f.segment.Kind {
	case encoding.RowBF16:
		upper, low, high := kernel.U(0xffff0000), f.words[0], f.words[1]
		return kernel.Vector(floatOf(encoding.BF16, low), low.And(upper).As(kernel.F32), floatOf(encoding.BF16, high), high.And(upper).As(kernel.F32))
	case encoding.RowE4M3:
		return c.decode(encoding.FP8Block{}, f.words[0], f.scale)
	case encoding.RowE2M1:
		return c.decode(encoding.FP4{}, f.words[0], f.scale)
	}
	if c.unit == 16 {
		return f.words[0]
	}
	return kernel.Vector(f.words...)
}

// fetchRun fetches the lanes' j-th chunks of a row: of each segment that some lane has
// a chunk of, so that no lane waits for another's branch. Lanes behind the row read its
// end.
func (c *cacheRows) fetchRun(row cacheRow, j, width int) []storedChunk {
	var out []storedChunk
	lanes := c.u.Schedule().SimdWidth
	for _, s := range c.cache.Row.Segments {
		p := part4{s.FirstElement, min(s.Count, width-s.FirstElement)}
		all, some := p.overlap(j, lanes)
		if !some {
			continue
		}
		chunk := c.u.chunk(j)
		if !all {
			chunk = c.u.Let("chunk", chunk.Max(i32(p.from/4)).Min(i32((p.from+p.count)/4-1)))
		}
		out = append(out, c.fetch(s, row, chunk.Mul(i32(4))))
	}
	return out
}

// valueOfRun is what fetchRun fetched.
func (c *cacheRows) valueOfRun(run []storedChunk, j int) *kernel.Expr {
	v := c.value(run[0])
	for _, next := range run[1:] {
		v = c.u.chunk(j).Ge(i32(next.segment.FirstElement/4)).Select(c.u.Let("next4", c.value(next)), c.u.Let(c.name+"4", v))
	}
	return v
}

// decode reads the four lowest codes of a word, as weights of that encoding
// have them.
func (c *cacheRows) decode(e encoding.Encoding, codes, scale *kernel.Expr) *kernel.Expr {
	unpack, err := encoding.UnpackOf(e, c.u.in.means())
	if err != nil {
		c.u.fail("%w", err)
		return splat(scale)
	}
	all := c.u.unpacked(unpack, []*kernel.Expr{codes})
	var x []*kernel.Expr
	for n := range 4 {
		x = append(x, c.u.Let("element", valueOf(unpack, n, all[n]).Mul(scale)))
	}
	return kernel.Vector(x...)
}

// scale is the scale of the block that an element of the segment is in.
func (c *cacheRows) scale(s encoding.RowSegment, row cacheRow, place *kernel.Expr) *kernel.Expr {
	block := c.u.Let("block", place.Div(i32(s.Block)))
	four := c.memory.At(c.word(row, s.ScaleOffset, block.Div(i32(4))))
	shift := block.To(kernel.U32).And(kernel.U(3)).Shl(kernel.U(3))
	return c.u.Let("scale", floatOf(encoding.E8M0, four.Shr(shift).And(kernel.U(0xff))))
}

// setFloat stores element i alone. It is for rows of f32: several elements of
// other formats share a word.
func (c *cacheRows) setFloat(row cacheRow, i, v *kernel.Expr) {
	if !c.plain() {
		c.u.fail("state %s holds rows as %s; kernels that make a row's elements one by one append f32 only", c.name, c.cache.Row.Format.Name())
		return
	}
	c.memory.Set(c.word(row, 0, i), v.As(kernel.U32))
}
