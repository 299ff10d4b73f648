package lower

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
)

// matrix is a parameter as a kernel reads it: units of packed words with
// their scales and biases, or blocks of both, from any byte on.
//
// A parameter of three dimensions is one matrix for each leading index (expert,
// group), in one piece or in a piece for each; open chooses one.
type matrix struct {
	u      *emitter
	p      *storage.Parameter
	unpack encoding.Unpack
	n      int // rows for each leading index
	cols   int

	plane       kernel.Buffer
	elem        kernel.Scalar // the plane's elements: words, of blocks 16-bit words, or bytes where those do not lie aligned
	wide        int           // how many words an element has, 1 unless products read several at once
	rowElements int
	shift       *kernel.Expr  // bits that words are shifted by, in one piece; nil: words are aligned
	table       kernel.Buffer // byte offsets of pieces, if there are several
	pieces      int
	index       kernel.Scalar // of the plane's indices: i64 where it may pass 2^31 elements

	scales, biases factorPlane
}

// factorPlane is the scales or the biases, in a plane of their own or in blocks.
type factorPlane struct {
	*encoding.Factor
	cols  int // factors in a stored row
	at    func(i *kernel.Expr) *kernel.Expr
	bytes kernel.Buffer // with a table: the plane's bytes
	table kernel.Buffer
}

// apart reports whether there are factors, in a plane.
func (f *factorPlane) apart() bool { return f.Factor != nil && f.Value == nil }

// matrix binds a parameter's planes; name begins the names of its arguments.
func (u *emitter) matrix(name, param string) *matrix {
	return u.matrixOf(name, param, u.in.Phase == program.Decode && !u.stages())
}

// table binds a parameter of which single units are read.
func (u *emitter) table(name, param string) *matrix { return u.matrixOf(name, param, false) }

func (u *emitter) matrixOf(name, param string, inRuns bool) *matrix {
	m, err := u.newMatrix(name, param, inRuns)
	if err != nil {
		u.fail("%w", err)
		return nil
	}
	return m
}

// unbound is a matrix of which only what its parameter says is known.
func (in *Input) unbound(param string) (*matrix, error) {
	p, err := in.Params.Get(param)
	if err != nil {
		return nil, err
	}
	if p.Encoding == nil {
		return nil, fmt.Errorf("parameter @%s holds integers (%s), a product needs real numbers", param, p.Integer)
	}
	unpack, err := encoding.UnpackOf(p.Encoding, in.means())
	if err != nil {
		return nil, fmt.Errorf("parameter @%s: %w", param, err)
	}
	m := &matrix{p: p, unpack: unpack, n: p.Rows / p.Lead, cols: p.Cols, pieces: len(p.Pieces), index: kernel.I32, wide: 1}
	return m, m.measureRows()
}

// newMatrix binds a matrix that is read in units or, for products of few rows, in runs.
func (u *emitter) newMatrix(name, param string, inRuns bool) (*matrix, error) {
	m, err := u.in.unbound(param)
	if err != nil {
		return nil, err
	}
	m.u = u
	p := m.p
	if inRuns {
		m.widen()
	}
	if m.pieces > 1 && !m.onePieceEach() {
		return nil, fmt.Errorf("parameter @%s: lies in %d pieces that are not one for each of %d leading indices of %d rows", param, m.pieces, p.Lead, m.n)
	}
	if int64(m.rowElements)*int64(p.Rows+p.Pieces[0].StoredFirst) >= 1<<31-1 || m.pieces > 1 {
		m.index = kernel.I64
	}
	if m.pieces > 1 {
		for i := range p.Pieces {
			for _, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
				if _, err := p.Start(i, r); err != nil {
					return nil, err
				}
			}
		}
	}
	m.plane = u.weightPlane(name, param, encoding.Weight, kernel.Vec(m.elem, m.wide))
	if m.elem == kernel.U32 && m.anySkew(4) && m.pieces == 1 {
		m.shift = u.shift(name+"_shift", param)
	}
	if m.pieces > 1 {
		m.table = u.pieceTable(name+"_pieces", param, encoding.Weight, m.elementBytes())
	}
	m.scales = m.factors(name+"_scales", encoding.Scales, m.unpack.Scale)
	m.biases = m.factors(name+"_biases", encoding.Biases, m.unpack.Bias)
	return m, nil
}

// measureRows chooses the elements that the plane is read in.
func (m *matrix) measureRows() error {
	row, err := m.p.RowBytes(encoding.Weight)
	if err != nil {
		return err
	}
	m.elem = kernel.U32
	if m.unpack.Block != nil {
		m.elem = kernel.U16
	}
	if row%m.elem.Bytes() != 0 || m.cols%4 != 0 {
		return fmt.Errorf("parameter @%s: a row of %d values takes %d bytes in %s; kernels need a multiple of 4 of both", m.p.Name, m.cols, row, m.p.Encoding.Name())
	}
	if m.elem == kernel.U16 && m.anySkew(2) {
		m.elem = kernel.U8
	}
	m.rowElements = row / m.elem.Bytes()
	return nil
}

// wideWords is how many words of a row products read at once, where they lie aligned:
// tensors of official files begin at a multiple of 8 bytes, half of them at one of 16.
const wideWords = 2

// widen makes elements of several words each, if runs have whole ones and these lie aligned.
// Matrices with biases are those of MLX's files, which lie anywhere: their kernels would
// be longer, and come in two forms.
func (m *matrix) widen() {
	if m.unpack.Bias != nil {
		return
	}
	run := m.blocksPerRun() * m.blockUnits() * m.unpack.Words
	if m.elem == kernel.U32 && run%wideWords == 0 && m.rowElements%wideWords == 0 && !m.anySkew(4*wideWords) {
		m.wide, m.rowElements = wideWords, m.rowElements/wideWords
	}
}

// elementBytes is the size of an element of the plane.
func (m *matrix) elementBytes() int { return m.wide * m.elem.Bytes() }

// onePieceEach reports whether every leading index is a piece of its own.
func (m *matrix) onePieceEach() bool {
	for i, pc := range m.p.Pieces {
		if pc.First != i*m.n || pc.Rows != m.n {
			return false
		}
	}
	return len(m.p.Pieces) == m.p.Lead
}

// pieceTable is the table of byte offsets of a plane's pieces.
func (u *emitter) pieceTable(name, param string, r encoding.Role, align int) kernel.Buffer {
	t := u.Pointer(name, kernel.Of(kernel.I64), kernel.Read)
	w := u.weightArg(param, r, align)
	w.Table = true
	return u.bind(t, program.Arg{Weight: w})
}

func (m *matrix) factors(name string, r encoding.Role, f *encoding.Factor) factorPlane {
	if f == nil || f.Value != nil {
		return factorPlane{Factor: f}
	}
	stored := max(m.cols, m.p.Columns.Stored)
	fp := factorPlane{Factor: f, cols: (stored + f.Group - 1) / f.Group}
	if m.pieces == 1 {
		fp.at = m.u.elements(name, m.p.Name, r, f.DType, m.p.Skew(0, r))
		return fp
	}
	fp.bytes = m.u.weightPlane(name, m.p.Name, r, kernel.Of(kernel.U8))
	fp.table = m.u.pieceTable(name+"_pieces", m.p.Name, r, 1)
	return fp
}

// opened is one matrix [n, cols] of the parameter.
type opened struct {
	*matrix
	first  *kernel.Expr // index of its first element of the plane
	shift  *kernel.Expr // bits its words are shifted by (u32); nil: they are aligned
	row0   *kernel.Expr // row of the stored matrix that its row 0 is
	scale0 *kernel.Expr // with a table: first byte of its scales
	bias0  *kernel.Expr
}

// open chooses a leading index (nil: the parameter has two dimensions).
func (m *matrix) open(lead *kernel.Expr) *opened {
	o := &opened{matrix: m}
	first := m.p.Pieces[0].StoredFirst
	if m.pieces == 1 {
		o.row0 = i32(first)
		if lead != nil {
			o.row0 = m.u.Let("first_row", lead.Mul(i32(m.n)).Add(i32(first)))
		}
		o.first = o.row0.To(m.index).Mul(kernel.C(m.index, float64(m.rowElements)))
		o.shift = m.shift
		return o
	}
	if lead == nil {
		lead = i32(0)
	}
	at := m.u.Let("piece", m.table.At(lead))
	o.row0 = i32(0) // the tables say where each piece's first row begins
	o.first = m.u.Let("first_word", at.Div(kernel.C(kernel.I64, float64(m.elementBytes()))))
	if m.elem == kernel.U32 && m.anySkew(4) {
		o.shift = m.u.Let("shift", at.Rem(kernel.C(kernel.I64, 4)).To(kernel.U32).Mul(kernel.U(8)))
	}
	if m.scales.apart() {
		o.scale0 = m.u.Let("first_scale", m.scales.table.At(lead))
	}
	if m.biases.apart() {
		o.bias0 = m.u.Let("first_bias", m.biases.table.At(lead))
	}
	return o
}

// anySkew reports whether a piece begins elsewhere than at a multiple of some bytes.
func (m *matrix) anySkew(align int) bool {
	for i := range m.p.Pieces {
		if m.p.Skew(i, encoding.Weight)%align != 0 {
			return true
		}
	}
	return false
}

// rowOf is one row of an opened matrix.
type rowOf struct {
	*opened
	first *kernel.Expr // index of the row's first element of the plane
	row   *kernel.Expr // of the stored matrix
	// together: it is one of matvecRows that begin at a multiple of their number.
	together bool
}

// row names row r.
func (o *opened) row(r *kernel.Expr) rowOf {
	stored := o.row0.Add(r)
	at := o.first.Add(r.To(o.index).Mul(kernel.C(o.index, float64(o.rowElements))))
	return rowOf{opened: o, first: o.u.Let("row_word", at), row: stored}
}

// codes reads the words of the unit that begins at column unit*Elements, and
// returns its codes.
func (r rowOf) codes(n *kernel.Expr) []*kernel.Expr { return r.codesOf(r.unitWords(n)) }

// place is the index of the plane's element that unit n begins with, or the block that it is in.
func (r rowOf) place(n *kernel.Expr) *kernel.Expr {
	if b := r.unpack.Block; b != nil {
		return r.first.Add(n.Div(i32(b.Units)).Mul(i32(2 * b.Shorts / r.elem.Bytes())).To(r.index))
	}
	return r.first.Add(n.Mul(i32(r.unpack.Words)).To(r.index))
}

// elementsOf is how many elements of the plane lie between one unit and the one n after it; half a
// block counts as one.
func (m *matrix) elementsOf(n int) int {
	if b := m.unpack.Block; b != nil {
		return (n + b.Units - 1) / b.Units * 2 * b.Shorts / m.elem.Bytes()
	}
	return n * m.unpack.Words
}

// unitWords are the words of unit n.
func (r rowOf) unitWords(n *kernel.Expr) []*kernel.Expr {
	if r.unpack.Block != nil {
		return r.block(n).words()
	}
	w := r.unpack.Words
	at := r.place(n)
	if r.shift == nil {
		words := make([]*kernel.Expr, w)
		for i := range words {
			words[i] = r.u.Let("word", r.plane.At(at.Add(kernel.C(r.index, float64(i)))))
		}
		return words
	}
	base := r.u.Let("at", at)
	return r.shifted(base, []*kernel.Expr{r.u.Let("low", r.plane.At(base))}, w)
}

// pairs are the elements of a unit that are the two halves of a word each; nil if
// they are not, or if no factors wait until some of their products are added up.
func (m *matrix) pairs() (pairs [][2]int) {
	if m.scales.Factor == nil {
		return nil
	}
	of := map[*encoding.BitExpr]int{}
	for q, c := range m.unpack.Codes {
		if c.Op != encoding.BitHalf {
			return nil
		}
		n, seen := of[c.Args[0]]
		if !seen {
			n = len(pairs)
			of[c.Args[0]], pairs = n, append(pairs, [2]int{-1, -1})
		}
		pairs[n][c.Const] = q
	}
	for _, p := range pairs {
		if p[0] < 0 || p[1] < 0 {
			return nil
		}
	}
	return pairs
}

// shifted are n words that begin within a word; those at hand are the first that
// they lie in, from base on.
func (r rowOf) shifted(base *kernel.Expr, have []*kernel.Expr, n int) []*kernel.Expr {
	words := make([]*kernel.Expr, n)
	for i := range words {
		if i+1 == len(have) {
			next := kernel.C(r.index, float64(i+1))
			if r.pieces > 1 && i+1 == n {
				// Without skew the next word may lie beyond the file: read this one again, it is shifted out.
				next = r.shift.Eq(kernel.U(0)).Select(kernel.C(r.index, float64(i)), next)
			}
			have = append(have, r.u.Let("high", r.plane.At(base.Add(next))))
		}
		words[i] = r.u.Let("word", have[i].Shr(r.shift).Or(have[i+1].Shl(kernel.U(1)).Shl(kernel.U(31).Sub(r.shift))))
	}
	return words
}

// inFours reports whether the words of some units can be read four at a time.
func (m *matrix) inFours(units int) bool {
	return m.unpack.Block == nil && units*m.unpack.Words%4 == 0
}

// wordsInFours are n words, a multiple of four, from unit i on: each lane reads
// four at a time, which lie side by side. Where lanes read other rows, that takes
// a quarter of the loads.
func (r rowOf) wordsInFours(i *kernel.Expr, n int) []*kernel.Expr {
	base := r.u.Let("at", r.place(i))
	var words []*kernel.Expr
	for len(words) < n {
		four := make([]*kernel.Expr, 4)
		for j := range four {
			four[j] = r.plane.At(base.Add(kernel.C(r.index, float64(len(words)+j))))
		}
		v := r.u.Let("words", kernel.Vector(four...))
		for j := range four {
			words = append(words, r.u.Let("word", v.Lane(j)))
		}
	}
	if r.shift == nil {
		return words
	}
	return r.shifted(base, words, n)
}

func (r rowOf) codesOf(words []*kernel.Expr) []*kernel.Expr {
	return r.u.unpacked(r.unpack, words)
}

// valueOf is element q's value, before scaling, of its code.
func valueOf(u encoding.Unpack, q int, code *kernel.Expr) *kernel.Expr {
	return timesPower(code, u.Exponent+u.ExponentOf(q))
}

// scale and bias are the factors of the group that column k lies in; nil if
// the encoding has none.
func (r rowOf) scale(k *kernel.Expr) *kernel.Expr { return r.factor(r.scales, r.scale0, k) }

func (r rowOf) bias(k *kernel.Expr) *kernel.Expr { return r.factor(r.biases, r.bias0, k) }

func (r rowOf) factor(f factorPlane, first, k *kernel.Expr) *kernel.Expr {
	if f.Factor == nil {
		return nil
	}
	if f.Value != nil {
		return r.block(k.Div(i32(r.unpack.Elements))).factor(f.Factor)
	}
	column := k.Div(i32(f.Group))
	if !r.u.stages() {
		column = quotient(k, f.Group)
	}
	i := r.row.Div(i32(f.GroupRows)).Mul(i32(f.cols)).Add(column)
	if f.at != nil {
		return r.u.Let("factor", f.at(i))
	}
	size, _ := f.DType.Size()
	var bits *kernel.Expr
	at := first.Add(i.Mul(i32(size)).To(kernel.I64))
	for b := range size {
		part := f.bytes.At(at.Add(kernel.C(kernel.I64, float64(b)))).To(kernel.U32).Shl(kernel.U(uint32(8 * b)))
		if bits == nil {
			bits = part
		} else {
			bits = bits.Or(part)
		}
	}
	return r.u.Let("factor", floatOf(f.DType, bits))
}
