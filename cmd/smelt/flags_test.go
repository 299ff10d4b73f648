package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smelt.example/smelt/internal/codegen/msl/cuda"
	"smelt.example/smelt/internal/option"
)

// TestFlagNames: every option that the libraries name has a flag of some command,
// and no text of theirs names a flag itself.
func TestFlagNames(t *testing.T) {
	flags := map[string]bool{}
	var collect func(c *cobra.Command)
	collect = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(newRoot(stdio{}))
	for name, flag := range flagNames {
		if !flags[flag] {
			t.Errorf("%s is said to be %s, which no command has", name, flag)
		}
	}
	// Arguments of other programs, and the mark of a file.
	other := map[string]bool{"--version": true, " --revision ": true, " --cache-dir ": true, "# smelt compile --dump-dir: a stage of the passes\n": true}
	for _, o := range cuda.Options(90) { // NVRTC's
		other[o] = true
	}
	other["--gpu-architecture=sm_%d"] = true
	named := 0
	flag := regexp.MustCompile(`(^|[\s(\[])--[a-z%]`)
	libraryFiles(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Name" && len(n.Args) == 1 && isNamed(f.X, "option") {
					named++
					if l, ok := n.Args[0].(*ast.BasicLit); !ok || flagNames[option.Name(unquoted(l))] == "" {
						t.Errorf("%s names an option that has no flag", path)
					}
				}
			case *ast.BasicLit:
				if text := unquoted(n); n.Kind == token.STRING && !other[text] && flag.MatchString(text) {
					t.Errorf("%s names a flag: %q", path, text)
				}
			}
			return true
		})
	})
	if named < 20 {
		t.Errorf("only %d names of options found in the libraries", named)
	}
}

func isNamed(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

func unquoted(l *ast.BasicLit) string {
	text, err := strconv.Unquote(l.Value)
	if err != nil {
		return l.Value
	}
	return text
}

// libraryFiles calls f with the files of the repository's packages but commands
// and examples, without their tests.
func libraryFiles(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	// Programs, and what starts browsers.
	others := map[string]bool{}
	for _, dir := range []string{"cmd", "examples", "internal/server/load", "internal/browsertest"} {
		others[filepath.Join(root, dir)] = true
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (others[path] || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".git")):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			f(path, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
