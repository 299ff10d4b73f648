// Package models opens checkpoints of the architectures that smelt knows. It is
// the only package that lists them: add one by a package beside deepseekv4 and a
// row here.
package models

import (
	"slices"

	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/models/deepseekv4"
	"smelt.example/smelt/models/checkpoint"
)

// Model is an open checkpoint of a known architecture.
type Model = arch.Model

// Architectures lists what Open knows, one row each.
func Architectures() []arch.Architecture {
	return []arch.Architecture{deepseekv4.Architecture()}
}

// Options adds to what Open knows. The zero value is ready for use.
type Options struct {
	// Architectures are asked before smelt's own.
	Architectures []arch.Architecture
	// Containers are formats of weight files beside those that smelt knows.
	Containers []container.Format
}

// Open opens the checkpoint at path, a folder or a file of weights with
// config.json beside it, as the architecture that config.json names. No weight is
// read. The error is that of checkpoint.Open, an *UnknownError, or that of the
// architecture, and lists everything that is wrong.
func Open(path string, o Options) (*Model, error) {
	ck, err := checkpoint.Open(path, o.Containers...)
	if err != nil {
		return nil, err
	}
	m, err := Bind(ck, o)
	if err != nil {
		ck.Close() // the mappings are of no use; err says why
		return nil, err
	}
	return m, nil
}

// Bind finds the model of an open checkpoint. On success closing the model closes
// the checkpoint; the error is as Open's.
func Bind(ck *checkpoint.Checkpoint, o Options) (*Model, error) {
	a, err := choose(ck, slices.Concat(o.Architectures, Architectures()))
	if err != nil {
		return nil, err
	}
	return a.Bind(ck)
}
