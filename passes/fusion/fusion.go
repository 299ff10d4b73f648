// Package fusion describes smelt's fusions: for each kind of region a typed
// view of what its body computes, found by walking the body. The fuse passes
// use it to form regions, lowering to read them: both see the same thing, so
// a kernel stands for exactly the operations its region carries.
//
// One file per kind: the view's type, and the function that finds it.
package fusion

import (
	"smelt/ir"
	"smelt/ir/ops"
)

// The kinds of regions.
const (
	KindLinear    = "linear"
	KindCache     = "cache"
	KindIndexTopK = "index_topk"
	KindAttention = "attention"
	KindMix       = "mix"
	KindExperts   = "experts"
)

// Norm is an RMS norm: x / sqrt(mean(x^2)+Eps), times the parameter Weight if
// it is not empty.
type Norm struct {
	Eps    float64
	Weight string
}

// Finish is what is done to a vector before it is stored or compared: norm,
// rotation, transform and rounding, in this order; each may be absent.
type Finish struct {
	Norm     *Norm
	Rope     *ops.RopeAttr
	Hadamard bool
	Round    []ops.RoundAttr
}

// Linear is a set of products that share the input X and have nothing else in
// common: one launch. X's rows have K elements, or, with a product in groups
// (then it is the only one), Groups*K of any shape: attention's result
// [R, Heads, Dim] goes into a grouped product as it lies in memory.
type Linear struct {
	X        *ir.Value
	K        int   // elements that one output sums over
	Norm     *Norm // of X's rows before the products; nil if none
	Products []Product
}

// Product is X times the transpose of the parameter Weight [N, K] (with Groups > 1: of
// Weight [Groups, N, K], group by group), and what follows:
// result = Scale * (product), or silu(min(gate, Limit)) * clamp(product, -Limit, Limit)
// with Gate, then + Table[position mod Ratio], then Heads vectors finished each.
type Product struct {
	Weight string
	Groups int // 1 if not grouped
	N      int // outputs (of each group)
	Gate   string
	Limit  float64 // of Gate's clamp; 0: none
	Scale  float64 // 1 if none
	Table  string  // parameter [Ratio, N] added by position; empty if none
	Ratio  int
	Heads  int       // with Finish: N/Heads elements each are one vector
	Finish *Finish   // nil if none
	Append string    // state the result is appended to at its position; else empty
	Result *ir.Value // [R, N], [R, Groups*N], [R, Heads, N/Heads]; with Append the state's new version
}

// Cache appends finished vectors to states.
type Cache struct{ Entries []Entry }

// Entry is one kind of appended vector of Width elements: of every row (Pool
// nil; from X, index = position, rotated by the position), or of every row
// that closes a block (pooled, index = floor(position/Ratio), rotated by
// position-(Ratio-1)).
type Entry struct {
	X      *ir.Value // [R, Width]; nil if pooled
	Pool   *Pool
	Width  int
	Finish Finish
	State  string
	Result *ir.Value // the state's new version
}

// Pool is the compressor's pooling: per channel, softmax over the tokens'
// scores, weighted sum of their values (model.md, Compressor). With Overlap,
// states are 2*Width wide: the block's own tokens give channels Width.., the
// block before it channels 0..Width-1; slots before the sequence's start do not
// take part.
type Pool struct {
	Values, Scores string // states
	Ratio          int
	Overlap        bool
}

// IndexTopK picks, per row, the K entries with the largest sum over heads of
// weight times relu(q . key), of those visible: (j+1)*Ratio <= position+1.
// Order: higher score, then lower index; result ascending, -1 behind.
type IndexTopK struct {
	Q       *ir.Value // [T, Heads, Dim], finished
	Weights *ir.Value // [T, Heads]
	Keys    string    // state
	Heads   int
	Dim     int
	Ratio   int
	K       int
	Result  *ir.Value // [T, K] i32
}

// Attention is sparse attention with a sink over the last Window rows of a
// state and entries of another: those Selected, or all visible ones.
type Attention struct {
	Q        *ir.Value    // [T, Heads*Dim] raw product
	QNorm    *Norm        // per head
	Rope     ops.RopeAttr // of q; the result is rotated back
	Heads    int
	Dim      int
	Window   string // state
	Size     int    // of the window, this row's position included
	Entries  string // state; empty if none
	Ratio    int
	Selected *ir.Value // [T, K] i32, -1 for none; nil: all visible
	Scale    float64
	Sink     string    // parameter [Heads]
	Result   *ir.Value // [T, Heads, Dim], rotated back
}

// Mix writes a half block's result into the residual streams and reads the
// next half block's input from them:
//
//	after[k] = Post[k]*y + sum_j Comb[j,k] Before[j]
//	Next: z = rms(flatten(after)) . Fn, pre/post/comb from z, x = norm(sum_k pre[k] after[k])
//
// Without a Source, after is given (After): the streams of the rows taken.
type Mix struct {
	Streams, Width int
	Source         Source
	Before         *ir.Value // [R, Streams, Width]; nil with Embed or Take
	Post           *ir.Value // [R, Streams]
	Comb           *ir.Value // [R, Streams, Streams]
	After          *ir.Value // [R, Streams, Width]; a result unless Take
	Next           *MixNext  // nil after the last layer's last half block
}

// Source is what y is; exactly one of its fields is set.
type Source struct {
	Embed   *EmbedSource
	Project *ProjectSource
	Experts *ExpertsSource
	Take    *TakeSource
}

// EmbedSource: every stream is the token's row of Table.
type EmbedSource struct{ Table string }

// ProjectSource: y = X . Weight.
type ProjectSource struct {
	X      *ir.Value
	Weight string
}

// ExpertsSource: y = sum_e Mid[e] . Down[IDs[e]] + Shared . SharedDown.
type ExpertsSource struct {
	Mid, IDs   *ir.Value // [R, E, F], [R, E]
	Down       string    // [experts, Width, F]
	Shared     *ir.Value // [R, F]
	SharedDown string
}

// TakeSource: the streams of the wanted rows of Streams [T, ...].
type TakeSource struct{ Streams, Rows *ir.Value }

// MixNext reads one vector from the streams. Head: only weights pre, no post
// and comb.
type MixNext struct {
	Fn, Scale, Base string // parameters
	FnEps           float64
	HCEps           float64
	PostScale       float64
	Iters           int // Sinkhorn; with Head 0
	Head            bool
	Norm            Norm
	X               *ir.Value // [R, Width]
	Post, Comb      *ir.Value // nil with Head
}

// Experts routes rows and computes the chosen experts' hidden vectors, each
// times its routing weight.
type Experts struct {
	X        *ir.Value // [T, D]
	Logits   *ir.Value // [T, experts]: x . gate; scores are sqrt(softplus)
	Bias     string    // parameter added for the choice only; empty with Table
	Table    string    // hash routing: ids of the token; empty else
	Experts  int
	K        int
	Scale    float64
	Gate, Up string // parameters [experts, F, D]
	F        int
	Limit    float64
	IDs      *ir.Value // [T, K] ascending
	Weights  *ir.Value // [T, K]
	Mid      *ir.Value // [T, K, F]
}
