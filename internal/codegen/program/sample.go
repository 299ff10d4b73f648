package program

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/ir"
)

// Arrays of the step block that say how the wanted rows' tokens are picked, an
// element for each of them: the fields of pick.Choice. A row with a negative
// SampleInv is not sampled; its place in the tokens keeps what it had. Rows from
// Step.Sampled on never are.
const (
	SampleInv    = "sample_inv"    // f32
	SampleTopK   = "sample_top_k"  // i32
	SampleTopP   = "sample_top_p"  // u32, its bits as an i32, as those below
	SampleMinP   = "sample_min_p"  // u32
	SampleRandom = "sample_random" // u32
)

// More arrays of the step block, for what of a choice has no fixed length. Of masks
// there are as many as of rows that are sampled, and rows may share them; the changes
// of all rows stand in one list, which has room for those of ListedVocabularies.
const (
	SampleMask     = "sample_mask"     // i32, by row: which of the masks is its
	SampleMasks    = "sample_masks"    // u32, MaskWords for each mask
	SampleFrom     = "sample_from"     // i32, by row: its first place in the lists
	SampleTo       = "sample_to"       // i32, by row: the place after its last
	SamplePositive = "sample_positive" // f32, by row: pick.Changes.Positive
	SampleNegative = "sample_negative" // f32, by row
	SampleTokens   = "sample_tokens"   // i32: tokens with changes, as pick.Change.Word spells them
	SampleLess     = "sample_less"     // f32: what is taken from theirs
)

// ListedVocabularies is how many times all tokens of the vocabulary the lists of changes have
// room for, in steps that pick as many tokens. A text of 100,000 tokens of prose has about a
// sixth of a vocabulary of 129,280: sixteen of them go in one step.
const ListedVocabularies = 4

// Grids of launches that sample are formulas over these, beside the module's symbols: what
// nobody asks for has no threadgroups.
const (
	SampledRows = "sampled_rows" // the wanted rows, in steps that pick tokens; else 0
	DrawnRows   = "drawn_rows"   // the wanted rows, in steps that draw one; else 0
)

// A decode step may begin before the host knows the tokens that the step before it
// picked: then its rows say where among Step.Tokens theirs will be.
const (
	Source     = "source"      // i32, by row: the place of its token in Tokens; negative: its token is given
	SampleInto = "sample_into" // i32: the place in Tokens of the first wanted row's token
)

// TokenSets is how many sets of tokens there is room for: while a step reads one, and
// the host too, the next is written.
const TokenSets = 2

// MaxSampled is the most rows of a step whose tokens are picked.
const MaxSampled = MaxDecodeRows

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

// Picks are the values that those fields have in a step that picks the likeliest token
// of every wanted row, or none, and scores none: what estimates of that work go by.
func Picks(likeliest bool) map[string]int64 {
	values := map[string]int64{SampleInv: -1, SampleInto: 0, ScoredTokens: 0, ScoreInto: 0, ScoreRow: 0, ScoreToken: 0, ScoreTop: 0, Source: -1, DrawnRows: 0}
	if likeliest {
		values[SampleInv] = 0
	} else {
		values[SampledRows] = 0
	}
	for _, name := range sampleInts {
		values[name] = 0
	}
	return values
}

// sampleInts are the fields of integers that rows have.
var sampleInts = []string{SampleTopK, SampleTopP, SampleMinP, SampleRandom, SampleMask, SampleFrom, SampleTo}

// addSampling adds the arrays that sampling reads. Those as long as the vocabulary come
// last, after all else: stepblock.Filler.Used leaves out what a step has not of them.
func (s *Step) addSampling(vocab int) {
	s.Vocab, s.Sampled = vocab, min(s.MaxRows, MaxSampled)
	// As large in steps of every kind: it is one memory.
	s.Tokens = &Scratch{Name: "tokens", Bytes: ir.Const(4 * TokenSets * MaxSampled), Held: true}
	s.add(Source, kernel.I32, s.Sampled)
	s.addScoring()
	s.add(SampleInto, kernel.I32, 0)
	s.add(SampleInv, kernel.F32, s.MaxRows)
	for _, name := range sampleInts {
		s.add(name, kernel.I32, s.Sampled)
	}
	s.add(SamplePositive, kernel.F32, s.Sampled)
	s.add(SampleNegative, kernel.F32, s.Sampled)
	s.add(SampleMasks, kernel.I32, s.Sampled*pick.MaskWords(vocab))
	s.Changes = min(s.Sampled, ListedVocabularies) * vocab
	s.add(SampleTokens, kernel.I32, s.Changes)
	s.add(SampleLess, kernel.F32, s.Changes)
}
