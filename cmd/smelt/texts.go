package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/models/tokenizer"
)

// Texts and token lists are read once and in order, so that they may come from
// pipes, FIFOs and terminals, unlike a model's files. Ctrl-C ends a wait for them.

// maxTextBytes bounds what is read as a prompt or a text.
const maxTextBytes = 64 << 20

// readText reads all of r, which name stands for in errors, and gives up when ctx
// ends: errInterrupted.
func readText(ctx context.Context, r io.Reader, name string) (string, error) {
	return waitFor(ctx, func() (string, error) { return readAll(r, name) })
}

// readTextFile reads what a flag names.
func readTextFile(ctx context.Context, flag, path string) (string, error) {
	return waitFor(ctx, func() (string, error) {
		// Opening a FIFO waits too, for somebody who writes.
		f, err := openText(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		defer f.Close() // only read
		return readAll(f, path)
	})
}

// readTokenizer opens a tokenizer, which takes a while for a large vocabulary.
func readTokenizer(io stdio, open func() (*tokenizer.Tokenizer, error)) (*tokenizer.Tokenizer, error) {
	defer io.wait("reading the tokenizer")()
	return open()
}

// openText opens whatever a text can be read from.
func openText(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && (info.IsDir() || info.Mode()&os.ModeSocket != 0) {
		return nil, fmt.Errorf("%s is %s; expected a file or a pipe with text", path, regular.Kind(info.Mode()))
	}
	return os.Open(path)
}

func readAll(r io.Reader, name string) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxTextBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case len(data) > maxTextBytes:
		return "", fmt.Errorf("%s has more than %d MB of text; smelt reads no more than that", name, maxTextBytes>>20)
	}
	return string(data), nil
}

// waitFor returns what read does, unless ctx ends first. What read still waits for
// then ends with the process.
func waitFor(ctx context.Context, read func() (string, error)) (string, error) {
	var text string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, err = read()
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case <-done:
		return text, err
	}
}
