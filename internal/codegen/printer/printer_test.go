package printer

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/target"
)

// TestEveryTarget: each has a printer, and the text names the kernel.
func TestEveryTarget(t *testing.T) {
	for _, to := range target.All {
		k := kernel.New("fill", &kernel.StepLayout{}, kernel.Schedule{Threads: to.SimdWidth, SimdWidth: to.SimdWidth}, "Fills.")
		y := k.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
		y.Set(kernel.Thread(), kernel.F(1))
		built, err := k.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		if text, err := Print(built, to); err != nil || !strings.Contains(text, "fill") {
			t.Errorf("%s: %q, %v", to.Name, text, err)
		}
	}
	if _, err := Print(nil, target.Target{Name: "t", Language: "SPIR-V"}); err == nil || !strings.Contains(err.Error(), "SPIR-V") {
		t.Errorf("a language without printer: %v", err)
	}
}
