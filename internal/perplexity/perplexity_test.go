package perplexity

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// scored is a naive sliding window: which window scores each token from the second on,
// by where that window begins.
func scored(tokens, length, stride int) (begins []int) {
	before := 1 // the first token is scored by none
	for begin := 0; before < tokens; begin += stride {
		end := min(begin+length, tokens)
		for range end - before {
			begins = append(begins, begin)
		}
		before = max(before, end)
	}
	return begins
}

// TestWindows: each token is scored once, in the first window that has it, with at
// least length-stride tokens before it, and nothing is read that is not needed.
func TestWindows(t *testing.T) {
	sizes := [][3]int{{1, 1, 0}, {1, 8, 3}, {8, 8, 0}, {8, 8, 7}, {9, 8, 7}, {9, 8, 1}, {300, 64, 63}, {2, 2, 1}, {3, 2, 1}}
	for range 300 {
		length := 2 + rand.IntN(40)
		sizes = append(sizes, [3]int{1 + rand.IntN(200), length, 1 + rand.IntN(length-1)})
	}
	for _, size := range sizes {
		tokens, length, stride := size[0], size[1], size[2]
		windows := Windows(tokens, length, stride)
		var got []int
		next, read := 1, 0
		for i, w := range windows {
			last := i == len(windows)-1
			if w.From != i*stride || w.To > tokens || w.To-w.From > length || w.To-w.From < length && !last || w.First != next || (w.To == tokens) != last {
				t.Fatalf("%v: window %d is %+v", size, i, w)
			}
			if i > 0 && w.First-w.From < length-stride {
				t.Fatalf("%v: window %d scores token %d with %d before it", size, i, w.First, w.First-w.From)
			}
			for ; next < w.To; next++ {
				got = append(got, w.From)
			}
			read += w.To - w.From
			if !last {
				read-- // its last token predicts what the next window scores
			}
		}
		if want := scored(tokens, length, stride); !slices.Equal(got, want) {
			t.Fatalf("%v: tokens are scored from %v on, expected %v", size, got, want)
		}
		if got := Reads(windows, tokens); got != read {
			t.Fatalf("%v: %d tokens are read, expected %d", size, got, read)
		}
	}
}

const vocab = 5

// engine has logits that depend on all tokens of the text so far, and on nothing else.
type engine struct {
	text  []int32
	begun int
	chunk int // the largest that was read
	fail  error
}

func (e *engine) Begin() error {
	e.text = nil
	e.begun++
	return nil
}

func (e *engine) Read(tokens []int32, first int, each func(i int, logits []float32) error) error {
	if e.fail != nil {
		return e.fail
	}
	e.chunk = max(e.chunk, len(tokens))
	for i, id := range tokens {
		e.text = append(e.text, id)
		if i >= first {
			if err := each(i, logitsAfter(e.text)); err != nil {
				return err
			}
		}
	}
	return nil
}

func logitsAfter(text []int32) []float32 {
	state := uint64(len(text))
	for _, id := range text {
		state = state*6364136223846793005 + uint64(id) + 1
	}
	r := rand.New(rand.NewPCG(state, 1))
	out := make([]float32, vocab)
	for i := range out {
		out[i] = float32(4 * r.NormFloat64())
	}
	return out
}

// probabilities are the softmax by its definition.
func probabilities(logits []float32) []float64 {
	out, sum := make([]float64, len(logits)), 0.0
	for i, x := range logits {
		out[i] = math.Exp(float64(x))
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func text(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = rand.Int32N(vocab)
	}
	return out
}

// baseOf writes logits as smelt eval does, and opens them.
func baseOf(t *testing.T, ids []int32, rows [][]float32) *Base {
	t.Helper()
	path := filepath.Join(t.TempDir(), "base")
	if err := safetensors.Write(path, outs(ids, rows), nil); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBase(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func outs(ids []int32, rows [][]float32) []safetensors.Out {
	var a, b []byte
	for _, id := range ids {
		a = binary.LittleEndian.AppendUint32(a, uint32(id))
	}
	for _, x := range slices.Concat(rows...) {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	n := int64(len(ids))
	return []safetensors.Out{
		{Name: IDs, DType: safetensors.I32, Shape: []int64{n}, Data: a},
		{Name: Logits, DType: safetensors.F32, Shape: []int64{n, int64(len(rows[0]))}, Data: b},
	}
}

// TestRun: however a text is cut, every token has the probability that the model gives it
// after its window's tokens before it, every position's logits come once and in order,
// and divergences are those of the definition.
func TestRun(t *testing.T) {
	for range 200 {
		length := 2 + rand.IntN(20)
		stride, chunk, tokens := 1+rand.IntN(length-1), 1+rand.IntN(length+2), text(1+rand.IntN(60))
		// What each position's logits are, and those of a base.
		var want, other [][]float32
		begins := append(scored(len(tokens), length, stride), 0)
		if n := len(begins); n > 1 {
			begins[n-1] = begins[n-2] // the last token's, which predict nothing
		}
		for at, begin := range begins {
			want = append(want, logitsAfter(tokens[begin:at+1]))
			other = append(other, logitsAfter(tokens[at:at+1]))
		}
		e, at, read := &engine{}, 0, 0
		o := Options[float32]{Tokens: tokens, Windows: Windows(len(tokens), length, stride), Chunk: chunk, Base: baseOf(t, tokens, other),
			Row: func(logits []float32) error {
				if !slices.Equal(logits, want[at]) {
					t.Errorf("%d tokens, windows of %d by %d, chunks of %d: logits in place %d are not those after tokens %d to %d", len(tokens), length, stride, chunk, at, begins[at], at)
				}
				at++
				return nil
			}, Progress: func(n int) { read = n }}
		s, err := Run(t.Context(), e, o)
		if err != nil || at != len(tokens) || len(s.LogProbs) != len(tokens)-1 || e.begun != len(o.Windows) || e.chunk > chunk || read != Reads(o.Windows, len(tokens)) {
			t.Fatalf("%v: %d rows, %d probabilities of %d tokens, %d of %d windows, %d tokens at once, %d read", err, at, len(s.LogProbs), len(tokens), e.begun, len(o.Windows), e.chunk, read)
		}
		loss, lossOther, same, mean := 0.0, 0.0, 0, 0.0
		for i := range tokens {
			p, q := probabilities(other[i]), probabilities(want[i])
			nats := 0.0
			for id := range p {
				nats += p[id] * math.Log(p[id]/q[id])
			}
			if d := s.Against.Divergences[i]; math.Abs(d-nats) > 1e-12*max(1, nats) {
				t.Fatalf("place %d: divergence %v, expected %v", i, d, nats)
			}
			mean += nats / float64(len(tokens))
			if slices.Index(p, slices.Max(p)) == slices.Index(q, slices.Max(q)) {
				same++
			}
			if i+1 < len(tokens) {
				loss -= math.Log(q[tokens[i+1]]) / float64(len(tokens)-1)
				lossOther -= math.Log(p[tokens[i+1]]) / float64(len(tokens)-1)
			}
		}
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-11 }
		if len(tokens) > 1 && (!near(s.Loss(), loss) || !near(s.Against.Loss(), lossOther)) || !near(s.Against.Mean(), mean) || !near(s.Against.SameTop(), float64(same)/float64(len(tokens))) {
			t.Fatalf("loss %v and %v, mean divergence %v, same %v; expected %v and %v, %v, %v", s.Loss(), s.Against.Loss(), s.Against.Mean(), s.Against.SameTop(), loss, lossOther, mean, float64(same)/float64(len(tokens)))
		}
	}
}

// TestRunEnds: errors of everyone who can fail come back, and the end of a context
// stops before the next step.
func TestRunEnds(t *testing.T) {
	broken := errors.New("broken")
	tokens := text(20)
	options := Options[float32]{Tokens: tokens, Windows: Windows(20, 8, 4), Chunk: 3}
	if _, err := Run(t.Context(), &engine{fail: broken}, options); !errors.Is(err, broken) {
		t.Errorf("the engine's: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := options
	o.Progress = func(read int) {
		if read == 6 {
			cancel()
		} else if read > 6 {
			t.Errorf("%d tokens are read after the end", read)
		}
	}
	if _, err := Run(ctx, &engine{}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("the context's: %v", err)
	}
	o = options
	o.Row = func([]float32) error { return broken }
	if _, err := Run(t.Context(), &engine{}, o); !errors.Is(err, broken) {
		t.Errorf("the row's: %v", err)
	}
	rows := make([][]float32, 20)
	for i := range rows {
		rows[i] = make([]float32, vocab)
	}
	o = options
	o.Base = baseOf(t, tokens, rows)
	if err := os.Truncate(o.Base.file.Path(), 200); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), &engine{}, o); err == nil || !strings.Contains(err.Error(), "reading the logits in place ") {
		t.Errorf("a base that is cut short meanwhile: %v", err)
	}
}

func TestDivergence(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, c := range []struct {
		name       string
		base, seen []float32
		want       float64
		same       bool
	}{
		{"equal", []float32{1, 2, 3}, []float32{1, 2, 3}, 0, true},
		{"equal but for what softmax does not see", []float32{1, 2, 3}, []float32{101, 102, 103}, 0, true},
		{"far up and down", []float32{9000, 9000}, []float32{-9000, -9000}, 0, true},
		{"a bit for two nats", []float32{0, 0}, []float32{0, 2}, math.Log((1+math.Exp(2))/2) - 1, false},
		{"impossible in the base", []float32{0, -inf}, []float32{0, 0}, math.Ln2, true},
		{"impossible now", []float32{0, 0}, []float32{0, -inf}, math.Inf(1), true},
		{"impossible in both", []float32{0, -inf}, []float32{0, -inf}, 0, true},
		{"no number now", []float32{0, 0}, []float32{0, nan}, math.NaN(), true},
		{"no number in the base", []float32{nan, 0}, []float32{0, 0}, math.NaN(), false},
	} {
		got, same := Divergence(c.base, c.seen)
		if !(math.Abs(got-c.want) < 1e-12 || got == c.want || got != got && c.want != c.want) || same != c.same {
			t.Errorf("%s: %v, %v; expected %v, %v", c.name, got, same, c.want, c.same)
		}
	}
}

func TestQuantile(t *testing.T) {
	a := newAgainst(200)
	for i := range a.Divergences {
		a.Divergences[i] = float64(200 - i)
	}
	for share, want := range map[float64]float64{0.5: 100, 0.99: 198, 1: 200, 0: 1, 0.005: 1, 0.0051: 2} {
		if got := a.Quantile(share); got != want {
			t.Errorf("%v of 1 to 200: %v, expected %v", share, got, want)
		}
	}
	a.Divergences[7] = math.NaN()
	if got := a.Quantile(0.5); got == got {
		t.Errorf("beside NaN: %v", got)
	}
	one := newAgainst(1)
	if one.Quantile(0.5) != 0 || one.Quantile(0.99) != 0 || one.Quantile(1) != 0 {
		t.Error("of one")
	}
}

// TestBaseRefuses: files that are no logits, or not of this text.
func TestBaseRefuses(t *testing.T) {
	ids, rows := []int32{1, 2, 3}, [][]float32{{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}}
	good := outs(ids, rows)
	path := filepath.Join(t.TempDir(), "base")
	open := func(tensors ...safetensors.Out) error {
		if err := safetensors.Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		b, err := OpenBase(path)
		if err == nil {
			b.Close()
		}
		return err
	}
	if err := open(good...); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(o *safetensors.Out), i int) safetensors.Out {
		o := good[i]
		change(&o)
		return o
	}
	write := func(data []byte) error {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := OpenBase(path)
		return err
	}
	_, missing := OpenBase(filepath.Join(t.TempDir(), "none"))
	for want, err := range map[string]error{
		"no such file": missing,
		"is a text (\"once upon a time there was": write([]byte("once upon a time there was a file of text")),
		"truncated":                                         write(whole[:20]),
		"found no tensor logits":                            open(good[0]),
		"found no tensor input_ids":                         open(good[1]),
		"logits is I32[3 5], expected F32":                  open(good[0], with(func(o *safetensors.Out) { o.DType = safetensors.I32 }, 1)),
		"input_ids is F32[3], expected I32":                 open(with(func(o *safetensors.Out) { o.DType = safetensors.F32 }, 0), good[1]),
		"logits is F32[15], expected F32 with 2":            open(good[0], with(func(o *safetensors.Out) { o.Shape = []int64{15} }, 1)),
		"[5 3], expected a row for each of the 3 tokens":    open(good[0], with(func(o *safetensors.Out) { o.Shape = []int64{5, 3} }, 1)),
		"[3 0], expected a row for each of the 3 tokens of": open(good[0], with(func(o *safetensors.Out) { o.Shape, o.Data = []int64{3, 0}, nil }, 1)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, expected an error with %q", err, want)
		}
	}
	if err := write(whole[:len(whole)-1]); err == nil {
		t.Error("a file without its last byte opens")
	}
	b := baseOf(t, ids, rows)
	for want, err := range map[string]error{
		"a vocabulary of 5, the model has 6":                  b.Check(ids, 6),
		"its token in place 2 is 2, here it is 4":             b.Check([]int32{1, 4, 3}, 5),
		"logits of 3 tokens, the text has 2":                  b.Check(ids[:2], 5),
		"logits of 3 tokens, the text has 4":                  b.Check([]int32{1, 2, 3, 4}, 5),
		"logits of 3 tokens, the text has 0; they must be of": b.Check(nil, 5),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), b.file.Path()) {
			t.Errorf("found %v, expected an error with %q", err, want)
		}
	}
	if err := b.Check(ids, 5); err != nil {
		t.Error(err)
	}
}
