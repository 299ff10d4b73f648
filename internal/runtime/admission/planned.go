package admission

import (
	"fmt"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/models/checkpoint"
)

// Planned is what a device takes on the processor that runs a bundle's plan: what
// Bundle.Memory counts, the logits of the wanted rows, as bytes and as numbers, and
// parts of its own. written tells that the bundle was compiled before, so that its
// sizes cannot be chosen any more.
func Planned(device string, b *bundle.Bundle, ck *checkpoint.Checkpoint, written bool, own ...Part) (Needs, error) {
	vocab, err := devmem.Vocab(b.Module)
	if err != nil {
		return Needs{}, err
	}
	m, logits := b.Memory(), 2*4*int64(b.Plan.Wanted)*int64(vocab)
	n := Needs{Device: device, Files: ck.Files, Parts: append([]Part{{"caches", m.Caches}, {"activations", m.Arena}, {"parameters of steps", m.Steps}, {"logits", logits}}, own...)}
	n.Weights = Weights(b)
	n.Reads = func() ([]Read, error) { return Reads(b) }
	besides := n.Own() - m.Caches - m.Arena - m.Steps
	n.Less = func(limit int64) error { return Smaller(b, b.LargestContext(limit-besides+m.Weights), written) }
	return n, nil
}

// Weights counts the bytes that steps read of the files: a checkpoint may hold more,
// such as parts for drafts.
func Weights(b *bundle.Bundle) (sum int64) {
	for _, p := range b.Params {
		sum += p.Bytes()
	}
	return sum
}

// Reads tells what a token at the end of a full context reads of the weights.
func Reads(b *bundle.Bundle) (reads []Read, err error) {
	s := b.Plan.Step(program.Decode)
	bytes, err := s.WeightReads(s.Symbols(b.Plan.Context, 1))
	for _, p := range b.Params {
		if n := bytes[p.Name]; n > 0 {
			reads = append(reads, Read{n, max(n, p.Bytes())})
		}
	}
	return reads, err
}

// Smaller says which sizes to choose for a bundle to take less; context is one that
// fits, 0 if none does.
func Smaller(b *bundle.Bundle, context int, written bool) error {
	p, how := b.Plan, "take"
	if written {
		how = "compile the bundle with"
	}
	var advice error
	switch {
	case context > p.Chunk:
		advice = option.Errorf("%s %s %d, about the longest that fits", how, option.Name("Context"), context)
	case b.CacheRows != "fp8":
		advice = fmt.Errorf("no context fits; compile the bundle with caches of fp8 instead of %s", b.CacheRows)
	default:
		advice = option.Errorf("no context fits with steps of %d tokens; %s a smaller %s", p.Chunk, how, option.Name("Chunk"))
	}
	if p.Slots > 1 {
		return option.Errorf("%w, or with fewer %s than %d", advice, option.Name("Slots"), p.Slots)
	}
	return advice
}
