package deepseekv4

import (
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/internal/strictjson"
)

// ropeKeys is one place that may give RoPE's width or base.
type ropeKeys struct {
	at    *strictjson.Object
	theta string
}

// A scaling is a section that may give YaRN, by its name in messages.
type scaling struct {
	name string
	at   *strictjson.Object
}

// readRope reads RoPE's width, bases and scaling in either spelling.
func readRope(top *strictjson.Object, c *Config) {
	main, compress, flat := readRopeParameters(top)
	second := top.Object("compress_rope_parameters")
	legacy := top.Object("rope_scaling")
	c.RopeDim = readRopeDim(top, c.HeadDim, []*strictjson.Object{top, main, compress, flat, second, legacy})
	flatBase, flatBaseCompressed := flat, (*strictjson.Object)(nil)
	if hasCompressedBase(top, flat) {
		flatBase, flatBaseCompressed = nil, flat
	}
	c.RopeTheta = agreedTheta([]ropeKeys{{top, "rope_theta"}, {main, "rope_theta"}, {flatBase, "rope_theta"}})
	c.CompressRopeTheta = agreedTheta([]ropeKeys{{top, "compress_rope_theta"}, {compress, "rope_theta"}, {second, "rope_theta"}, {legacy, "rope_theta"}, {flatBaseCompressed, "rope_theta"}})
	sections := []scaling{{"rope_scaling", legacy}, {"rope_parameters.compress", compress}, {"compress_rope_parameters", second}}
	if scales(flat, second != nil) {
		sections = append(sections, scaling{"rope_parameters", flat})
	}
	c.Yarn = agreedYarn(top, sections)
	stated := top.Stated("rope_scaling")
	if !stated && compress == nil && flat == nil && second == nil && (c.HasRatio(4) || c.HasRatio(128)) {
		top.Missing("rope_scaling (null if the model has none; or rope_parameters)")
	}
}

// readRopeParameters returns transformers' two sections, or the one that has all in a
// file where they are not told apart: base and scaling as elsewhere rope_theta and
// rope_scaling give them. Those absent are nil.
func readRopeParameters(top *strictjson.Object) (main, compress, flat *strictjson.Object) {
	parameters := top.Object("rope_parameters")
	if parameters == nil {
		return nil, nil, nil
	}
	if isFlat(parameters) {
		return nil, nil, parameters
	}
	for _, key := range []string{"main", "compress"} {
		if !parameters.Has(key) {
			parameters.Missing(key)
		}
	}
	if main = parameters.Object("main"); main != nil {
		main.Word("rope_type", "default")
		main.Word("type", "default")
	}
	return main, parameters.Object("compress"), nil
}

// isFlat tells a section with keys of its own from one that has sections.
func isFlat(parameters *strictjson.Object) bool {
	if parameters.Has("main") || parameters.Has("compress") {
		return false
	}
	return slices.ContainsFunc([]string{"rope_type", "type", "rope_theta", "factor"}, parameters.Has)
}

// hasCompressedBase tells whether the base in a flat section is that of compressed
// layers, of which it gives the scaling: where the file has both bases elsewhere.
func hasCompressedBase(top, flat *strictjson.Object) bool {
	if flat == nil || !top.Has("rope_theta") || !flat.Has("rope_theta") {
		return false
	}
	own, _ := flat.Get("rope_theta")
	main, _ := top.Get("rope_theta")
	compressed, ok := top.Get("compress_rope_theta")
	return ok && string(own) == string(compressed) && string(own) != string(main)
}

// scales tells whether a flat section gives compressed layers' scaling. It need not say
// that there is none for the others if another section is the compressed layers' own.
func scales(flat *strictjson.Object, another bool) bool {
	if flat == nil || !flat.Has("rope_type") && !flat.Has("type") && !flat.Has("factor") {
		return false
	}
	for _, key := range []string{"rope_type", "type"} {
		if v, ok := flat.Get(key); another && ok && string(v) == `"default"` {
			flat.Know(yarnKeys...)
			return false
		}
	}
	return true
}

// readRopeDim reads qk_rope_head_dim, or derives it from the share of head_dim
// that transformers gives instead, in several places.
func readRopeDim(top *strictjson.Object, headDim int, places []*strictjson.Object) int {
	const key = "qk_rope_head_dim"
	dim, given := top.Integer(key, 2, maxWidth)
	stated := top.Has(key)
	for _, at := range places {
		if at == nil {
			continue
		}
		share, ok := at.Number("partial_rotary_factor", strictjson.Above(0), strictjson.AtMost(1))
		stated = stated || at.Has("partial_rotary_factor")
		if !ok || headDim == 0 {
			continue
		}
		exact := share * float64(headDim)
		whole := int(math.Round(exact))
		switch {
		case math.Abs(exact-float64(whole)) > 1e-6*float64(headDim) || whole < 1:
			at.Wrong("partial_rotary_factor", fmt.Sprint(share), fmt.Sprintf("a share that makes head_dim (%d) a whole number of dimensions", headDim))
		case given && whole != dim:
			at.Wrong("partial_rotary_factor", fmt.Sprint(share), fmt.Sprintf("the share of head_dim (%d) that gives %d dimensions, as elsewhere in the file", headDim, dim))
		default:
			dim, given = whole, true
		}
	}
	if !stated {
		top.Missing(key + " (or partial_rotary_factor)")
	}
	return dim
}

// agreedTheta reads one RoPE base from every place that gives it.
func agreedTheta(places []ropeKeys) float64 {
	theta, from, stated := 0.0, "", false
	for _, p := range places {
		if p.at == nil {
			continue
		}
		stated = stated || p.at.Has(p.theta)
		v, ok := p.at.Number(p.theta, strictjson.Above(1), strictjson.AtMost(1e12))
		switch {
		case !ok:
		case from != "" && v != theta:
			p.at.Wrong(p.theta, fmt.Sprint(v), fmt.Sprintf("%v, as %s has it", theta, from))
		default:
			theta, from = v, p.at.Path(p.theta)
		}
	}
	if !stated {
		places[0].at.Missing(places[0].theta)
	}
	return theta
}

// agreedYarn reads the scaling from every section that may give it; all that are there
// must say the same.
func agreedYarn(top *strictjson.Object, sections []scaling) *Yarn {
	var first *Yarn
	from := ""
	for _, s := range sections {
		if s.at == nil {
			continue
		}
		y, ok := readYarn(s.at)
		switch {
		case !ok:
		case from == "":
			first, from = y, s.name
		case !slices.Equal(first.values(), y.values()):
			top.Wrong(from, first.String(), y.String()+", as "+s.name+" has it")
		}
	}
	return first
}

var yarnKeys = []string{"factor", "original_max_position_embeddings", "beta_fast", "beta_slow"}

// readYarn reads one scaling section. A nil Yarn with ok set means "none".
func readYarn(s *strictjson.Object) (y *Yarn, ok bool) {
	kinds := []string{"yarn", "deepseek_yarn", "default"}
	a, okA := s.Word("rope_type", kinds...)
	b, okB := s.Word("type", kinds...)
	if okA && okB && (a == "default") != (b == "default") {
		s.Wrong("type", quoted(b), "the same as rope_type, which is "+quoted(a))
	}
	if !s.Has("rope_type") && !s.Has("type") {
		s.Missing("type")
	}
	if !okA && !okB {
		return nil, false
	}
	checkNeutral(s)
	if a == "default" || b == "default" {
		s.Know(yarnKeys...)
		return nil, true
	}
	y = &Yarn{BetaFast: 32, BetaSlow: 1}
	y.Factor = s.NeedNumber("factor", strictjson.AtLeast(1), strictjson.AtMost(1e6))
	y.Original = s.NeedInteger("original_max_position_embeddings", 1, maxPositions)
	if v, ok := s.Number("beta_fast", strictjson.Above(0), strictjson.AtMost(1e6)); ok {
		y.BetaFast = v
	}
	if v, ok := s.Number("beta_slow", strictjson.Above(0), strictjson.AtMost(1e6)); ok {
		y.BetaSlow = v
	}
	if y.BetaSlow > y.BetaFast {
		s.Wrong("beta_slow", fmt.Sprint(y.BetaSlow), fmt.Sprintf("at most beta_fast, which is %v", y.BetaFast))
	}
	return y, true
}

// checkNeutral refuses the attention scaling other models combine with YaRN:
// DeepSeek-V4 has none, so these may only say "none".
func checkNeutral(s *strictjson.Object) {
	for _, n := range []struct {
		key  string
		only float64
	}{{"attention_factor", 1}, {"attn_factor", 1}, {"extrapolation_factor", 1}, {"mscale", 0}, {"mscale_all_dim", 0}} {
		if v, ok := s.Number(n.key, strictjson.AtLeast(-1e6), strictjson.AtMost(1e6)); ok && v != n.only {
			s.Wrong(n.key, fmt.Sprint(v), fmt.Sprintf("%v or no such key: DeepSeek-V4 does not scale attention with YaRN", n.only))
		}
	}
	if cut, ok := s.Boolean("truncate"); ok && !cut {
		s.Wrong("truncate", "false", "true or no such key: the ramp's ends are whole pair numbers")
	}
}

func (y *Yarn) values() []float64 {
	if y == nil {
		return nil
	}
	return []float64{y.Factor, float64(y.Original), y.BetaFast, y.BetaSlow}
}

// String gives the scaling in a few words.
func (y *Yarn) String() string {
	if y == nil {
		return "no scaling"
	}
	return fmt.Sprintf("factor %g from %d (beta %g, %g)", y.Factor, y.Original, y.BetaFast, y.BetaSlow)
}
