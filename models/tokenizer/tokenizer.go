// Package tokenizer reads a Hugging Face tokenizer.json that holds a byte-level
// BPE model and turns text into token ids and back, giving the ids and the text
// that the Hugging Face tokenizers library (0.23) gives for the same file.
//
// What the package cannot reproduce exactly it refuses when the file is opened,
// by the name of the part in question.
package tokenizer

import (
	"fmt"
	"sync"

	"smelt.example/smelt/internal/imposter"
)

// Limits on what is read from outside. Real files stay far below them (the
// largest published vocabularies have about 260,000 entries in 35 MB).
const (
	maxFileBytes      = 256 << 20
	maxVocabulary     = 4 << 20
	maxMerges         = 8 << 20
	maxTokenBytes     = 64 << 10
	maxAddedTokens    = 64 << 10
	maxAddedBytes     = 1 << 10 // bounds the work at each byte of a text
	maxLiteralBytes   = 1 << 10 // likewise, for a Split's String pattern
	maxPatternBytes   = 16 << 10
	maxPretokenizers  = 64
	maxComponentDepth = 16
	maxTextBytes      = 64 << 20
)

// Tokenizer holds one tokenizer.json. It is immutable and safe for use by
// several goroutines at once.
type Tokenizer struct {
	name string

	tokens   []string         // id -> token text, "" where no token has the id
	addedIDs map[string]int32 // added token text -> id
	special  map[int32]bool   // ids of added tokens marked special

	bpe         *bpe
	splits      []splitStage
	byteLevel   bool        // the text is spelled in the byte-level alphabet before BPE
	prefixSpace bool        // ByteLevel.add_prefix_space
	gpt2Split   *splitStage // ByteLevel.use_regex: nil when false
	added       [2]*addedMatcher
	decoding    decoding

	encoders sync.Pool // of *encoder: scratch space and word cache
}

// Open reads the tokenizer.json at path. An error names path, what was expected
// and what was found.
func Open(path string) (*Tokenizer, error) {
	data, err := imposter.Read(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return Parse(data, path)
}

// Parse reads the content of a tokenizer.json. name stands for the file in
// errors. data is not kept.
func Parse(data []byte, name string) (*Tokenizer, error) {
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
	}
	t.name = name
	return t, nil
}

// VocabSize is one more than the highest token id, added tokens included: every
// id that Encode returns lies in [0, VocabSize). A model's embedding may have
// more rows.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// TokenID returns the id of the token that the file spells text: an added
// token's plain text, or a vocabulary entry in the byte-level alphabet
// ("Ġthe" for " the").
func (t *Tokenizer) TokenID(text string) (int32, bool) {
	if id, ok := t.addedIDs[text]; ok {
		return id, true
	}
	id, ok := t.bpe.ids[text]
	return id, ok
}

// Token returns the spelling of a token in the file, the inverse of TokenID.
func (t *Tokenizer) Token(id int32) (string, bool) {
	if id < 0 || int(id) >= len(t.tokens) || t.tokens[id] == "" {
		return "", false
	}
	return t.tokens[id], true
}

// IsSpecial reports whether id is an added token that the file marks special.
// An added token need not be special: DeepSeek-V3 marks <｜User｜> as not special.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.special[id] }
