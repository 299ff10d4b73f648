package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/internal/passes/dump"
	"smelt.example/smelt/ir"
)

// judge finds out before anything is compiled that the bundle and the stages have
// places that are nobody else's. path is the checkpoint.
func (o *compileOptions) judge(path string) error {
	if err := o.judgeBundle(path); err != nil {
		return err
	}
	if o.dump == "" {
		return nil
	}
	if inFolder(o.dump, o.out) {
		return fmt.Errorf("--dump-dir %s is or lies in %s, where the bundle goes; give another folder", o.dump, o.out)
	}
	rules := o.dumpRules(path)
	if err := output.Folder(o.dump, rules); err != nil {
		return err
	}
	entries, err := os.ReadDir(o.dump)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--dump-dir: %w", err)
	}
	for _, e := range entries {
		if !stageFile.MatchString(e.Name()) {
			continue
		}
		if _, err := output.New(filepath.Join(o.dump, e.Name()), rules); err != nil {
			return err
		}
	}
	return nil
}

// inFolder reports whether a path is a folder or lies in it, going by their names.
func inFolder(path, dir string) bool {
	from, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	to, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	rest, err := filepath.Rel(from, to)
	return err == nil && filepath.IsLocal(rest)
}

// stageFile matches the names of --dump-dir's files.
var stageFile = regexp.MustCompile(`^[0-9]{2}_[a-z0-9-]+\.ir$`)

// judgeBundle refuses a folder that is or lies in a checkpoint's, lies in a bundle,
// or holds the checkpoint. A bundle itself is replaced.
func (o *compileOptions) judgeBundle(path string) error {
	there, _ := os.Stat(o.out) // nil if there is none yet
	isOther := func(dir string) bool {
		if !bundle.WasWritten(dir) {
			return false
		}
		info, err := os.Stat(dir)
		return err != nil || there == nil || !os.SameFile(info, there)
	}
	rules := output.Rules{Flag: "-o", Inputs: modelInputs(path), Kinds: []output.Kind{
		{What: "a checkpoint", Is: formats.LooksLike}, {What: "another bundle", Is: isOther},
	}}
	if err := output.Folder(o.out, rules); err != nil {
		return err
	}
	return output.Around(o.out, rules)
}

func (o *compileOptions) dumpRules(path string) output.Rules {
	return o.rules("--dump-dir", output.Stage, modelInputs(path)...)
}

// dumper writes the stages into the folder of --dump-dir.
func (o *compileOptions) dumper(ctx context.Context, path string) func(int, string, *ir.Module) error {
	rules := o.dumpRules(path)
	return dump.To(func(name string, content func(io.Writer) error) error {
		if err := os.MkdirAll(o.dump, 0o777); err != nil {
			return fmt.Errorf("--dump-dir: %w", err)
		}
		f, err := output.New(filepath.Join(o.dump, name), rules)
		if err != nil {
			return err
		}
		return write(ctx, f, func(w io.Writer) error {
			if _, err := io.WriteString(w, output.Stage.Mark()); err != nil {
				return err
			}
			return content(w)
		})
	})
}
