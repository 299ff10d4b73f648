package tokenizer

import (
	"fmt"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// parse builds a Tokenizer; its errors do not name the file.
func parse(data []byte) (*Tokenizer, error) {
	if len(data) > maxFileBytes {
		return nil, refuse("file has %d bytes, more than the %d accepted", len(data), maxFileBytes)
	}
	var f fileJSON
	if err := decodeFile(data, &f); err != nil {
		return nil, fmt.Errorf("not a readable tokenizer.json: %w", err)
	}
	if err := checkUnsupported(&f); err != nil {
		return nil, err
	}
	if f.model == nil {
		return nil, refuse("model is missing; expected a BPE model")
	}
	t := &Tokenizer{addedIDs: map[string]int32{}, special: map[int32]bool{}}
	if err := t.addPreTokenizers(f.preTokenizer); err != nil {
		return nil, err
	}
	var err error
	if t.decoding, err = parseDecoder(f.decoder); err != nil {
		return nil, err
	}
	if t.bpe, err = buildModel(f.model, t.byteLevel); err != nil {
		return nil, err
	}
	t.tokens = f.model.vocab.tokens
	if err := t.addTokens(f.addedTokens); err != nil {
		return nil, err
	}
	t.encoders.New = func() any { return newEncoder(t) }
	return t, nil
}

// buildModel checks the model and resolves its merges.
func buildModel(m *modelJSON, byteLevel bool) (*bpe, error) {
	if err := checkModel(m); err != nil {
		return nil, err
	}
	b := &bpe{
		ids:          m.vocab.ids,
		unk:          noID,
		fuseUnk:      m.fuseUnk,
		byteFallback: m.byteFallback,
		ignoreMerges: m.ignoreMerges,
	}
	if m.unkToken != nil {
		id, ok := b.ids[*m.unkToken]
		if !ok {
			return nil, refuse("model.unk_token %.80q is not in model.vocab", *m.unkToken)
		}
		b.unk = id
	}
	for i := range b.fallback {
		b.fallback[i] = noID
		if id, ok := b.ids[fmt.Sprintf("<0x%02X>", i)]; ok {
			b.fallback[i] = id
		}
	}
	if byteLevel {
		for i, char := range alphabetChars {
			b.bytes[i] = b.symbol(string(char))
		}
	}
	return b, b.addMerges(m.merges)
}

func checkModel(m *modelJSON) error {
	switch {
	case m.typ == "":
		return refuse("model.type is missing; expected \"BPE\"")
	case m.dropout != nil && *m.dropout != 0:
		return refuse("model.dropout is %g; only null and 0 are supported (dropout makes encoding random)", *m.dropout)
	case m.prefix != nil && *m.prefix != "":
		return refuse("model.continuing_subword_prefix is %.40q; only null is supported", *m.prefix)
	case m.suffix != nil && *m.suffix != "":
		return refuse("model.end_of_word_suffix is %.40q; only null is supported", *m.suffix)
	case len(m.vocab.ids) == 0:
		return refuse("model.vocab is missing or empty")
	case m.merges == nil:
		return refuse("model.merges is missing; expected an array")
	}
	return nil
}

func (b *bpe) addMerges(merges mergeList) error {
	b.ranks = make(map[uint64]uint32, len(merges))
	b.merged = make([]int32, len(merges))
	var joined []byte
	for rank, m := range merges {
		left, ok := b.ids[m.left]
		if !ok {
			return refuse("model.merges[%d] names token %.80q, which is not in model.vocab", rank, m.left)
		}
		right, ok := b.ids[m.right]
		if !ok {
			return refuse("model.merges[%d] names token %.80q, which is not in model.vocab", rank, m.right)
		}
		joined = append(append(joined[:0], m.left...), m.right...)
		id, ok := b.ids[string(joined)]
		if !ok {
			return refuse("model.merges[%d] joins %.80q and %.80q to %.80q, which is not in model.vocab", rank, m.left, m.right, joined)
		}
		key := pairKey(left, right)
		if other, ok := b.ranks[key]; ok {
			return refuse("model.merges[%d] repeats model.merges[%d] (%.80q, %.80q)", rank, other, m.left, m.right)
		}
		b.ranks[key] = uint32(rank)
		b.merged[rank] = id
	}
	return nil
}

// addTokens adds added_tokens. The Hugging Face library ignores an added token's
// id and numbers the tokens itself; a file whose ids differ from that numbering
// means two things at once and is refused.
func (t *Tokenizer) addTokens(raw jsontext.Value) error {
	var tokens []addedJSON
	if !isNull(raw) {
		if err := decodeJSON(raw, "added_tokens", &tokens); err != nil {
			return err
		}
	}
	if len(tokens) > maxAddedTokens {
		return refuse("added_tokens has %d entries, more than the %d accepted", len(tokens), maxAddedTokens)
	}
	for i := range t.added {
		t.added[i] = newAddedMatcher()
	}
	next := int32(len(t.bpe.ids))
	for i, token := range tokens {
		if err := checkAdded(i, token); err != nil {
			return err
		}
		if _, ok := t.addedIDs[token.Content]; ok {
			return refuse("added_tokens[%d] %.80q is listed twice", i, token.Content)
		}
		id, known := t.bpe.ids[token.Content]
		if !known {
			id = next
		}
		if *token.ID != id {
			return refuse("added_tokens[%d] %.80q has id %d; expected %d (its id in model.vocab, else ids that count on from the last)", i, token.Content, *token.ID, id)
		}
		if !known {
			if err := t.addID(i, token.Content, id); err != nil {
				return err
			}
		}
		next = max(next, id+1)
		t.addedIDs[token.Content] = id
		if token.Special {
			t.special[id] = true
		}
		t.added[phase(token)].add(token.Content, addedToken{id, token.SingleWord, token.LStrip, token.RStrip})
	}
	return nil
}

// phase is when an added token is looked for: those not normalized before those
// normalized. Without a normalizer that is the only difference.
func phase(token addedJSON) int {
	if token.Normalized {
		return 1
	}
	return 0
}

func checkAdded(i int, token addedJSON) error {
	if err := checkTokenText("added_tokens", token.Content); err != nil {
		return err
	}
	if len(token.Content) > maxAddedBytes {
		return refuse("added_tokens[%d] %.40q... has %d bytes, more than the %d accepted", i, token.Content, len(token.Content), maxAddedBytes)
	}
	if token.ID == nil {
		return refuse("added_tokens[%d] %.80q has no id", i, token.Content)
	}
	for _, r := range token.Content {
		if !unicode.IsSpace(r) {
			return nil
		}
	}
	if token.LStrip || token.RStrip {
		return refuse("added_tokens[%d] %.80q is white space with lstrip or rstrip; such a token is not supported", i, token.Content)
	}
	return nil
}

func (t *Tokenizer) addID(i int, content string, id int32) error {
	if id >= maxVocabulary {
		return refuse("added_tokens[%d] %.80q has id %d; expected an integer from 0 to %d", i, content, id, maxVocabulary-1)
	}
	for int(id) >= len(t.tokens) {
		t.tokens = append(t.tokens, "")
	}
	if other := t.tokens[id]; other != "" {
		return refuse("added_tokens[%d] %.80q and token %.80q both have id %d; every id may be used once", i, content, other, id)
	}
	t.tokens[id] = content
	return nil
}
