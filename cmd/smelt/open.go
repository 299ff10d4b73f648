package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"smelt/models/deepseekv4"
	"smelt/models/tokenizer"
)

// openTokenizer opens the tokenizer beside a model and checks that the model
// knows all its ids.
func openTokenizer(m *deepseekv4.Model) (*tokenizer.Tokenizer, error) {
	path := filepath.Join(m.Checkpoint.Dir, "tokenizer.json")
	tok, err := tokenizer.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no tokenizer.json beside the weights; copy it from where the model came from, or give token ids", m.Checkpoint.Dir)
	case err != nil:
		return nil, err
	case tok.VocabSize() > m.Config.VocabSize:
		return nil, fmt.Errorf("%s has ids up to %d, config.json says vocab_size %d; they are not of the same model", path, tok.VocabSize()-1, m.Config.VocabSize)
	}
	return tok, nil
}

// maxTextBytes bounds what is read as a prompt or a text.
const maxTextBytes = 64 << 20

// readText reads all of r, which name stands for in errors.
func readText(r io.Reader, name string) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxTextBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case len(data) > maxTextBytes:
		return "", fmt.Errorf("%s has more than %d MB of text; smelt reads no more than that", name, maxTextBytes>>20)
	}
	return string(data), nil
}

func readTextFile(flag, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	return readText(f, path)
}

// withBOS puts the model's begin-of-sentence token first unless it is there.
func withBOS(c *deepseekv4.Config, ids []int32) []int32 {
	if len(c.BOS) == 0 || len(ids) > 0 && ids[0] == c.BOS[0] {
		return ids
	}
	return append([]int32{c.BOS[0]}, ids...)
}
