package deepseekv4

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/sample"
)

// inChunks runs tokens in steps of n rows and returns all logits.
func inChunks(t *testing.T, m *opened, tokens []int32, n int) []float32 {
	t.Helper()
	ma, err := eval.New[float32](m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	var logits []float32
	for from := 0; from < len(tokens); from += n {
		part := tokens[from:min(from+n, len(tokens))]
		out, err := ma.Step(rowsOf(part, from, 0), all(len(part)))
		if err != nil {
			t.Fatal(err)
		}
		logits = append(logits, out[0].F...)
	}
	return logits
}

// TestChunks: however a prompt is cut, down to token by token, the logits of
// every position are the same bits.
func TestChunks(t *testing.T) {
	for _, dir := range oneOfEach(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, g := open(t, dir), openGolden(t, filepath.Join(dir, "golden.safetensors"))
			for p := range prompts() {
				tokens := g.ints(t, fmt.Sprintf("p%d.input_ids", p))
				want := inChunks(t, m, tokens, len(tokens))
				for _, n := range sample.Of(t, []int{1, 3, 4, 7, 64, 128, 129}, 1) {
					if got := inChunks(t, m, tokens, n); !slices.Equal(got, want) {
						t.Errorf("prompt of %d tokens in chunks of %d: logits are not the same bits", len(tokens), n)
					}
				}
			}
		})
	}
}

// sequence is a text on its way through shared steps.
type sequence struct {
	tokens []int32
	slot   int32
	done   int
	logits []float32
}

// TestRowIsolation runs a watched sequence beside up to seven companions of
// other lengths, in random slots, with random numbers of rows of each in every
// step and companions that end and begin anew. The watched logits must be the
// bits it gets alone.
func TestRowIsolation(t *testing.T) {
	for _, dir := range oneOfEach(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m, g := open(t, dir), openGolden(t, filepath.Join(dir, "golden.safetensors"))
			tokens := g.ints(t, "p2.input_ids")[:150]
			if testing.Short() {
				tokens = tokens[:40]
			}
			alone := inChunks(t, m, tokens, len(tokens))
			for _, companions := range sample.Of(t, []int{1, 3, 5, 7}, 1) {
				rng := rand.New(rand.NewPCG(41, uint64(companions)))
				if got := besides(t, m, rng, tokens, companions); !slices.Equal(got, alone) {
					t.Errorf("beside %d companions (seed 41, %d) the logits are not the bits of the sequence alone", companions, companions)
				}
			}
		})
	}
}

func besides(t *testing.T, m *opened, rng *rand.Rand, tokens []int32, companions int) []float32 {
	t.Helper()
	ma, err := eval.New[float32](m.Graph, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	slots := rng.Perm(16)
	seqs := []*sequence{{tokens: tokens, slot: int32(slots[0])}}
	for i := range companions {
		seqs = append(seqs, &sequence{tokens: randomTokens(rng, m), slot: int32(slots[i+1])})
	}
	watched := seqs[0]
	for watched.done < len(tokens) {
		rng.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
		var rows []eval.Row
		var mine []int
		for _, s := range seqs {
			if s.done == len(s.tokens) { // a companion that ended begins anew in its slot
				ma.Reset(s.slot)
				s.tokens, s.done = randomTokens(rng, m), 0
			}
			n := min(rng.IntN(12), len(s.tokens)-s.done)
			if s == watched {
				for i := range n {
					mine = append(mine, len(rows)+i)
				}
			}
			rows = append(rows, rowsOf(s.tokens[s.done:s.done+n], s.done, s.slot)...)
			s.done += n
		}
		if len(rows) == 0 {
			continue
		}
		out, err := ma.Step(rows, mine)
		if err != nil {
			t.Fatal(err)
		}
		watched.logits = append(watched.logits, out[0].F...)
	}
	return watched.logits
}

func randomTokens(rng *rand.Rand, m *opened) []int32 {
	tokens := make([]int32, 1+rng.IntN(200))
	for i := range tokens {
		tokens[i] = int32(rng.IntN(m.Config.VocabSize))
	}
	return tokens
}
