package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// hyperReadThreads is the threadgroup of "read", where the target allows it: one
// row's streams are read by as many threads as there may be.
const hyperReadThreads = 1024

// hyperReadChunks is how many vectors of four a thread holds at most between the
// two passes over a row; more lie in threadgroup memory.
const hyperReadChunks = 4

// read is the second launch: weights from the logits' shares, then
// the collapsed and normed vector.
func (x *hyper) read() error {
	u := x.in.begin(x.in.kernelName("read"), kernel.Schedule{Threads: x.in.Target.Threads(hyperReadThreads)}, x.in.doc("stream weights from the logits, streams collapsed and normed, a threadgroup a row")...)
	r := &hyperRead{combMaker: &combMaker{emitter: u, hyper: x, row: u.Let("row", kernel.Group(0))}, next: x.m.Next}
	r.affine = r.scaleAndBase
	r.bind()
	if r.stages() {
		r.logits(r.makeComb)
		r.collapse()
	} else {
		r.apart()
	}
	return x.add(u.launch("read", ir.Sym(x.rows)))
}

// apart is the kernel where a threadgroup has several SIMD groups: the streams are asked
// for before anything waits. Nobody needs comb before the next "write": a launch of its own
// makes it, or where many rows keep the machine busy one SIMD group after all else.
func (r *hyperRead) apart() {
	r.askForStreams()
	if r.combElements != nil {
		elements := r.scratch("elements", r.combElements, kernel.F32, kernel.Write)
		r.logits(func(v *kernel.Expr) { r.setComb(elements, v) })
		r.collapse()
		return
	}
	element := r.Var("element", f32(0))
	r.logits(func(v *kernel.Expr) { element.Set(v) })
	r.collapse()
	if !r.next.Head {
		r.If(kernel.Simd().Eq(i32(0)), func() { r.makeComb(element.Expr) }, nil)
	}
}

// hyperRead is the kernel "read" in the making.
type hyperRead struct {
	*combMaker
	next                *fusion.HyperNext
	shareIn, streams    kernel.Buffer
	wanted              bool
	scale, base, weight vector
	x, post             kernel.Buffer
	sums, pre           kernel.Array
	held                []kernel.Variable // the collapsed vector: the thread's chunks,
	parked              kernel.Array      // or all of it
	asked               [][]*kernel.Expr  // of each chunk the streams' vectors, if they are at hand,
	norms               [][]*kernel.Expr  // and the norm's weights
	affine              func(lane *kernel.Expr) (scale, base *kernel.Expr)
}

func (r *hyperRead) bind() {
	m := r.m
	r.shareIn = r.scratch("z_shares", r.shares, kernel.F32, kernel.Read)
	if t := m.Source.Take; t != nil {
		r.streams, r.wanted = r.activation4("streams", t.Streams, kernel.Read), true
		r.accesses(r.takenBytes())
	} else {
		r.streams = r.activation4("after", m.After, kernel.Read)
	}
	r.scale, r.base = r.vector("scale", r.next.Scale), r.vector("base", r.next.Base)
	r.weight = r.vector("norm", r.next.Norm.Weight)
	r.x = r.activation4("x", r.next.X, kernel.Write)
	if !r.next.Head {
		r.post = r.activation("post", r.next.Post, kernel.Write)
		if r.combElements == nil {
			r.comb = r.activation("comb", r.next.Comb, kernel.Write)
		}
	}
	r.sums = r.SharedArray("sums", kernel.F32, r.Schedule().Threads)
	r.pre = r.SharedArray("pre", kernel.F32, m.Streams)
}

// logits adds the shares up and makes pre and post of them in the first SIMD group, a
// lane for each logit. What comb is made of is left to `last`: lane i*n+j's element (i, j).
func (r *hyperRead) logits(last func(element *kernel.Expr)) {
	n, count := r.m.Streams, r.logitCount()
	lanes := r.Schedule().SimdWidth
	simds := r.Schedule().Threads / lanes
	r.Comment("z: SIMD group s adds up the shares of tiles s, s+%d ...", simds)
	sum := r.Var("z_part", f32(0))
	share := func(tile *kernel.Expr) *kernel.Expr {
		return r.shareIn.At(r.row.Mul(i32(r.tiles())).Add(tile).Mul(i32(count + 1)).Add(kernel.Lane()))
	}
	r.If(kernel.Lane().Le(i32(count)), func() {
		if n := r.tiles() / simds; !r.stages() && n <= mostSharesAtOnce && r.tiles()%simds == 0 {
			shares := make([]*kernel.Expr, n)
			for i := range shares {
				shares[i] = r.Let("share", share(kernel.Simd().Add(i32(i*simds))))
			}
			sum.Set(sumOf(shares))
			return
		}
		r.For("tile", kernel.Simd(), i32(r.tiles()), i32(simds), func(tile *kernel.Expr) { sum.Set(sum.Add(share(tile))) })
	}, nil)
	r.sums.Set(kernel.Thread(), sum.Expr)
	r.Barrier()
	r.If(kernel.Simd().Eq(i32(0)), func() {
		z := r.Var("z", f32(0))
		for s := range simds {
			z.Set(z.Add(r.sums.At(kernel.Lane().Add(i32(lanes * s)))))
		}
		squares := r.Let("squares", z.Shuffle(i32(count)))
		inv := r.Let("inv_rms", squares.Mul(f32(1/float64(n*r.m.Width))).Add(f32(r.next.FnEps)).Rsqrt())
		logit := r.Let("logit", z.Mul(inv))
		r.weights(logit, last)
	}, nil)
	r.Barrier()
}

// weights turns the lanes' logits into pre (lanes 0 to n-1), post (n to 2n-1)
// and what comb is made of (2n on).
func (r *hyperRead) weights(logit *kernel.Expr, last func(element *kernel.Expr)) {
	n, lane := r.m.Streams, kernel.Lane()
	scale, base := r.affine(lane)
	v := r.Let("v", logit.Mul(scale).Add(base))
	gate := r.Let("gate", f32(1).Div(f32(1).Add(v.Neg().Exp())))
	r.If(lane.Lt(i32(n)), func() { r.pre.Set(lane, gate.Add(f32(r.next.HCEps))) }, nil)
	if r.next.Head {
		return
	}
	r.If(lane.Ge(i32(n)).And(lane.Lt(i32(2*n))), func() {
		r.post.Set(r.row.Mul(i32(n)).Add(lane.Sub(i32(n))), gate.Mul(f32(r.next.PostScale)))
	}, nil)
	r.Comment("comb: lane i*%d+j holds element (i, j)", n)
	last(r.Let("element", v.Shuffle(lane.Add(i32(2*n)).Min(i32(r.Schedule().SimdWidth-1)))))
}

// scaleAndBase are those of a lane's logit.
func (r *hyperRead) scaleAndBase(lane *kernel.Expr) (scale, base *kernel.Expr) {
	n := r.m.Streams
	index := r.Let("index", lane.Min(i32(r.logitCount()-1)))
	part := i32(0)
	if !r.next.Head {
		part = r.Let("part", index.Lt(i32(n)).Select(i32(0), index.Lt(i32(2*n)).Select(i32(1), i32(2))))
	}
	if r.stages() {
		return r.scale.At(part), r.base.At(index)
	}
	return r.Let("scale_of", r.scale.At(part)), r.Let("base_of", r.base.At(index))
}

// mostSharesAtOnce and mostAsked are how many shares, and numbers of the streams, a thread
// holds at once at most.
const (
	mostSharesAtOnce = 8
	mostAsked        = 32
)

// askForStreams reads the thread's vectors of the streams, if these are few.
func (r *hyperRead) askForStreams() {
	n, threads, quads := r.m.Streams, r.Schedule().Threads, r.m.Width/4
	if r.chunks()*n*4 > mostAsked || r.chunks() > hyperReadChunks {
		return
	}
	r.Comment("the streams and weights, asked for early")
	scale, base := r.scaleAndBase(kernel.Lane())
	r.affine = func(*kernel.Expr) (*kernel.Expr, *kernel.Expr) { return scale, base }
	source := r.source()
	for ch := range r.chunks() {
		at := r.Let("asked", kernel.Thread().Add(i32(ch*threads)).Min(i32(quads-1)))
		var of []*kernel.Expr
		for k := range n {
			of = append(of, r.Let("h", r.stream(source, k, at)))
		}
		r.asked = append(r.asked, of)
		var norms []*kernel.Expr
		for q := range 4 {
			norms = append(norms, r.Let("norm", r.weight.At(at.Mul(i32(4)).Add(i32(q)))))
		}
		r.norms = append(r.norms, norms)
	}
}

// source is the row of the streams that the row reads.
func (r *hyperRead) source() *kernel.Expr {
	if r.wanted {
		return r.Let("source", r.StepAt("wanted", r.row))
	}
	return r.row
}

// stream is vector `at` of stream k.
func (r *hyperRead) stream(source *kernel.Expr, k int, at *kernel.Expr) *kernel.Expr {
	n, quads := r.m.Streams, r.m.Width/4
	return r.streams.At(source.Mul(i32(n)).Add(i32(k)).Mul(i32(quads)).Add(at))
}

// collapse makes u = sum_k pre[k] h[k] and stores its norm times the weight.
func (r *hyperRead) collapse() {
	var source *kernel.Expr
	if r.asked == nil {
		source = r.source()
	}
	if n := r.chunks(); n <= hyperReadChunks {
		r.held = r.Vars("u", 4*n, f32(0))
	} else {
		r.parked = r.SharedArray("u", kernel.F32, r.m.Width)
	}
	squares := r.Var("squares", f32(0))
	r.eachChunk(func(ch int, at *kernel.Expr) { r.collapseChunk(ch, at, source, squares) })
	total := r.threadgroupSum(squares.Expr)
	inv := r.Let("inv", total.Mul(f32(1/float64(r.m.Width))).Add(f32(r.next.Norm.Eps)).Rsqrt())
	r.eachChunk(func(ch int, at *kernel.Expr) {
		var out [4]*kernel.Expr
		for q := range out {
			norm := r.weight.At(at.Mul(i32(4)).Add(i32(q)))
			if r.norms != nil {
				norm = r.norms[ch][q]
			}
			out[q] = r.element(ch, at, q).Mul(inv).Mul(norm)
		}
		r.x.Set(r.row.Mul(i32(r.m.Width/4)).Add(at), kernel.Vector(out[:]...))
	})
}

// collapseChunk makes four elements of u, and adds their squares up.
func (r *hyperRead) collapseChunk(ch int, at, source *kernel.Expr, squares kernel.Variable) {
	u := r.held
	if u != nil {
		u = u[4*ch:][:4]
	} else {
		u = r.Vars("sum", 4, f32(0))
	}
	for k := range r.m.Streams {
		var h *kernel.Expr
		if r.asked != nil {
			h = r.asked[ch][k]
		} else {
			h = r.Let("h", r.stream(source, k, at))
		}
		p := r.Let("p", r.pre.At(i32(k)))
		for q := range u {
			u[q].Set(p.Fma(h.Lane(q), u[q].Expr))
		}
	}
	for q := range u {
		squares.Set(u[q].Fma(u[q].Expr, squares.Expr))
		if r.held == nil {
			r.parked.Set(at.Mul(i32(4)).Add(i32(q)), u[q].Expr)
		}
	}
}

// element is element q of the vector of four numbered `at`, the thread's ch-th.
func (r *hyperRead) element(ch int, at *kernel.Expr, q int) *kernel.Expr {
	if r.held != nil {
		return r.held[4*ch+q].Expr
	}
	return r.parked.At(at.Mul(i32(4)).Add(i32(q)))
}

// chunks is how many vectors of four of a row a thread has.
func (r *hyperRead) chunks() int {
	return (r.m.Width/4 + r.Schedule().Threads - 1) / r.Schedule().Threads
}

// eachChunk runs f for the thread's vectors of four, of which the row has
// Width/4; ch is known if they are held.
func (r *hyperRead) eachChunk(f func(ch int, at *kernel.Expr)) {
	threads, quads := r.Schedule().Threads, r.m.Width/4
	if r.held == nil {
		r.For("quad", kernel.Thread(), i32(quads), i32(threads), func(at *kernel.Expr) { f(0, at) })
		return
	}
	for ch := range r.chunks() {
		at := r.Let("quad", kernel.Thread().Add(i32(ch*threads)))
		if (ch+1)*threads <= quads {
			f(ch, at)
		} else {
			r.If(at.Lt(i32(quads)), func() { f(ch, at) }, nil)
		}
	}
}
