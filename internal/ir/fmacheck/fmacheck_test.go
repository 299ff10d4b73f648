package fmacheck

import (
	"strings"
	"testing"
)

const here = "smelt.example/smelt/internal/ir/fmacheck/testdata/"

func TestFindsEveryKind(t *testing.T) {
	for range 2 { // the second time from the build cache
		found, err := Find(here + "fused")
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(found, "\n")
		for _, want := range []string{
			"fused.go:6 FMADDD", "fused.go:7 FMSUBD", "fused.go:8 FNMADDD", "fused.go:9 FNMSUBD", "fused.go:10 FMADDS", "fused.go:11 FMSUBS",
			"fused.go:13 FMADDD", "fused.go:19 FMADDD",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("%s not found in\n%s", want, all)
			}
		}
	}
}

func TestCleanPackage(t *testing.T) { Check(t, here+"clean") }

func TestUnknownPackage(t *testing.T) {
	if _, err := Find(here + "absent"); err == nil || !strings.Contains(err.Error(), "compiling "+here+"absent for arm64") {
		t.Errorf("error %v", err)
	}
}
