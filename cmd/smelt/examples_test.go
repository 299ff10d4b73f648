package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// notRun are command lines of the documentation that TestExamples does not run,
// and why; of them only commands and flags are checked.
var notRun = map[string]string{
	"smelt run my-checkpoint --prompt hi":                                  "shows an error",
	"smelt run BUNDLE --prompt \"Once upon a time\" --device standin -n 5": "clang takes minutes; TestVerify has it build kernels",
	"smelt verify BUNDLE":                                                  "clang takes half a minute; TestVerify",
	"smelt verify BUNDLE --tokens 32 --sanitize":                           "clang takes minutes; TestVerify without sanitizers",
	"smelt serve CHECKPOINT":                                               "runs until it is ended; TestServe",
	"smelt serve BUNDLE --port 0 --slots 2 --queue 16":                     "runs until it is ended; TestServe",
	"smelt serve CHECKPOINT --host 0.0.0.0 --api-key-file keys.txt":        "runs until it is ended; TestServe",
	"smelt doctor": "TestDoctorCPU",
	"smelt bench kernels --synthetic flash --layers 43 --stored 8 --rows 1,4,16 --context 2047,16383,65535 --prefill 0 --repeat 3": "needs an NVIDIA card; scripts/cuda",
	"smelt verify BUNDLE --target cuda":                                                                           "clang takes half a minute; TestTargets",
	"smelt verify BUNDLE --device cuda":                                                                           "needs an NVIDIA card; scripts/cuda",
	"smelt doctor --device metal --report metal.txt":                                                              "needs a Mac",
	"smelt doctor examples/storyteller/checkpoint":                                                                "TestDoctorModel",
	"smelt doctor BUNDLE":                                                                                         "TestDoctorModel",
	"smelt doctor --json | jq '.devices[] | {device, here, ok, errors}'":                                          "TestDoctorCPU",
	"smelt bench kernels BUNDLE":                                                                                  "TestBenchKernels",
	"smelt bench kernels BUNDLE --kernel attend --rows 1":                                                         "TestBenchKernels",
	"smelt bench kernels BUNDLE --rows 1,4,16 --context 32768 --prefill 0":                                        "a long context; TestBenchKernels",
	"smelt bench kernels BUNDLE --json | jq '.steps[0].kernels[0]'":                                               "TestBenchKernels",
	"smelt bench run BUNDLE":                                                                                      "long texts; TestBenchRun",
	"smelt bench run BUNDLE --frontiers 512,2048":                                                                 "long texts; TestBenchRun",
	"smelt bench run BUNDLE --frontiers 512,2048,8192":                                                            "long texts; TestBenchRun",
	"smelt bench run BUNDLE --frontiers 512,2048,8192,32768 --svg run.svg":                                        "long texts; TestBenchRun",
	"smelt bench run BUNDLE --csv > run.csv":                                                                      "long texts; TestBenchRun",
	"smelt bench kernels --synthetic flash --layers 2":                                                            weightsInMemory,
	"smelt bench kernels --synthetic flash --layers 2 --svg kernels.svg":                                          weightsInMemory,
	"smelt bench kernels --synthetic flash --layers 43 --stored 16 --rows 1,4,16 --context 2047,2048 --prefill 0": weightsInMemory,
	"smelt bench run --synthetic flash --layers 43 --stored 16 --rows 1,4,16":                                     weightsInMemory,
	"smelt bench run --synthetic flash --layers 4 --rows 1,2,4,8,16 -n 8":                                         weightsInMemory,
	"smelt bench kernels --synthetic flash --layers 4 --rows 1 --prefill 512 --repeat 3 --compile-anew":           weightsInMemory,
	"smelt bench run --synthetic flash --layers 2 --frontiers 512,2048 -n 8 --rows 1,2,4,8,16":                    weightsInMemory,
}

const weightsInMemory = "gigabytes of weights; internal/models/synthetic has tests"

// smaller are arguments of lines in the order of replacing, and smaller ones that
// show the same.
var smaller = [][2]string{
	{"--layer 3", "--layer 2"},
	{"--context 131072", "--context 64"},
	{"--context 1048576", "--context 64"},
	{"--context 4096", "--context 48"},
	{"--max-tokens 400", "--max-tokens 2"},
}

// example is a command line and the file or the help page that shows it.
type example struct{ where, line string }

var (
	shown   = regexp.MustCompile(`(?m)^(?:    |\$ )((?:[a-z][^|\n]*\| )?(?:bin/)?smelt [a-z].*)$`)
	inline  = regexp.MustCompile("`((?:bin/)?smelt [a-z][^`]*)`")
	comment = regexp.MustCompile(`\s+#\s.*$`)
	spaces  = regexp.MustCompile(`\s+`)
)

// examples are all command lines of Markdown files and help pages. In running
// text, names of commands and flags are not meant to be typed: a line has its
// CHECKPOINT, BUNDLE or --synthetic.
func examples(t *testing.T) (all []example) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".git") || entry.Name() == "bin"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		where, _ := filepath.Rel(root, path)
		for _, m := range shown.FindAllStringSubmatch(string(text), -1) {
			all = append(all, example{where, strings.TrimPrefix(comment.ReplaceAllString(m[1], ""), "bin/")})
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			line := spaces.ReplaceAllString(m[1], " ")
			if strings.Contains(line, "CHECKPOINT") || strings.Contains(line, "BUNDLE") || strings.Contains(line, "--synthetic ") {
				all = append(all, example{where, line})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var help func(c *cobra.Command)
	help = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			all = append(all, example{c.CommandPath() + " --help", strings.TrimSpace(line)})
		}
		for _, sub := range c.Commands() {
			help(sub)
		}
	}
	help(newRoot(stdio{}))
	return all
}

// TestExamples runs every command line that documentation and help pages show,
// on small models in place of CHECKPOINT, BUNDLE and the storyteller.
func TestExamples(t *testing.T) {
	lines := map[string]string{}
	for _, e := range examples(t) {
		lines[e.line] = e.where
	}
	if len(lines) < 50 {
		t.Errorf("%d command lines found, expected 50 and more", len(lines))
	}
	for line := range notRun {
		if lines[line] == "" {
			t.Errorf("nothing shows %q any more", line)
		}
	}
	x := newExampleRun(t)
	for line, where := range lines {
		run := x.line(line)
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			if notRun[line] != "" {
				// Flags are parsed before help is printed.
				line, _, _ = strings.Cut(line, " | ")
				line, _, _ = strings.Cut(line, " > ")
				run = line + " --help"
			} else if testing.Short() && !strings.Contains(line, "inspect CHECKPOINT") {
				t.Skip("-short")
			}
			if out, err := x.sh(t, run); err != nil {
				t.Errorf("%s shows %q: %v\n%s\nin %s it failed as %q", where, line, err, out, x.dir, run)
			}
		})
	}
	for i, s := range smaller {
		if !x.replaced[i] {
			t.Errorf("no line has %q any more", s[0])
		}
	}
}

// exampleRun is a folder with what command lines name.
type exampleRun struct {
	dir      string
	replaced []bool
	jq       bool
}

func newExampleRun(t *testing.T) *exampleRun {
	t.Helper()
	x := &exampleRun{dir: t.TempDir(), replaced: make([]bool, len(smaller))}
	_, err := exec.LookPath("jq")
	x.jq = err == nil
	for name, content := range map[string]string{
		"story.txt": "Once upon a time", "prompt.txt": "Once upon", "text": "Once", "chapter.txt": "One day, a cat sat.\n", "ids.json": "[0, 465, 261]",
		"smelt": fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asCommand, os.Args[0]),
	} {
		if err := os.Chmod(writeFile(t, filepath.Join(x.dir, name), content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, checkpoint := range map[string]string{"fixture": plainFixture, "storyteller": storyteller} {
		target, err := filepath.Abs(checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(x.dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		compileJSON(t, path, "-o", path+".bundle", "--context", "48", "--chunk", "16", "--hash")
	}
	return x
}

var takesText = regexp.MustCompile(`smelt (run|chat|eval|tokenize) `)

// line is a command line with this run's files in it.
func (x *exampleRun) line(line string) string {
	model := filepath.Join(x.dir, "fixture")
	if takesText.MatchString(line) {
		model = filepath.Join(x.dir, "storyteller")
	}
	bundle := model + ".bundle"
	for i, s := range smaller {
		if strings.Contains(line, s[0]) {
			x.replaced[i] = true
			line = strings.ReplaceAll(line, s[0], s[1])
		}
	}
	if before, _, ok := strings.Cut(line, " | jq"); ok && !x.jq {
		line = before
	}
	line = strings.Replace(line, "| jq ", "| jq -e ", 1) // a path that leads nowhere is an error
	replace := strings.NewReplacer("-o BUNDLE", "-o new", "-o DIR", "-o new", "--dump-dir DIR", "--dump-dir stages",
		"examples/storyteller/checkpoint", "'"+model+"'", "CHECKPOINT", "'"+model+"'", "BUNDLE", "'"+bundle+"'", "inspect story ", "inspect '"+bundle+"' ",
		"--kernel NAME", "--kernel attn_q_decode", "--ir STAGE", "--ir fuse-linear", "--html FILE", "--html page.html")
	line = replace.Replace(line)
	if run := "smelt run "; strings.Contains(line, run) && !strings.Contains(line, " -n ") && !strings.Contains(line, "--max-tokens") {
		line = strings.Replace(line, run, run+"-n 2 ", 1)
	}
	return line
}

// sh runs a line in a folder of its own, without libLLVM: its code takes longer
// to make than the evaluator needs for some tokens.
func (x *exampleRun) sh(t *testing.T, line string) (string, error) {
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(x.dir, "*.[jt][sx]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, filepath.Join(x.dir, "text")) {
		if err := os.Symlink(f, filepath.Join(dir, filepath.Base(f))); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(os.Environ()), "PATH="+x.dir+string(filepath.ListSeparator)+os.Getenv("PATH"), jit.Env+"="+filepath.Join(dir, "none.so"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
