package checkpoint

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// TestCoverage: a tensor's claims must be all its rows, each once.
func TestCoverage(t *testing.T) {
	file := openTensors(t, bf16("s.w", 10, 2)).Files[0]
	tests := []struct {
		name   string
		claims []claim
		rest   string // the rows that a finding names
		twice  bool
	}{
		{"whole", []claim{{0, wholeTensor}}, "", false},
		{"parts in any order", []claim{{7, 3}, {0, 4}, {4, 3}}, "", false},
		{"end missing", []claim{{0, 4}, {4, 3}}, "rows 7 to 9", false},
		{"start missing", []claim{{4, 6}}, "rows 0 to 9", false},
		{"gap", []claim{{0, 4}, {5, 5}}, "rows 4 to 9", false},
		{"overlap", []claim{{0, 5}, {4, 6}}, "", true},
		{"the same part twice", []claim{{0, 5}, {5, 5}, {5, 5}}, "", true},
		{"whole twice", []claim{{0, wholeTensor}, {0, wholeTensor}}, "", true},
		{"whole and a part", []claim{{0, 3}, {0, wholeTensor}}, "", true},
		{"a part and whole", []claim{{0, wholeTensor}, {3, 7}}, "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := &binder{}
			b.checkClaims(&file.Tensors()[0], test.claims)
			if twice := len(b.doubled) == 1; twice != test.twice {
				t.Errorf("claimed twice: %q", b.doubled)
			}
			switch {
			case (len(b.unclaimed) > 0) != (test.rest != ""):
				t.Errorf("unclaimed: %+v, want %q", b.unclaimed, test.rest)
			case test.rest != "" && !strings.HasSuffix(b.unclaimed[0].text, test.rest):
				t.Errorf("unclaimed: %q, want %q", b.unclaimed[0].text, test.rest)
			}
		})
	}
}

// TestScaleBlockCoverage: scales of row blocks have fewer rows than their
// weight; the weight's claims speak for them.
func TestScaleBlockCoverage(t *testing.T) {
	c := openTensors(t, raw("s.w.weight", safetensors.F8E4M3, make([]byte, 300), 300, 1), raw("s.w.scale", safetensors.F8E8M0, make([]byte, 3), 3, 1))
	layout := rules(at("a", "s.w", "a", "b"), at("b", "s.w", "a", "b"))
	b := mustBind(t, c, layout, param("a", 100, 1), param("b", 200, 1))
	if v := b.Param("b").Views[0]; v.StoredFirst != 100 || v.Scales == nil {
		t.Errorf("view %+v", v)
	}
}
