package arch

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"smelt.example/smelt/internal/hub"
	"smelt.example/smelt/models/tokenizer"
)

// ErrNoTokenizer is in Tokenizer's error where a checkpoint has none.
var ErrNoTokenizer = errors.New("there is no tokenizer.json beside the weights; copy it from where the model came from, or give token ids")

// Tokenizer opens the tokenizer beside the model's weights. The model must know all
// its ids. The error is an ErrNoTokenizer if there is none.
func (m *Model) Tokenizer() (*tokenizer.Tokenizer, error) {
	path := filepath.Join(m.Checkpoint.Dir, "tokenizer.json")
	tok, err := tokenizer.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%s: %w", m.Checkpoint.Dir, ErrNoTokenizer)
		if d, ok := hub.Of(m.Checkpoint.Dir); ok {
			err = fmt.Errorf("%w; %s gets it", err, d)
		}
		return nil, err
	case err != nil:
		return nil, err
	case tok.VocabSize() > m.VocabSize:
		return nil, fmt.Errorf("%s has ids up to %d, config.json says vocab_size %d; they are not of the same model", path, tok.VocabSize()-1, m.VocabSize)
	}
	return tok, nil
}

// WithBOS puts the model's begin-of-text token before ids unless it is there, or
// the model has none.
func (f *Facts) WithBOS(ids []int32) []int32 {
	if len(f.BOS) == 0 || len(ids) > 0 && ids[0] == f.BOS[0] {
		return ids
	}
	return append([]int32{f.BOS[0]}, ids...)
}
