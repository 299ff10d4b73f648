package program

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/ir"
)

// Arrays of the step block that say how the wanted rows' tokens are picked, an
// element for each of them: the fields of pick.Choice. A row with a negative
// SampleInv is not sampled; its place in the tokens keeps what it had.
const (
	SampleInv    = "sample_inv"    // f32
	SampleTopK   = "sample_top_k"  // i32
	SampleTopP   = "sample_top_p"  // u32, its bits as an i32, as those below
	SampleMinP   = "sample_min_p"  // u32
	SampleRandom = "sample_random" // u32
)

// SampleRegion stands in the place of a region's name in a launch that samples.
const SampleRegion = "sample"

// Logits is the value that a step's tokens are picked from: the module's first
// result, if it has a vector of f32 for each wanted row. Other modules have no
// logits, and their steps no sampling; then it is nil.
func Logits(m *ir.Module) *ir.Value {
	if len(m.Results) == 0 {
		return nil
	}
	v := m.Results[0]
	if v.Type.Rank() != 2 || v.Type.Elem != ir.F32 {
		return nil
	}
	name, ok := v.Type.Shape[0].Symbol()
	if _, known := v.Type.Shape[1].Value(); !ok || !known {
		return nil
	}
	for _, s := range m.Symbols {
		if s.Name == name && s.Def == ir.Wanted {
			return v
		}
	}
	return nil
}

// addSampling adds the arrays that sampling reads.
func (s *Step) addSampling() {
	s.add(SampleInv, kernel.F32, s.MaxRows)
	for _, name := range []string{SampleTopK, SampleTopP, SampleMinP, SampleRandom} {
		s.add(name, kernel.I32, s.MaxRows)
	}
}
