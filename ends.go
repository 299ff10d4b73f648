package smelt

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/strictjson"
)

// stopSet is the tokens that end a text.
type stopSet struct {
	tokens []int32 // ascending, each once
	notes  []string
}

const (
	tokenizerConfigName = "tokenizer_config.json"
	maxTokenizerConfig  = 64 << 20 // it may hold all added tokens, and templates
)

// readEnds joins the end tokens of the checkpoint's files.
func (f *Files) readEnds() (s stopSet, err error) {
	h, err := f.hints()
	if err != nil {
		return s, err
	}
	if err := h.wrong(func(n option.Name) bool { return n == "" }); err != nil {
		return s, err
	}
	s.tokens = slices.Clone(f.Model.EOS)
	for _, id := range h.eos {
		switch {
		case id >= 0 && int(id) < f.Model.VocabSize:
			s.tokens = append(s.tokens, id)
		case id >= 0: // -1 is a way to say none
			s.notes = append(s.notes, fmt.Sprintf("%s: eos_token_id %d is no token of the model's %d; it ends no text", h.path, id, f.Model.VocabSize))
		}
	}
	if err := f.addNamedEnds(&s); err != nil {
		return stopSet{}, err
	}
	slices.Sort(s.tokens)
	s.tokens = slices.Compact(s.tokens)
	return s, nil
}

// addNamedEnds adds the tokens that tokenizer_config.json names by their text. Without
// a tokenizer nobody knows which they are.
func (f *Files) addNamedEnds(s *stopSet) error {
	path := filepath.Join(f.Model.Checkpoint.Dir, tokenizerConfigName)
	data, err := readBeside(path, maxTokenizerConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := namedEnds(data)
	if err != nil {
		return fmt.Errorf("%s: %w; correct or remove the file", path, err)
	}
	tok, err := f.Tokenizer()
	if errors.Is(err, ErrNoTokenizer) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := tok.TokenID(name); ok {
			s.tokens = append(s.tokens, id)
		} else {
			s.notes = append(s.notes, fmt.Sprintf("%s: eos_token is %s, which the tokenizer does not have; it ends no text", path, message.Quote(name)))
		}
	}
	return nil
}

// namedEnds reads eos_token: a text, a list of texts, or an object with the text as its
// content.
func namedEnds(data []byte) (names []string, err error) {
	const key = "eos_token"
	var out strictjson.Findings
	top := strictjson.ParseObject(data, &out)
	switch {
	case top == nil:
	case top.Kind(key) == jsontext.KindBeginObject:
		if token := top.Object(key); token != nil {
			names = token.Texts("content")
		}
	default:
		names = top.Texts(key)
	}
	if list := out.List(); len(list) > 0 {
		return nil, errors.New(strings.Join(list[:min(len(list), 10)], "; "))
	}
	return names, nil
}

// readAllowed is the mask of the tokens that the tokenizer has, and of those that end
// a text. Rows of the vocabulary without a token mean nothing: models pad theirs to
// sizes that suit them. nil allows all, and so does a checkpoint without a tokenizer.
func (f *Files) readAllowed() (*pick.Mask, error) {
	tok, err := f.Tokenizer()
	if errors.Is(err, ErrNoTokenizer) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ends, err := f.Stop()
	if err != nil {
		return nil, err
	}
	mask, all := pick.NewMask(f.Model.VocabSize), true
	for id := range int32(f.Model.VocabSize) {
		if _, ok := tok.Token(id); ok || slices.Contains(ends, id) {
			mask.Allow(id)
		} else {
			all = false
		}
	}
	if all {
		return nil, nil
	}
	return mask, nil
}
