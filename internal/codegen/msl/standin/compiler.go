package standin

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// sources are the stand-in for <metal_stdlib> (cpp/include) and the program
// that runs kernels (cpp/host).
//
//go:embed cpp
var sources embed.FS

// oldest is the first version of clang that serves: it has arithmetic of
// _Float16 and __bf16 and elementwise functions of vectors.
const oldest = 19

// newest is the last version looked for by a name with its number.
const newest = 29

// diagnosticsLimit is how many bytes of clang's output an error holds.
const diagnosticsLimit = 16 << 10

// Compiler is a clang that checks and builds kernels.
type Compiler struct {
	path    string // of clang++
	version int    // major
}

// Find looks on PATH for clang 19 or newer, as clang++-19 to clang++-29 and
// clang++. Its error says what to install.
func Find() (*Compiler, error) {
	var names []string
	for v := oldest; v <= newest; v++ {
		names = append(names, "clang++-"+strconv.Itoa(v))
	}
	for _, name := range append(names, "clang++") {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "--version").Output()
		if err != nil {
			continue
		}
		if v := clangVersion(string(out)); v >= oldest {
			return &Compiler{path: path, version: v}, nil
		}
	}
	return nil, fmt.Errorf("standin: no clang %d or newer on PATH (clang++-%d to clang++-%d, clang++): "+
		"install LLVM's clang with its sanitizer libraries, on Debian and Ubuntu clang-%d and libclang-rt-%[1]d-dev", oldest, oldest, newest, oldest)
}

var versionText = regexp.MustCompile(`(?m)^(.*)clang version (\d+)`)

// clangVersion is the major version in the output of --version, 0 for another
// compiler. Apple counts its versions differently.
func clangVersion(out string) int {
	m := versionText.FindStringSubmatch(out)
	if m == nil || strings.Contains(m[1], "Apple") {
		return 0
	}
	v, _ := strconv.Atoi(m[2])
	return v
}

// String names the compiler and its version.
func (c *Compiler) String() string {
	return fmt.Sprintf("clang %d (%s)", c.version, c.path)
}

// warnings are errors in a check, but for what is Metal's: attributes, pragmas.
// Unused variables are no error of a kernel. Conversions must be written out;
// that finds literals of double, which MSL does not have, too.
var warnings = []string{
	"-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Wconditional-uninitialized",
	"-Wno-unknown-attributes", "-Wno-unknown-pragmas", "-Wno-ignored-pragmas", "-Wno-unused",
}

// language has the options of all translation units.
var language = []string{"-x", "c++", "-std=c++17"}

// Check compiles a kernel file, as MSL text, with real address spaces and
// without running it. name is the file's name in the diagnostics, which the
// error holds. Warnings are errors.
func (c *Compiler) Check(name, source string) error {
	if err := checkFileName(name); err != nil {
		return err
	}
	text, err := shareable(name, source)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "smelt-standin-")
	if err != nil {
		return fmt.Errorf("standin: check %s: %w", name, err)
	}
	defer os.RemoveAll(dir)
	if err := unpack(dir, "cpp/include", "include"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		return fmt.Errorf("standin: check %s: %w", name, err)
	}
	args := append([]string{"-fsyntax-only", "-DSTANDIN_CHECK", "-isystem", "include"}, language...)
	return c.run(dir, "check "+name, append(append(args, warnings...), name))
}

// run calls clang in a directory. The error holds what clang says.
func (c *Compiler) run(dir, what string, args []string) error {
	cmd := exec.Command(c.path, append([]string{"-fno-color-diagnostics"}, args...)...)
	cmd.Dir = dir
	out := &limited{limit: diagnosticsLimit}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && out.Len() > 0 {
			return fmt.Errorf("standin: %s:\n%s", what, strings.TrimRight(out.String(), "\n"))
		}
		return fmt.Errorf("standin: %s: %w", what, err)
	}
	return nil
}

// tool is the path of a program that belongs to this clang, "" if it is not there.
func (c *Compiler) tool(name string) string {
	out, err := exec.Command(c.path, "-print-prog-name="+name).Output()
	if path := strings.TrimSpace(string(out)); err == nil && filepath.IsAbs(path) {
		return path
	}
	return ""
}

// symbolizer is the path of the program by which sanitizers find the names of
// functions and the lines of a report: this clang's own, or another on PATH, or
// binutils' addr2line, which brings no columns. It is "" if there is none.
func (c *Compiler) symbolizer() string {
	if path := c.tool("llvm-symbolizer"); path != "" {
		return path
	}
	for _, name := range []string{"llvm-symbolizer-" + strconv.Itoa(c.version), "llvm-symbolizer", "addr2line"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// optimize are the options of a program's translation units: as the kernel's
// text says, without fast math or contraction, and half rounded every time.
func optimize(o Options) []string {
	level := "-O1"
	if o.Unoptimized {
		level = "-O0"
	}
	options := []string{
		level, "-g1", "-w", "-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-fno-exceptions", "-fno-rtti",
		"-fno-strict-aliasing", "-fno-threadsafe-statics", "-ftrivial-auto-var-init=pattern",
	}
	if o.SharedMemory > 0 {
		options = append(options, fmt.Sprintf("-DSTANDIN_SHARED_BYTES=%d", o.SharedMemory))
	}
	if runtime.GOARCH == "amd64" { // by default it has no fma and no conversions of half
		options = append(options, "-march=native", "-Xclang", "-ffloat16-excess-precision=none", "-Xclang", "-fbfloat16-excess-precision=none")
	}
	if o.Sanitize {
		options = append(options, "-fno-omit-frame-pointer", "-fsanitize=address,undefined",
			"-fno-sanitize=shift-base", // every target shifts bits out of an int, as newer C++ says
			"-fno-sanitize-recover=all",
			"-fsanitize-address-use-after-return=never") // which would move a fiber's variables off its stack
	}
	return options
}

// unpack writes an embedded folder's files to dir/to.
func unpack(dir, from, to string) error {
	err := fs.WalkDir(sources, from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, to, filepath.FromSlash(strings.TrimPrefix(path, from)))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
	if err != nil {
		return fmt.Errorf("standin: writing its C++ sources: %w", err)
	}
	return nil
}

// limited keeps the first bytes written to it and drops the rest.
type limited struct {
	bytes.Buffer
	limit   int
	dropped int
}

func (l *limited) Write(p []byte) (int, error) {
	keep := min(len(p), l.limit-l.Buffer.Len())
	l.Buffer.Write(p[:keep])
	l.dropped += len(p) - keep
	return len(p), nil
}

// String returns the text that was kept, and says how much was not.
func (l *limited) String() string {
	if l.dropped == 0 {
		return l.Buffer.String()
	}
	return fmt.Sprintf("%s\n[%d more bytes]", l.Buffer.String(), l.dropped)
}
