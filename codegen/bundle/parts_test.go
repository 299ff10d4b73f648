package bundle

import (
	"testing"

	"smelt.example/smelt/internal/codegen/target"
)

// TestPartNames: a bundle may hold the kernels of every target, and nothing else.
func TestPartNames(t *testing.T) {
	for _, x := range target.All {
		if name := x.Folder + "/attn_q_decode_b" + x.Extension; !partName.MatchString(name) {
			t.Errorf("%s: %s is no file of a bundle", x.Name, name)
		}
	}
	for _, name := range []string{"kernels/other/k.metal", "kernels/cuda/k.ll", "kernels/metal/../k.metal", "kernels/cuda/", "weights.bin"} {
		if partName.MatchString(name) {
			t.Errorf("%s is a file of a bundle", name)
		}
	}
}
