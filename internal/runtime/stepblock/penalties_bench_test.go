package stepblock_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// BenchmarkPenalties is what the host does for a token of texts with penalties, of Flash's
// vocabulary: it counts the token, and writes what changes of the next one's logits to the
// step block, of which it says how many bytes kernels read. Words come as in prose: the n-th
// most frequent one n times as rarely as the first.
func BenchmarkPenalties(b *testing.B) {
	const vocab, rows = 129280, 16
	module := &ir.Module{Symbols: []ir.Symbol{{Name: "W", Def: ir.Wanted}}, Results: []*ir.Value{{ID: 1, Type: ir.Tensor(ir.F32, ir.Sym("W"), ir.Const(vocab))}}}
	for _, length := range []int{1000, 10_000, 100_000} {
		r := rand.New(rand.NewPCG(1, 2))
		words := rand.NewZipf(r, 1.05, 1, vocab-1)
		prompt := make([]int32, length)
		for i := range prompt {
			prompt[i] = int32(words.Uint64())
		}
		for _, p := range []sampling.Params{{}, {FrequencyPenalty: 0.5}, {RepetitionPenalty: 1.1}} {
			b.Run(fmt.Sprintf("%d tokens, repetition %v, frequency %v", length, p.RepetitionPenalty, p.FrequencyPenalty), func(b *testing.B) {
				f := stepblock.New(program.NewStep(module, rows))
				block := make([]byte, f.Bytes())
				// A text of that length: of the prompt for one penalty, generated for the other.
				c := session.NewChooser(p, 0, nil, prompt)
				for _, t := range prompt {
					c.Add(t)
				}
				if err := f.Fill(block, []ir.Row{{}}, []int{0}, nil); err != nil {
					b.Fatal(err)
				}
				used := 0
				for i := 0; b.Loop(); i++ {
					c.Add(int32(words.Uint64()))
					if err := f.Choose(block, 0, []sampling.Choice{c.Choice(i)}); err != nil {
						b.Fatal(err)
					}
					used = 0
					for _, s := range f.Used() {
						used += s.To - s.From
					}
				}
				b.ReportMetric(float64(c.Changed()), "logits")
				b.ReportMetric(float64(used), "bytes")
			})
		}
	}
}
