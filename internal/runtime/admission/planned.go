package admission

import (
	"errors"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/models/checkpoint"
)

// Ask is what a device asks before it compiles anything: whether a bundle, as it is planned
// for this machine, may run here, with parts of the device's own; and how many bytes there
// may be for what is kept of slots.
type Ask func(b *bundle.Bundle, own ...Part) (kept int64, err error)

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
	n.Less = func(limit int64) error { return smaller(b, limit-besides, written) }
	return n, nil
}

// Weights counts the bytes that steps read of the files: a checkpoint may hold more,
// such as parts for drafts.
func Weights(b *bundle.Bundle) int64 { return b.Params.Bytes() }

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

// errNoSizes is what is said where parts alone that no size changes have no room.
var errNoSizes = errors.New("no smaller sizes make that fit; end other programs, raise the limit if it is one, or take a machine with more memory")

// smaller says with which sizes the caches, activations and parameters of steps would
// take at most so many bytes.
func smaller(b *bundle.Bundle, limit int64, written bool) error {
	if limit <= 0 {
		return errNoSizes
	}
	p, m := b.Plan, b.Memory()
	format, args := "take ", []any{}
	if written {
		format = "compile the bundle with "
	}
	var ways []string
	if context := b.LargestContext(limit + m.Weights); context > p.Chunk {
		ways, args = append(ways, "%s %d, about the longest that fits"), append(args, option.Name("Context"), context)
	}
	if slots := (limit - m.Arena - m.Steps) * int64(p.Slots) / max(m.Caches, 1); p.Slots > 1 && slots > 0 {
		ways, args = append(ways, "%s %d"), append(args, option.Name("Slots"), slots)
	}
	if b.CacheRows != "fp8" {
		ways, args = append(ways, "%s fp8 instead of %s"), append(args, option.Name("Formats.Rows"), b.CacheRows)
	}
	if len(ways) == 0 {
		return option.Errorf(format+"a smaller %s than %d; no context fits with that", option.Name("Chunk"), p.Chunk)
	}
	return option.Errorf(format+strings.Join(ways, ", or "), args...)
}
