package main

import (
	"errors"
	"fmt"

	"smelt/codegen/bundle"
	"smelt/models/deepseekv4"
	"smelt/passes"
)

// compiled is an open bundle with the checkpoint it was compiled from.
type compiled struct {
	*bundle.Bundle
	model *deepseekv4.Model
}

// openBundle reads the bundle in dir and opens its checkpoint, which must be
// the one it was compiled from. Close the model.
func openBundle(dir string) (*compiled, error) {
	b, err := bundle.Read(dir)
	if err != nil {
		return nil, err
	}
	return withCheckpoint(b)
}

func withCheckpoint(b *bundle.Bundle) (*compiled, error) {
	m, err := deepseekv4.Open(b.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint of the bundle %s does not open; put it back, or compile it from where it is (smelt compile CHECKPOINT -o %s): %w", b.Dir, b.Dir, err)
	}
	if err := b.CheckFiles(m.Checkpoint); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &compiled{b, m}, nil
}

// stages takes the bundle's model through the passes again.
func (c *compiled) stages() (*passes.Result, error) {
	return passes.Run(c.model.Graph, passes.Options{Formats: passes.Formats{Rows: c.CacheRows, Keys: c.CacheKeys}})
}

// openModel opens what a path names: a checkpoint (the bundle is nil), or a
// bundle with its checkpoint.
func openModel(path string) (*deepseekv4.Model, *bundle.Bundle, error) {
	if !bundle.IsBundle(path) {
		m, err := deepseekv4.Open(path)
		return m, nil, err
	}
	c, err := openBundle(path)
	if err != nil {
		return nil, nil, err
	}
	return c.model, c.Bundle, nil
}
