package models_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImports: what is not below models knows no architecture, and what an
// architecture needs knows neither it nor the table.
func TestImports(t *testing.T) {
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			_, name, _ = strings.Cut(name, "/models")
			switch {
			case name == "/deepseekv4":
				found++
				if dir != "../models" && dir != "../models/synthetic" {
					t.Errorf("%s imports %s; import models", path, i.Path.Value)
				}
			case name == "" && strings.HasSuffix(i.Path.Value, `/models"`):
				if strings.HasPrefix(dir, "../models") {
					t.Errorf("%s imports the table of models, which is above it", path)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("nothing imports deepseekv4: the test looks at the wrong files")
	}
}
