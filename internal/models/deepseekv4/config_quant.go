package deepseekv4

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt.example/smelt/internal/strictjson"
)

// Quantization is how config.json says the weights are stored. It is a claim:
// converted checkpoints may store experts in another mode than they declare, so
// the tensors themselves decide.
type Quantization struct {
	// Official is set for DeepSeek's own FP8/FP4 checkpoints.
	Official *OfficialQuant
	// Global is MLX's setting for modules without an entry of their own.
	Global *ModuleQuant
	// Modules holds MLX's entries by module path.
	Modules map[string]ModuleQuant
}

// OfficialQuant is DeepSeek's format: E4M3 weights with one E8M0 scale per
// BlockRows x BlockCols block (always 128 x 128).
type OfficialQuant struct {
	BlockRows, BlockCols int
	// ExpertDType is "fp4", "fp8" or, if the file does not say, "".
	ExpertDType string
}

// ModuleQuant is one MLX setting.
type ModuleQuant struct {
	// Off is set for a module the file states to be unquantised; the rest is zero then.
	Off bool
	// Mode is "affine", "mxfp4" or "mxfp8".
	Mode string
	// Bits per weight, and Group weights that share one scale.
	Bits, Group int
}

// String gives the setting in a few words.
func (m ModuleQuant) String() string {
	if m.Off {
		return "not quantised"
	}
	return fmt.Sprintf("%s %d bits, groups of %d", m.Mode, m.Bits, m.Group)
}

// String is the default format in words, empty without one.
func (q Quantization) String() string {
	switch {
	case q.Official != nil && q.Official.ExpertDType != "":
		return "fp8 in blocks of 128 x 128 with " + q.Official.ExpertDType + " experts"
	case q.Official != nil:
		return "fp8 in blocks of 128 x 128"
	case q.Global != nil:
		return q.Global.String()
	}
	return ""
}

// readQuantization reads MLX's block, which is written under one or both of two
// keys, or the official one.
func readQuantization(top *strictjson.Object, c *Config) {
	const mlxKey, sharedKey = "quantization", "quantization_config"
	mlx, shared := top.Object(mlxKey), top.Object(sharedKey)
	dtype, _ := top.Word("expert_dtype", "fp4", "fp8")
	if shared != nil && shared.Has("quant_method") {
		if mlx != nil {
			top.Wrong(mlxKey, "MLX settings", "no such key beside "+sharedKey+" with a quant_method: the file must describe one storage")
		}
		c.Quant.Official = readOfficialQuant(shared, dtype)
		return
	}
	if dtype != "" {
		top.Note(fmt.Sprintf("expert_dtype is %q, but %s has no quant_method; the tensors decide", dtype, sharedKey))
	}
	if mlx == nil {
		mlx, shared = shared, nil
	}
	if mlx == nil {
		return
	}
	readMLXQuant(mlx, &c.Quant)
	if shared != nil {
		var second Quantization
		readMLXQuant(shared, &second)
		compareMLX(top, c.Quant, second)
	}
}

func readOfficialQuant(s *strictjson.Object, expertDType string) *OfficialQuant {
	s.Word("quant_method", "fp8")
	s.Word("fmt", "e4m3")
	s.Word("scale_fmt", "ue8m0")
	s.Word("activation_scheme", "dynamic")
	q := &OfficialQuant{BlockRows: 128, BlockCols: 128, ExpertDType: expertDType}
	if !s.Has("weight_block_size") {
		s.Missing("weight_block_size")
	}
	sides, ok := s.List("weight_block_size")
	if !ok {
		return q
	}
	if len(sides) != 2 {
		s.Wrong("weight_block_size", fmt.Sprintf("%d numbers", len(sides)), "[128, 128]")
		return q
	}
	for i, side := range sides {
		s.Whole(fmt.Sprintf("weight_block_size[%d]", i), side, 128, 128)
	}
	return q
}

// readMLXQuant reads group_size, bits and mode, and takes every other key that
// holds an object or a truth value as a module path.
func readMLXQuant(s *strictjson.Object, q *Quantization) {
	q.Modules = map[string]ModuleQuant{}
	if s.Has("bits") || s.Has("group_size") || s.Has("mode") {
		for _, key := range []string{"bits", "group_size"} {
			if !s.Has(key) {
				s.Missing(key)
			}
		}
		if m, ok := readModule(s); ok {
			q.Global = &m
		}
	}
	for _, path := range s.Rest() {
		switch s.Kind(path) {
		case '{':
			n := s.Object(path)
			if n == nil {
				continue // it stands twice
			}
			if m, ok := readModule(n); ok {
				q.Modules[path] = m
			}
		case 'f':
			if s.Has(path) {
				q.Modules[path] = ModuleQuant{Off: true}
			}
		case 't':
			if !s.Has(path) {
				continue
			}
			if q.Global == nil {
				s.Wrong(path, "true", "a usable group_size and bits for all modules, or this module's own")
				continue
			}
			q.Modules[path] = *q.Global
		}
	}
}

// readModule reads one setting. A missing mode means affine even if the global
// mode is another one, and missing numbers mean the mode's usual ones: that is
// what MLX's quantize does with such an entry.
func readModule(s *strictjson.Object) (ModuleQuant, bool) {
	m := ModuleQuant{Mode: "affine"}
	if s.Has("mode") {
		mode, ok := s.Word("mode", "affine", "mxfp4", "mxfp8")
		if !ok {
			s.Know("bits", "group_size")
			return m, false
		}
		m.Mode = mode
	}
	bits, groups := []int{4, 2, 3, 5, 6, 8}, []int{64, 32, 128}
	switch m.Mode {
	case "mxfp4":
		bits, groups = []int{4}, []int{32}
	case "mxfp8":
		bits, groups = []int{8}, []int{32}
	}
	var okBits, okGroup bool
	m.Bits, okBits = oneOfNumbers(s, "bits", m.Mode, bits)
	m.Group, okGroup = oneOfNumbers(s, "group_size", m.Mode, groups)
	return m, okBits && okGroup
}

// oneOfNumbers reads a number that must be among allowed, whose first entry is
// the default.
func oneOfNumbers(s *strictjson.Object, key, mode string, allowed []int) (int, bool) {
	v, ok := s.Get(key)
	if !ok {
		return allowed[0], true
	}
	n, ok := s.Whole(key, v, 1, 1<<16)
	if ok && !slices.Contains(allowed, n) {
		sorted := slices.Sorted(slices.Values(allowed))
		s.Wrong(key, strictjson.Show(v), fmt.Sprintf("%s for mode %q", joinNumbers(sorted), mode))
		return 0, false
	}
	return n, ok
}

func joinNumbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = text(n)
	}
	return strings.Join(words, " or ")
}

// compareMLX reports the first difference between the two copies of MLX's block.
func compareMLX(top *strictjson.Object, a, b Quantization) {
	show := func(q *ModuleQuant) string {
		if q == nil {
			return "nothing"
		}
		return q.String()
	}
	if show(a.Global) != show(b.Global) {
		top.Wrong("quantization_config", show(b.Global), show(a.Global)+", as quantization has it")
	}
	for _, path := range slices.Sorted(maps.Keys(merged(a.Modules, b.Modules))) {
		inA, okA := a.Modules[path]
		inB, okB := b.Modules[path]
		if okA != okB || inA != inB {
			top.Wrong("quantization_config."+path, entry(inB, okB), entry(inA, okA)+", as quantization has it")
			return
		}
	}
}

func merged(a, b map[string]ModuleQuant) map[string]ModuleQuant {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func entry(m ModuleQuant, ok bool) string {
	if !ok {
		return "no entry"
	}
	return m.String()
}
