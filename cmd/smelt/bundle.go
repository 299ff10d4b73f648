package main

import (
	"errors"
	"fmt"
	"path/filepath"

	lib "smelt.example/smelt"
	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// compiled is an open bundle with the checkpoint it was compiled from.
type compiled struct {
	*bundle.Bundle
	model *models.Model
}

// openBundle reads the bundle in dir and opens its checkpoint, which must be
// the one it was compiled from. Close the model. Files that were modified since
// then are noted on standard error.
func openBundle(io stdio, dir string) (*compiled, error) {
	b, err := readBundle(io, dir)
	if err != nil {
		return nil, err
	}
	c, err := withCheckpoint(io, b)
	if err == nil {
		noteOddities(io, c.model)
		noteModified(io, c)
	}
	return c, err
}

// noteOddities says on standard error what is odd about a checkpoint and accepted, in
// the words of smelt inspect. Of files beside it only inspect tells.
func noteOddities(io stdio, m *models.Model) {
	for _, n := range joined(m.Notes, m.Binding.Notes[len(m.Checkpoint.Notes):]) {
		fmt.Fprintf(io.err, "note: %s\n", n)
	}
}

// readBundle reads the bundle in dir. What is done with it tells of its phases.
func readBundle(io stdio, dir string) (*bundle.Bundle, error) {
	defer io.wait("opening the bundle")()
	b, err := bundle.Read(dir)
	if err == nil {
		b.Begin = io.phases()
	}
	return b, err
}

// openCheckpoint opens the checkpoint at path.
func openCheckpoint(io stdio, path string) (*models.Model, error) {
	defer io.wait("opening the checkpoint")()
	return models.Open(path, models.Options{})
}

func withCheckpoint(io stdio, b *bundle.Bundle) (*compiled, error) {
	defer io.wait("opening the checkpoint")()
	f, err := lib.OpenBundle(b)
	if err != nil {
		return nil, compiling(err)
	}
	return &compiled{b, f.Model}, nil
}

// noteModified says which files of weights have another time of modification than
// when the bundle was compiled.
func noteModified(io stdio, c *compiled) {
	names, err := c.Modified(c.model.Checkpoint)
	if err != nil {
		fmt.Fprintf(io.err, "note: %v\n", err)
		return
	}
	if len(names) == 0 {
		return
	}
	others := ""
	if n := len(names) - 1; n > 0 {
		others = fmt.Sprintf(" and %s", plural(n, "other file"))
	}
	hint := "smelt verify --hash " + c.Dir + " compares the weights"
	if _, err := c.RecordedHashes(); err != nil {
		hint = "whether the weights did cannot be told, as it was compiled without --hash"
	}
	fmt.Fprintf(io.err, "note: %s%s changed since %s was compiled (time of modification; sizes and headers are the same): %s\n",
		filepath.Join(c.Checkpoint, names[0]), others, c.Dir, hint)
}

// stages takes the bundle's model through the passes again.
func (c *compiled) stages() (*passes.Result, error) {
	return passes.Run(c.model.Graph, passes.Options{Formats: passes.Formats{Rows: c.CacheRows, Keys: c.CacheKeys}, Begin: c.Begin})
}

// openModel opens what a path names: a checkpoint (the bundle is nil), or a
// bundle with its checkpoint.
func openModel(io stdio, path string) (*models.Model, *bundle.Bundle, error) {
	f, err := openFiles(io, path)
	if err != nil {
		return nil, nil, err
	}
	return f.Model, f.Bundle, nil
}

// openFiles opens a checkpoint or a bundle. Files that were modified since a bundle
// was compiled are noted on standard error.
func openFiles(io stdio, path string) (*lib.Files, error) {
	f, err := func() (*lib.Files, error) {
		defer io.wait("opening the model")()
		return lib.OpenFiles(path)
	}()
	if err != nil {
		return nil, compiling(err)
	}
	noteOddities(io, f.Model)
	if f.Bundle != nil {
		f.Bundle.Begin = io.phases()
		noteModified(io, &compiled{f.Bundle, f.Model})
	}
	return f, nil
}

// compiling adds how a bundle whose checkpoint is gone is compiled again.
func compiling(err error) error {
	var gone *lib.CheckpointError
	if !errors.As(err, &gone) {
		return err
	}
	return fmt.Errorf("the checkpoint of the bundle %s does not open; put it back, or compile it from where it is (smelt compile CHECKPOINT -o %s): %w", gone.Bundle, gone.Bundle, gone.Err)
}
