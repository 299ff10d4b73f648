// Package perplexity scores texts: how probable a model finds each token after those
// before it, and how far its probabilities are from those of logits that were computed
// before. It knows no model and no device in particular.
//
//	run      windows of a text through an Engine, row by row
//	Scores   what becomes of the rows: log-probabilities, and a Divergence
//	Base     a file of logits to compare with
package perplexity

import (
	"context"
	"math"
	"runtime"
	"sync"

	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/runtime/sampling"
)

// Engine runs a model over a text.
type Engine[F tensor.Float] interface {
	// Begin begins a text, and forgets the one before.
	Begin() error
	// Read goes on with tokens, at most a chunk of them, and hands the logits of those
	// from index first on to each, in order. A slice is each's to keep.
	Read(tokens []int32, first int, each func(i int, logits []F) error) error
}

// Options say how a text is read.
type Options[F tensor.Float] struct {
	Tokens  []int32
	Windows []Window
	Chunk   int // tokens of a step at most
	// Base, if not nil, has logits of the same tokens to compare with.
	Base *Base
	// Row, if not nil, gets the logits of every token of the text, in order, before
	// anything else does. It must not change them.
	Row func(logits []F) error
	// Score, if not nil, reads what Read would where nothing but scores is asked for: to
	// scores go those of targets, each after the tokens up to one of those from index
	// first on.
	Score func(tokens []int32, first int, targets []int32, scores []float64) error
	// Progress, if not nil, is told how many tokens have been read, some of them in
	// several windows.
	Progress func(read int)
}

// Run scores a text. Of the logits a token's row at a time leaves the engine, and as
// many of them are kept as there are processors, which work them out in float64. When
// ctx ends, its error is returned before the next step. With an error come the scores of
// the tokens before it.
func Run[F tensor.Float](ctx context.Context, e Engine[F], o Options[F]) (*Scores, error) {
	s := newScorer(o)
	err := s.run(ctx, e)
	s.wait()
	if err != nil {
		s.scores.cut(s.rows)
	}
	return s.scores, err
}

func (s *scorer[F]) run(ctx context.Context, e Engine[F]) error {
	o, read := s.Options, 0
	for _, w := range o.Windows {
		if err := e.Begin(); err != nil {
			return err
		}
		end := w.read(len(o.Tokens))
		for at := w.From; at < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := o.Tokens[at:min(at+o.Chunk, end)]
			first := min(max(w.First-1-at, 0), len(part))
			if err := s.read(e, at, part, first); err != nil {
				return err
			}
			at += len(part)
			read += len(part)
			if o.Progress != nil {
				o.Progress(read)
			}
		}
	}
	return nil
}

// read goes on with a part of the text, which begins at a position; the rows of its
// tokens from index first on are new.
func (s *scorer[F]) read(e Engine[F], at int, part []int32, first int) error {
	if s.Score == nil || s.Row != nil || s.Base != nil {
		return e.Read(part, first, func(i int, logits []F) error { return s.row(at+i, logits) })
	}
	scores := s.scores.LogProbs
	from := min(at+first, len(scores)) // of the rows; the text's last token predicts none
	to := max(from, min(at+len(part), len(scores)))
	if err := s.Score(part, first, s.Tokens[1:][from:to], scores[from:to]); err != nil {
		return err
	}
	if first < len(part) {
		s.rows = at + len(part)
	}
	return nil
}

// Scores are what a text comes to.
type Scores struct {
	// LogProbs are the natural logarithms of the probabilities of the tokens from the
	// second on, each after those before it.
	LogProbs []float64
	// Against says how far the probabilities are from those of Base; nil without it.
	Against *Against
}

// cut keeps the scores of the first rows.
func (s *Scores) cut(rows int) {
	s.LogProbs = s.LogProbs[:min(rows, len(s.LogProbs))]
	if a := s.Against; a != nil {
		a.Divergences, a.same = a.Divergences[:rows], a.same[:rows]
		a.logProbs = a.logProbs[:min(rows, len(a.logProbs))]
	}
}

// Loss is the mean negative log-probability of a token: NaN if there is none.
func (s *Scores) Loss() float64 { return loss(s.LogProbs) }

func loss(logProbs []float64) float64 {
	sum := 0.0
	for _, p := range logProbs {
		sum -= p
	}
	return sum / float64(len(logProbs))
}

// Perplexity is the exponential of a loss.
func Perplexity(loss float64) float64 { return num.Exp(loss) }

// scorer works rows out while the engine computes the next.
type scorer[F tensor.Float] struct {
	Options[F]
	scores *Scores
	rows   int           // taken, of the text's first tokens
	free   chan struct{} // as many as rows may be worked on at once
	busy   sync.WaitGroup
}

func newScorer[F tensor.Float](o Options[F]) *scorer[F] {
	s := &scorer[F]{Options: o, scores: &Scores{LogProbs: make([]float64, max(len(o.Tokens)-1, 0))}, free: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if o.Base != nil {
		s.scores.Against = newAgainst(len(o.Tokens))
	}
	return s
}

// row takes the logits of the token at a position.
func (s *scorer[F]) row(position int, logits []F) error {
	if s.Row != nil {
		if err := s.Row(logits); err != nil {
			return err
		}
	}
	var base []float32
	if s.Base != nil {
		var err error
		if base, err = s.Base.row(position); err != nil {
			return err
		}
	}
	s.rows = position + 1
	s.free <- struct{}{}
	s.busy.Go(func() {
		defer func() { <-s.free }()
		s.score(position, logits, base)
	})
	return nil
}

func (s *scorer[F]) score(position int, logits []F, base []float32) {
	next := position + 1
	if next < len(s.Tokens) {
		s.scores.LogProbs[position] = sampling.LogProb(logits, s.Tokens[next])
	}
	if base == nil {
		return
	}
	a := s.scores.Against
	a.Divergences[position], a.same[position] = Divergence(base, logits)
	if next < len(s.Tokens) {
		a.logProbs[position] = sampling.LogProb(base, s.Tokens[next])
	}
}

func (s *scorer[F]) wait() { s.busy.Wait() }

// spread is the largest logit, the id that has it first, and the logarithm of the sum
// of all exponentials; -1 if no logit is a number.
func spread[F tensor.Float](logits []F) (best int, logSum float64) {
	best, top := -1, math.Inf(-1)
	for i, x := range logits {
		if v := float64(x); v > top || best < 0 && v == v {
			best, top = i, v
		}
	}
	sum := 0.0
	for _, x := range logits {
		sum += num.Exp(float64(x) - top)
	}
	return best, top + num.Log(sum)
}
