package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bundlesMade holds the bundles of fixtures by their command lines: a command line gives the
// same bytes each time (TestCompileTwice), so it runs once.
var bundlesMade = map[string]string{}

// compileTo is a bundle of a checkpoint in a folder of the test's own.
func compileTo(t *testing.T, checkpoint string, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	if !slices.Contains([]string{plainFixture, mixedFixture, storyteller}, checkpoint) { // may change
		compileJSON(t, append([]string{checkpoint, "-o", dir}, flags...)...)
		return dir
	}
	line := strings.Join(append([]string{checkpoint}, flags...), " ")
	if bundlesMade[line] == "" {
		first := filepath.Join(scratch, fmt.Sprint("bundle", len(bundlesMade)))
		compileJSON(t, append([]string{checkpoint, "-o", first}, flags...)...)
		bundlesMade[line] = first
	}
	must(t, os.CopyFS(dir, os.DirFS(bundlesMade[line])))
	return dir
}

func compileJSON(t *testing.T, args ...string) (r bundleReport) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	decodeStrictly(t, smelt(t, "", append([]string{"compile", "--json"}, args...)...).succeeds(t), &r)
	return r
}

// masked replaces what differs from machine to machine: folders and times.
func masked(t *testing.T, out, bundle, checkpoint string) string {
	t.Helper()
	checkpoint, err := filepath.Abs(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	out = strings.NewReplacer(bundle, "BUNDLE", checkpoint, "CHECKPOINT").Replace(out)
	return regexp.MustCompile(`"seconds": [0-9.e-]+`).ReplaceAllString(out, `"seconds": 0`)
}

// partsOf is the folder of a bundle's other files, relative to it.
func partsOf(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "smelt-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("folders in %s: %v %v", dir, found, err)
	}
	return filepath.Base(found[0])
}

// tree reads all files below a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCompileGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	for name, checkpoint := range checkpoints(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "bundle")
			args := []string{"compile", checkpoint, "-o", dir, "--context", "256"}
			golden(t, name+"-bundle.json", masked(t, smelt(t, "", append(args, "--json")...).succeeds(t), dir, checkpoint))
			if again := masked(t, smelt(t, "", "inspect", dir, "--json").succeeds(t), dir, checkpoint); !strings.Contains(again, `"kernels"`) || strings.Contains(again, "seconds") {
				t.Errorf("inspect --json of the bundle:\n%s", again)
			}
		})
	}
}

// TestCompilePage: the page is the same by compile and by inspect.
func TestCompilePage(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	r := smelt(t, "", "compile", mixedFixture, "-o", dir, "--context", "1024", "--chunk", "64", "--slots", "2", "--wanted", "3", "--cache", "bf16")
	if r.status != 0 || !regexp.MustCompile(`^compiled in [0-9.]+ s\n$`).MatchString(r.errors) {
		t.Fatalf("status %d, standard error %q", r.status, r.errors)
	}
	golden(t, "b-official-fp8fp4-bundle.txt", masked(t, r.out, dir, mixedFixture))
	if page := smelt(t, "", "inspect", dir).succeeds(t); page != r.out {
		t.Errorf("compile and inspect differ:\n%s", cmp.Diff(r.out, page))
	}
}

// TestCompileTwice: the same checkpoint and flags give the same bytes, also
// over what was there, and the stages end in the module of the plan.
func TestCompileTwice(t *testing.T) {
	root := t.TempDir()
	dir, stages := filepath.Join(root, "made", "bundle"), filepath.Join(root, "stages")
	compileJSON(t, mixedFixture, "-o", dir, "--dump-dir", stages)
	first := tree(t, dir)
	plan := first[filepath.Join(partsOf(t, dir), "plan.ir")]
	compileJSON(t, mixedFixture, "-o", dir, "--keys", "f32")
	if other := tree(t, dir); other[filepath.Join(partsOf(t, dir), "plan.ir")] == plan {
		t.Error("another format of keys gives the same plan")
	}
	compileJSON(t, mixedFixture, "-o", dir)
	if diff := cmp.Diff(first, tree(t, dir)); diff != "" { // times.json too: the checkpoint is the same
		t.Error(diff)
	}
	if left, err := filepath.Glob(filepath.Join(root, "made", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	dumped, err := filepath.Glob(filepath.Join(stages, "*_*.ir"))
	if err != nil || len(dumped) < 3 || filepath.Base(dumped[0]) != "00_input.ir" {
		t.Fatalf("stages: %v %v", dumped, err)
	}
	last, err := os.ReadFile(dumped[len(dumped)-1])
	if _, stage, marked := strings.Cut(string(last), "\n"); err != nil || !marked || stage != plan {
		t.Errorf("%s is not plan.ir (%v)", dumped[len(dumped)-1], err)
	}
}

// TestCompileDefaults: sizes that are not given fit the model, and keys follow
// the cache.
func TestCompileDefaults(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  [3]any // context, chunk, keys
	}{
		{nil, [3]any{4096, 512, "fp4"}},
		{[]string{"--context", "100"}, [3]any{100, 100, "fp4"}},
		{[]string{"--chunk", "7", "--cache", "bf16"}, [3]any{4096, 7, "bf16"}},
		{[]string{"--cache", "f32"}, [3]any{4096, 512, "f32"}},
		{[]string{"--cache", "f32", "--keys", "fp4"}, [3]any{4096, 512, "fp4"}},
	} {
		r := compileJSON(t, append([]string{mixedFixture, "-o", filepath.Join(t.TempDir(), "b")}, c.flags...)...)
		if got := [3]any{r.Context, r.Chunk, r.CacheKeys}; got != c.want {
			t.Errorf("%v: %v, want %v", c.flags, got, c.want)
		}
		if r.Memory.Peak != r.Memory.Weights+r.Memory.Caches+r.Memory.Arena+r.Memory.Steps || r.Slots != 1 || r.Wanted != 16 {
			t.Errorf("%v: %+v", c.flags, r)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	root := t.TempDir()
	full := filepath.Join(root, "full")
	if err := os.MkdirAll(full, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(full, "thesis.txt"), "years of work")
	file := writeFile(t, filepath.Join(root, "file"), "x")
	bundle := compileTo(t, plainFixture, "--context", "16")
	out := filepath.Join(root, "new")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no checkpoint", []string{"-o", out}, []string{"expected one CHECKPOINT", "smelt compile --help"}},
		{"no output", []string{plainFixture}, []string{"-o is missing"}},
		{"nothing there", []string{"nowhere", "-o", out}, []string{"nowhere", "no such file"}},
		{"a bundle", []string{bundle, "-o", out}, []string{bundle + " is a bundle already"}},
		{"a folder of something else", []string{plainFixture, "-o", full}, []string{full, "not a bundle", "choose another folder"}},
		{"a file", []string{plainFixture, "-o", file}, []string{file, "is not a folder"}},
		{"below a file", []string{plainFixture, "-o", filepath.Join(file, "b")}, []string{file, "is not a folder"}},
		{"the checkpoint itself", []string{plainFixture, "-o", plainFixture}, []string{plainFixture, "folder of the checkpoint"}},
		{"another target", []string{plainFixture, "-o", out, "--target", "CUDA"}, []string{"--target CUDA", "metal"}},
		{"another cache", []string{plainFixture, "-o", out, "--cache", "fp4"}, []string{"--cache fp4: expected fp8, bf16, f32"}},
		{"other keys", []string{plainFixture, "-o", out, "--keys", "fp8"}, []string{"--keys fp8: expected fp4, bf16, f32"}},
		{"no context", []string{plainFixture, "-o", out, "--context", "0"}, []string{`--context: found "0", expected`}},
		{"no chunk", []string{plainFixture, "-o", out, "--chunk", "0"}, []string{`--chunk: found "0", expected`}},
		{"no slots", []string{plainFixture, "-o", out, "--slots", "-1"}, []string{`--slots: found "-1", expected`}},
		{"too many slots", []string{plainFixture, "-o", out, "--slots", "10000"}, []string{`--slots: found "10000", expected a whole number, 1 to 4096`}},
		{"too long a chunk", []string{plainFixture, "-o", out, "--chunk", "70000"}, []string{`--chunk: found "70000", expected a whole number, 1 to 16384`}},
		{"beyond the model", []string{plainFixture, "-o", out, "--context", "9999999"}, []string{"--context 9999999", "the model was made for at most"}},
		{"no folder for stages", []string{plainFixture, "-o", out, "--dump-dir", ""}, []string{"--dump-dir needs the name of a folder"}},
		{"stages below a file", []string{plainFixture, "-o", out, "--dump-dir", file}, []string{file, "is not a folder"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smelt(t, "", append([]string{"compile"}, c.args...)...).fails(t, c.want...)
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something is in the output: %v", err)
			}
		})
	}
	if left := tree(t, full); len(left) != 1 {
		t.Errorf("a folder that was refused holds %v", left)
	}
	closed := filepath.Join(root, "closed")
	if err := os.Mkdir(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	asOrdinaryUser(t, func() {
		smelt(t, "", "compile", plainFixture, "-o", filepath.Join(closed, "b")).fails(t, closed, "permission denied")
	})
}

// TestBundleRefuses damages a bundle or its checkpoint in one way a row. Every
// command that opens it gives one error.
func TestBundleRefuses(t *testing.T) {
	checkpoint := copyOf(t, plainFixture)
	bundle := compileTo(t, checkpoint, "--context", "16")
	pristine, weights := tree(t, bundle), tree(t, checkpoint)
	edit := func(dir, name, old, new string) func(t *testing.T) {
		return func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !strings.Contains(string(data), old) {
				t.Fatalf("%s does not hold %q (%v)", name, old, err)
			}
			writeFile(t, filepath.Join(dir, name), strings.Replace(string(data), old, new, 1))
		}
	}
	remove := func(dir, name string) func(t *testing.T) {
		return func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(dir, name string) func(t *testing.T) {
		return func(t *testing.T) {
			data := tree(t, dir)[name]
			writeFile(t, filepath.Join(dir, name), data[:len(data)/2])
		}
	}
	shard := "model-00002-of-00003.safetensors"
	folder := partsOf(t, bundle)
	kernel, plan := filepath.Join(folder, "kernels/ir/attn_q_decode.kir"), filepath.Join(folder, "plan.ir")
	for _, c := range []struct {
		name   string
		damage func(t *testing.T)
		alone  bool // the checkpoint is not needed to notice
		want   []string
	}{
		{"another version", edit(bundle, "bundle.json", `"format":7`, `"format":8`), true, []string{"bundle.json", "format is 8, this smelt reads 7"}},
		{"cut off", cut(bundle, "bundle.json"), true, []string{"bundle.json", "compile the bundle again"}},
		{"edited by hand", edit(bundle, "bundle.json", `"context":16`, `"context":15`), true, []string{"bundle.json is not as smelt compile wrote it", "compile the bundle again"}},
		{"no plan", remove(bundle, plan), true, []string{"plan.ir", "no such file"}},
		{"a plan cut off", cut(bundle, plan), true, []string{"plan.ir"}},
		{"an edited plan", edit(bundle, plan, "eps = 1e-06", "eps = 1e-05"), true, []string{"plan.ir is not what smelt compile wrote"}},
		{"no kernel", remove(bundle, kernel), true, []string{"attn_q_decode.kir", "no such file"}},
		{"a kernel cut off", cut(bundle, kernel), true, []string{"attn_q_decode.kir"}},
		{"an edited kernel", edit(bundle, kernel, "schedule 64", "schedule 32"), true, []string{"attn_q_decode.kir is not what smelt compile wrote"}},
		{"no checkpoint", remove(checkpoint, "."), false, []string{checkpoint, bundle, "smelt compile"}},
		{"a shard less", remove(checkpoint, shard), false, []string{shard, "smelt compile"}},
		{"another header", edit(checkpoint, shard, "weight", "waight"), false, []string{shard, "smelt compile"}},
		{"another configuration", edit(checkpoint, "config.json", "{", "{ "), false, []string{"config.json", "compile again: smelt compile"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				for dir, files := range map[string]map[string]string{bundle: pristine, checkpoint: weights} {
					for name, data := range files {
						if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
							t.Fatal(err)
						}
						writeFile(t, filepath.Join(dir, name), data)
					}
				}
			})
			c.damage(t)
			for _, args := range [][]string{{"run", bundle, "-p", "x"}, {"verify", bundle}, {"verify", bundle, "--scan"}, {"inspect", bundle, "--ir", "input"}} {
				smelt(t, "", args...).fails(t, c.want...)
			}
			if r := smelt(t, "", "inspect", bundle); (r.status != 0) != c.alone {
				t.Errorf("inspect: status %d\n%s", r.status, r.errors)
			}
		})
	}
}
