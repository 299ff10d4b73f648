package msl_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func examples(t testing.TB) []*kernel.Kernel {
	return []*kernel.Kernel{rmsNorm(t), matvec4(t), matmul(t), rowMix(t)}
}

func TestGolden(t *testing.T) {
	files, err := msl.Files(examples(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		golden := filepath.Join("testdata", f.Name)
		if *update {
			if err := os.WriteFile(golden, []byte(f.Text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if f.Text != string(want) {
			t.Errorf("%s differs from what is printed now; look at it and run with -update:\n%s", golden, f.Text)
		}
		for i, line := range strings.Split(f.Text, "\n") {
			if len(line) > 110 {
				t.Errorf("%s:%d is %d characters long", f.Name, i+1, len(line))
			}
		}
	}
}

func TestFilesOfOneName(t *testing.T) {
	k := rmsNorm(t)
	if _, err := msl.Files([]*kernel.Kernel{k, k}); err == nil || !strings.Contains(err.Error(), "two kernels are called rms_norm") {
		t.Errorf("got %v", err)
	}
}
