package stepblock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/runtime/sampling"
)

// choose writes how tokens are picked, or that they are not.
func (f *Filler) choose(block []byte, wanted int, choices []sampling.Choice) error {
	if choices != nil && len(choices) != wanted {
		return fmt.Errorf("choices for %d tokens, of %d wanted rows", len(choices), wanted)
	}
	if f.step.Vocab == 0 {
		if choices != nil {
			return errors.New("the bundle's module returns no logits to pick tokens from")
		}
		f.used = append(f.used, Span{0, f.Bytes()})
		return nil
	}
	if err := f.checkChoices(choices); err != nil {
		return err
	}
	f.masks = f.masks[:0]
	if choices == nil {
		for i := range wanted {
			f.putFloat(block, program.SampleInv, i, -1)
		}
	}
	f.symbols[program.SampledRows], f.symbols[program.DrawnRows], f.symbols[program.ScoredTokens] = int64(len(choices)), 0, 0
	changes := 0
	for i, c := range choices {
		if c.Inv > 0 {
			f.symbols[program.DrawnRows] = int64(len(choices))
		}
		f.putFloat(block, program.SampleInv, i, c.Inv)
		f.putInt(block, program.SampleTopK, i, c.TopK)
		f.putInt(block, program.SampleTopP, i, int32(c.TopP))
		f.putInt(block, program.SampleMinP, i, int32(c.MinP))
		f.putInt(block, program.SampleRandom, i, int32(c.Random))
		f.putInt(block, program.SampleMask, i, f.mask(block, c.Allowed))
		f.putInt(block, program.SampleFrom, i, int32(changes))
		changes = f.change(block, i, changes, c.Changes)
		f.putInt(block, program.SampleTo, i, int32(changes))
	}
	f.useLists(changes)
	return nil
}

// useLists notes what of the block a step uses: all before the masks, the masks that
// are written, and so many changes.
func (f *Filler) useLists(changes int) {
	f.used = append(f.used, Span{0, f.offsets[program.SampleMasks] + 4*len(f.masks)*pick.MaskWords(f.step.Vocab)})
	if changes == 0 {
		return
	}
	for _, field := range []string{program.SampleTokens, program.SampleLess} {
		f.used = append(f.used, Span{f.offsets[field], f.offsets[field] + 4*changes})
	}
}

// checkChoices refuses what the block has no room for. A text alone always has room:
// a vocabulary has no more tokens than the lists.
func (f *Filler) checkChoices(choices []sampling.Choice) error {
	if len(choices) > f.step.Sampled {
		return fmt.Errorf("a step that picks %d tokens; it picks %d at most", len(choices), f.step.Sampled)
	}
	changes := 0
	for _, c := range choices {
		if err := c.Check(f.step.Vocab); err != nil {
			return err
		}
		if c.Changes != nil {
			changes += len(c.Changes.Tokens)
		}
	}
	if changes > f.step.Changes {
		return fmt.Errorf("a step that changes %d logits of the texts in it; it changes %d at most", changes, f.step.Changes)
	}
	return nil
}

// mask is the place of a mask among the step's, where it is written if it is new.
func (f *Filler) mask(block []byte, m *pick.Mask) int32 {
	if i := slices.Index(f.masks, m); i >= 0 {
		return int32(i)
	}
	written := m
	if m == nil {
		written = f.all
	}
	at := f.offsets[program.SampleMasks] + len(f.masks)*len(written.Bytes())
	copy(block[at:], written.Bytes())
	f.masks = append(f.masks, m)
	return int32(len(f.masks) - 1)
}

// change writes a row's changes to the lists, from a place on, and returns the place
// after them.
func (f *Filler) change(block []byte, row, from int, c *pick.Changes) int {
	if c == nil {
		return from
	}
	f.putFloat(block, program.SamplePositive, row, c.Positive)
	f.putFloat(block, program.SampleNegative, row, c.Negative)
	// A long text has thousands, in every step.
	tokens, less := block[f.offsets[program.SampleTokens]+4*from:], block[f.offsets[program.SampleLess]+4*from:]
	for i, x := range c.Tokens {
		binary.LittleEndian.PutUint32(tokens[4*i:], uint32(x.Word()))
		binary.LittleEndian.PutUint32(less[4*i:], math.Float32bits(x.Less))
	}
	return from + len(c.Tokens)
}
