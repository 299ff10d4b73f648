package standin

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"smelt.example/smelt/internal/codegen/msl/head"
	"smelt.example/smelt/internal/progress"
)

// Options says how to build a program.
type Options struct {
	// Sanitize adds clang's sanitizers for addresses and undefined behaviour:
	// several times slower.
	Sanitize bool
	// Unoptimized leaves clang's optimizer away: programs are built in a fifth of
	// the time and are some times slower, which pays where they run little.
	Unoptimized bool
	// SharedMemory is how many bytes a threadgroup may have; 0 for Apple's 32 KB.
	SharedMemory int
	// Begin, if not nil, is told how building goes on.
	Begin progress.Begin
}

// Program is an executable that runs kernels.
type Program struct {
	path       string
	symbolizer string // for the sanitizers' reports; may be empty
}

// Build compiles kernel files (file name to MSL text) to a program in dir,
// which it makes if missing and fills with files. The files may name their
// structs alike; kernels' names must differ. Errors hold clang's diagnostics.
func (c *Compiler) Build(dir string, files map[string]string, options Options) (*Program, error) {
	units, err := writeSources(dir, files)
	if err != nil {
		return nil, err
	}
	compile := append([]string{"-c", "-isystem", "include", "-I", "host", "-I", "."}, language...)
	compile = append(compile, optimize(options)...)
	done, end := options.Begin.Phase("compiling kernels", int64(len(units)), "files")
	defer end()
	errs := make([]error, len(units))
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, u := range units {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			args := append(slices.Clone(compile), u, "-o", u+".o")
			errs[i] = c.run(dir, "build "+strings.TrimSuffix(u, ".cpp"), args)
			done(1)
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	link := []string{"-o", "program"}
	if options.Sanitize {
		link = append(link, "-fsanitize=address,undefined")
	}
	for _, u := range units {
		link = append(link, u+".o")
	}
	if err := c.run(dir, "link", append(link, "-lm")); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(filepath.Join(dir, "program"))
	if err != nil {
		return nil, fmt.Errorf("standin: build: %w", err)
	}
	return &Program{path: path, symbolizer: c.symbolizer()}, nil
}

// writeSources fills dir and returns the translation units' paths in it, in
// order.
func writeSources(dir string, files map[string]string) ([]string, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("standin: build: no kernel files")
	}
	var units []string
	add := func(name, text string) error {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("standin: build: %w", err)
		}
		return nil
	}
	if err := unpack(dir, "cpp", "."); err != nil {
		return nil, err
	}
	defined := map[string]string{}
	for _, name := range sortedKeys(files) {
		if err := checkFileName(name); err != nil {
			return nil, err
		}
		kernels, err := head.Kernels(files[name])
		if err != nil {
			return nil, fmt.Errorf("standin: %s: %w", name, err)
		}
		for _, k := range kernels {
			if other, ok := defined[k.Name]; ok {
				return nil, fmt.Errorf("standin: build: kernel %s is in %s and in %s; names must differ", k.Name, other, name)
			}
			defined[k.Name] = name
		}
		text, err := unit(name, kernels)
		if err != nil {
			return nil, err
		}
		shared, err := shareable(name, files[name])
		if err != nil {
			return nil, err
		}
		if err := add(name, shared); err != nil {
			return nil, err
		}
		if err := add(name+".cpp", text); err != nil {
			return nil, err
		}
		units = append(units, name+".cpp")
	}
	host, err := sources.ReadDir("cpp/host")
	if err != nil {
		return nil, fmt.Errorf("standin: build: %w", err)
	}
	for _, entry := range host {
		if strings.HasSuffix(entry.Name(), ".cpp") {
			units = append(units, "host/"+entry.Name())
		}
	}
	return units, nil
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
