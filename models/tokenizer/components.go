package tokenizer

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// isNull reports whether a raw member is absent or null.
func isNull(raw jsontext.Value) bool { return len(raw) == 0 || raw.Kind() == 'n' }

// componentType reads the "type" of a tagged component.
func componentType(raw jsontext.Value, where string) (string, error) {
	if raw.Kind() != '{' {
		return "", refuse("%s is a JSON %s; expected an object with a \"type\"", where, kindName(raw.Kind()))
	}
	var tag struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &tag); err != nil {
		return "", explain(where, err)
	}
	if tag.Type == "" {
		return "", refuse("%s has no \"type\"", where)
	}
	return tag.Type, nil
}

// flatten calls each for every component of a tree of Sequences, in order.
// member names the list inside a Sequence, which differs between component kinds.
func flatten(raw jsontext.Value, where, member string, depth int, each func(typ string, raw jsontext.Value) error) error {
	typ, err := componentType(raw, where)
	if err != nil {
		return err
	}
	if typ != "Sequence" {
		return each(typ, raw)
	}
	if depth == maxComponentDepth {
		return refuse("%s: Sequences are nested more than %d deep", where, maxComponentDepth)
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil {
		return explain(where, err)
	}
	list, ok := members[member]
	if !ok || list.Kind() != '[' || len(members) != 2 {
		return refuse("%s: Sequence must have exactly the members \"type\" and %q (an array)", where, member)
	}
	var parts []jsontext.Value
	if err := json.Unmarshal(list, &parts); err != nil {
		return explain(where+"."+member, err)
	}
	for _, part := range parts {
		if err := flatten(part, where, member, depth+1, each); err != nil {
			return err
		}
	}
	return nil
}

// checkUnsupported refuses the parts of a file that would change the ids or the
// text and that this package does not have. post_processor passes: it adds
// special tokens (only on request in the Hugging Face library, never here) and
// moves offsets, which this package does not report.
func checkUnsupported(f *fileJSON) error {
	if f.version != "" && f.version != "1.0" {
		return refuse("version is %.80q; only \"1.0\" is supported", f.version)
	}
	if !isNull(f.truncation) {
		return refuse("truncation is set; only null is supported (cut the ids after encoding)")
	}
	if !isNull(f.padding) {
		return refuse("padding is set; only null is supported (pad the ids after encoding)")
	}
	if !isNull(f.normalizer) {
		err := flatten(f.normalizer, "normalizer", "normalizers", 0, func(typ string, _ jsontext.Value) error {
			return refuse("normalizer type %.80q is not supported; only null and an empty Sequence are", typ)
		})
		if err != nil {
			return err
		}
	}
	if !isNull(f.postProcessor) {
		return flatten(f.postProcessor, "post_processor", "processors", 0, func(typ string, _ jsontext.Value) error {
			switch typ {
			case "ByteLevel", "TemplateProcessing", "BertProcessing", "RobertaProcessing":
				return nil
			}
			return refuse("post_processor type %.80q is not known", typ)
		})
	}
	return nil
}

// addPreTokenizers turns pre_tokenizer into the tokenizer's split stages.
func (t *Tokenizer) addPreTokenizers(raw jsontext.Value) error {
	if isNull(raw) {
		return nil
	}
	return flatten(raw, "pre_tokenizer", "pretokenizers", 0, func(typ string, raw jsontext.Value) error {
		if t.byteLevel {
			return refuse("pre_tokenizer %.80q comes after ByteLevel; ByteLevel must be the last", typ)
		}
		if len(t.splits) == maxPretokenizers {
			return refuse("pre_tokenizer has more than the %d parts accepted", maxPretokenizers)
		}
		switch typ {
		case "Split":
			return t.addSplit(raw)
		case "Digits":
			return t.addDigits(raw)
		case "ByteLevel":
			return t.addByteLevel(raw)
		}
		return refuse("pre_tokenizer type %.80q is not supported; Sequence, Split, Digits and ByteLevel are", typ)
	})
}

func (t *Tokenizer) addSplit(raw jsontext.Value) error {
	var split struct {
		Type    string `json:"type"`
		Pattern struct {
			Regex  *string `json:"Regex"`
			String *string `json:"String"`
		} `json:"pattern"`
		Behavior string `json:"behavior"`
		Invert   bool   `json:"invert"`
	}
	if err := decodeJSON(raw, "pre_tokenizer Split", &split); err != nil {
		return err
	}
	stage := splitStage{invert: split.Invert}
	var ok bool
	if stage.merge, ok = behaviors[split.Behavior]; !ok {
		return refuse("pre_tokenizer Split: behavior is %.80q; expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", split.Behavior)
	}
	pattern := split.Pattern
	switch {
	case pattern.Regex != nil && pattern.String == nil:
		re, err := compilePattern(*pattern.Regex)
		if err != nil {
			return err
		}
		stage.find = re
	case pattern.String != nil && pattern.Regex == nil:
		if *pattern.String == "" || len(*pattern.String) > maxLiteralBytes {
			return refuse("pre_tokenizer Split: String pattern has %d bytes; expected 1 to %d", len(*pattern.String), maxLiteralBytes)
		}
		stage.find = literal([]rune(*pattern.String))
	default:
		return refuse("pre_tokenizer Split: pattern must have exactly one of the members Regex and String")
	}
	t.splits = append(t.splits, stage)
	return nil
}

func (t *Tokenizer) addDigits(raw jsontext.Value) error {
	var digits struct {
		Type       string `json:"type"`
		Individual *bool  `json:"individual_digits"`
	}
	if err := decodeJSON(raw, "pre_tokenizer Digits", &digits); err != nil {
		return err
	}
	if digits.Individual == nil {
		return refuse("pre_tokenizer Digits: individual_digits is missing; expected true or false")
	}
	re, err := compilePattern(`\p{N}`)
	if err != nil {
		return err
	}
	stage := splitStage{find: re, merge: mergeContiguous}
	if *digits.Individual {
		stage.merge = mergeIsolated
	}
	t.splits = append(t.splits, stage)
	return nil
}

// gpt2Pattern is the split of GPT-2's published encoder, which ByteLevel applies
// when use_regex is true.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (t *Tokenizer) addByteLevel(raw jsontext.Value) error {
	var level struct {
		Type        string `json:"type"`
		PrefixSpace *bool  `json:"add_prefix_space"`
		TrimOffsets bool   `json:"trim_offsets"` // offsets are not reported
		UseRegex    *bool  `json:"use_regex"`
	}
	if err := decodeJSON(raw, "pre_tokenizer ByteLevel", &level); err != nil {
		return err
	}
	if level.PrefixSpace == nil {
		return refuse("pre_tokenizer ByteLevel: add_prefix_space is missing; expected true or false")
	}
	t.byteLevel = true
	t.prefixSpace = *level.PrefixSpace
	if level.UseRegex != nil && !*level.UseRegex {
		return nil
	}
	re, err := compilePattern(gpt2Pattern)
	if err != nil {
		return err
	}
	t.gpt2Split = &splitStage{find: re, merge: mergeIsolated}
	return nil
}

// decoding says how token texts become bytes.
type decoding int

const (
	decodePlain        decoding = iota // token texts are joined
	decodeByteLevel                    // byte-level alphabet back to bytes
	decodeByteFallback                 // <0xNN> tokens are bytes
)

// parseDecoder reads the decoder member.
func parseDecoder(raw jsontext.Value) (decoding, error) {
	if isNull(raw) {
		return 0, refuse("decoder is null, which joins tokens with spaces; expected ByteLevel, ByteFallback, Fuse or a Sequence of these")
	}
	mode, parts := decodePlain, 0
	err := flatten(raw, "decoder", "decoders", 0, func(typ string, _ jsontext.Value) error {
		parts++
		switch {
		case typ == "Fuse":
			return nil
		case typ == "ByteLevel" && parts == 1:
			mode = decodeByteLevel
			return nil
		case typ == "ByteFallback" && parts == 1:
			mode = decodeByteFallback
			return nil
		case typ == "ByteLevel" || typ == "ByteFallback":
			return refuse("decoder %.80q is not the first of its Sequence; only Fuse may stand beside it, after it", typ)
		}
		return refuse("decoder type %.80q is not supported; ByteLevel, ByteFallback, Fuse and a Sequence of these are", typ)
	})
	if err == nil && parts == 0 {
		err = refuse("decoder is an empty Sequence; expected ByteLevel, ByteFallback or Fuse in it")
	}
	return mode, err
}
