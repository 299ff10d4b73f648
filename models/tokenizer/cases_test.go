package tokenizer

import (
	"encoding/json"
	"testing"
)

// hfCase is a small tokenizer.json made to exercise one feature, with what the
// Hugging Face library (0.23.2) gives for it. testdata/hf_cases.json was made by a
// script from random texts (fixed seed).
type hfCase struct {
	Name      string          `json:"name"`
	Tokenizer json.RawMessage `json:"tokenizer"`
	Texts     []golden        `json:"texts"`
	IDs       []struct {
		IDs     []int32 `json:"ids"`
		Decoded string  `json:"decoded"`
		Skipped string  `json:"skipped"`
	} `json:"ids"`
}

func TestFeaturesLikeHuggingFace(t *testing.T) {
	for _, c := range readJSON[[]hfCase](t, "testdata/hf_cases.json") {
		t.Run(c.Name, func(t *testing.T) {
			tok, err := Parse(c.Tokenizer, c.Name)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range c.Texts {
				checkGolden(t, tok, g)
			}
			for _, d := range c.IDs {
				checkDecode(t, tok, golden{IDs: d.IDs, Decoded: d.Decoded})
				skipped, err := tok.DecodeSkipSpecial(d.IDs)
				if err != nil || skipped != d.Skipped {
					t.Errorf("DecodeSkipSpecial(%v) = %q, %v; want %q", d.IDs, skipped, err, d.Skipped)
				}
			}
		})
	}
}
