package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"smelt/models"
	"smelt/models/tokenizer"
)

// openTokenizer opens the tokenizer beside a model and checks that the model
// knows all its ids.
func openTokenizer(m *models.Model) (*tokenizer.Tokenizer, error) {
	path := filepath.Join(m.Checkpoint.Dir, "tokenizer.json")
	tok, err := tokenizer.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no tokenizer.json beside the weights; copy it from where the model came from, or give token ids", m.Checkpoint.Dir)
	case err != nil:
		return nil, err
	case tok.VocabSize() > m.VocabSize:
		return nil, fmt.Errorf("%s has ids up to %d, config.json says vocab_size %d; they are not of the same model", path, tok.VocabSize()-1, m.VocabSize)
	}
	return tok, nil
}

// withBOS puts the model's begin-of-sentence token first unless it is there.
func withBOS(m *models.Model, ids []int32) []int32 {
	if len(m.BOS) == 0 || len(ids) > 0 && ids[0] == m.BOS[0] {
		return ids
	}
	return append([]int32{m.BOS[0]}, ids...)
}
