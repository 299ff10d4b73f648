package llvm

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"smelt/codegen/kernel"
)

var update = flag.Bool("update", false, "write the goldens anew")

// TestGoldens prints small kernels that each show one thing. What the text does
// is tested by running it (runtime/cpu).

func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil || len(a.Files) < 1 {
				t.Fatalf("%s: %v", path, err)
			}
			k, err := kernel.Parse(string(a.Files[0].Data))
			if err != nil {
				t.Fatal(err)
			}
			if err := kernel.Verify(k); err != nil {
				t.Fatal(err)
			}
			got, err := Module(k, 8)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "kernel.ll", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(a.Files) != 2 {
				t.Fatalf("%s has no kernel.ll; go test -update", path)
			}
			if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
				t.Errorf("-golden +printed\n%s", diff)
			}
		})
	}
}

// The text is the library's, which knows every instruction.
func TestLibrarysText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range files {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		k, err := kernel.Parse(string(a.Files[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		f := newFunction(k, 8)
		if err := f.define(); err != nil {
			t.Fatal(err)
		}
		got, err := textOf(f.module)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.module.String(), got); diff != "" {
			t.Errorf("%s: -library +here\n%s", path, diff)
		}
	}
}

func TestTwice(t *testing.T) {
	a, err := txtar.ParseFile("testdata/row.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	for i := range texts {
		k, err := kernel.Parse(string(a.Files[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		if texts[i], err = Module(k, 8); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0] != texts[1] {
		t.Error("the same kernel gives two texts")
	}
}

func TestRefused(t *testing.T) {
	kernelOf := func(threads, simd int, body func(b *kernel.Builder)) *kernel.Kernel {
		b := kernel.New("k", &kernel.StepLayout{}, kernel.Schedule{Threads: threads, SimdWidth: simd})
		b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
		body(b)
		k, err := b.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	nothing := func(*kernel.Builder) {}
	for name, c := range map[string]struct {
		k    *kernel.Kernel
		want string
	}{
		"several SIMD groups": {kernelOf(64, 32, nothing), "kernel k: threadgroups of 64 threads in SIMD groups of 32"},
		"half fragments":      {kernelOf(8, 8, func(b *kernel.Builder) { b.Fragment("a", kernel.F16, 8, 8) }), "kernel k: fragment a of f16"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Module(c.k, 8); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected one with %q", err, c.want)
			}
		})
	}
}

func TestSharedBytes(t *testing.T) {
	k := &kernel.Kernel{Shared: []*kernel.Shared{{Name: "a", Elem: kernel.F32, Len: 3}, {Name: "b", Elem: kernel.F32, Len: 17}}}
	if n := SharedBytes(k); n != 64+128 {
		t.Errorf("%d bytes, expected each array on cache lines of its own: 192", n)
	}
}
