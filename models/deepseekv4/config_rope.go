package deepseekv4

import (
	"fmt"
	"math"
	"slices"
)

// ropeKeys is one place that may give RoPE's width or base.
type ropeKeys struct {
	at    *section
	theta string
}

// readRope reads RoPE's width, bases and scaling in either spelling.
func readRope(top *section, c *Config) {
	main, compress := readRopeParameters(top)
	scaling := top.object("rope_scaling")
	c.RopeDim = readRopeDim(top, c.HeadDim, []*section{top, main, compress, scaling})
	c.RopeTheta = agreedTheta([]ropeKeys{{top, "rope_theta"}, {main, "rope_theta"}})
	c.CompressRopeTheta = agreedTheta([]ropeKeys{{top, "compress_rope_theta"}, {compress, "rope_theta"}, {scaling, "rope_theta"}})
	c.Yarn = agreedYarn(top, scaling, compress)
	_, stated := top.members["rope_scaling"]
	if !stated && compress == nil && (c.HasRatio(4) || c.HasRatio(128)) {
		top.missing("rope_scaling (null if the model has none; or rope_parameters)")
	}
}

// readRopeParameters returns transformers' two sections, nil where absent.
func readRopeParameters(top *section) (main, compress *section) {
	parameters := top.object("rope_parameters")
	if parameters == nil {
		return nil, nil
	}
	for _, key := range []string{"main", "compress"} {
		if !parameters.has(key) {
			parameters.missing(key)
		}
	}
	if main = parameters.object("main"); main != nil {
		main.word("rope_type", "default")
		main.word("type", "default")
	}
	return main, parameters.object("compress")
}

// readRopeDim reads qk_rope_head_dim, or derives it from the share of head_dim
// that transformers gives instead, in several places.
func readRopeDim(top *section, headDim int, places []*section) int {
	const key = "qk_rope_head_dim"
	dim, given := top.integer(key, 2, maxWidth)
	stated := top.has(key)
	for _, at := range places {
		if at == nil {
			continue
		}
		share, ok := at.number("partial_rotary_factor", above(0), atMost(1))
		stated = stated || at.has("partial_rotary_factor")
		if !ok || headDim == 0 {
			continue
		}
		exact := share * float64(headDim)
		whole := int(math.Round(exact))
		switch {
		case math.Abs(exact-float64(whole)) > 1e-6*float64(headDim) || whole < 1:
			at.wrong("partial_rotary_factor", fmt.Sprint(share), fmt.Sprintf("a share that makes head_dim (%d) a whole number of dimensions", headDim))
		case given && whole != dim:
			at.wrong("partial_rotary_factor", fmt.Sprint(share), fmt.Sprintf("the share of head_dim (%d) that gives %d dimensions, as elsewhere in the file", headDim, dim))
		default:
			dim, given = whole, true
		}
	}
	if !stated {
		top.missing(key + " (or partial_rotary_factor)")
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
		stated = stated || p.at.has(p.theta)
		v, ok := p.at.number(p.theta, above(1), atMost(1e12))
		switch {
		case !ok:
		case from != "" && v != theta:
			p.at.wrong(p.theta, fmt.Sprint(v), fmt.Sprintf("%v, as %s has it", theta, from))
		default:
			theta, from = v, p.at.prefix+p.theta
		}
	}
	if !stated {
		places[0].at.missing(places[0].theta)
	}
	return theta
}

// agreedYarn reads the scaling from rope_scaling and from
// rope_parameters.compress; if both are there they must say the same.
func agreedYarn(top, scaling, compress *section) *Yarn {
	var found []*Yarn
	for _, s := range []*section{scaling, compress} {
		if s == nil {
			continue
		}
		if y, ok := readYarn(s); ok {
			found = append(found, y)
		}
	}
	if len(found) == 0 {
		return nil
	}
	if len(found) == 2 && !slices.Equal(found[0].values(), found[1].values()) {
		top.wrong("rope_scaling", found[0].String(), found[1].String()+", as rope_parameters.compress has it")
	}
	return found[0]
}

// readYarn reads one scaling section. A nil Yarn with ok set means "none".
func readYarn(s *section) (y *Yarn, ok bool) {
	kinds := []string{"yarn", "deepseek_yarn", "default"}
	a, okA := s.word("rope_type", kinds...)
	b, okB := s.word("type", kinds...)
	if okA && okB && (a == "default") != (b == "default") {
		s.wrong("type", quoted(b), "the same as rope_type, which is "+quoted(a))
	}
	if !s.has("rope_type") && !s.has("type") {
		s.missing("type")
	}
	if !okA && !okB {
		return nil, false
	}
	checkNeutral(s)
	yarnKeys := []string{"factor", "original_max_position_embeddings", "beta_fast", "beta_slow"}
	if a == "default" || b == "default" {
		s.know(yarnKeys...)
		return nil, true
	}
	y = &Yarn{BetaFast: 32, BetaSlow: 1}
	y.Factor = s.needNumber("factor", atLeast(1), atMost(1e6))
	y.Original = s.needInteger("original_max_position_embeddings", 1, maxPositions)
	if v, ok := s.number("beta_fast", above(0), atMost(1e6)); ok {
		y.BetaFast = v
	}
	if v, ok := s.number("beta_slow", above(0), atMost(1e6)); ok {
		y.BetaSlow = v
	}
	if y.BetaSlow > y.BetaFast {
		s.wrong("beta_slow", fmt.Sprint(y.BetaSlow), fmt.Sprintf("at most beta_fast, which is %v", y.BetaFast))
	}
	return y, true
}

// checkNeutral refuses the attention scaling other models combine with YaRN:
// DeepSeek-V4 has none, so these may only say "none".
func checkNeutral(s *section) {
	for _, n := range []struct {
		key  string
		only float64
	}{{"attention_factor", 1}, {"attn_factor", 1}, {"extrapolation_factor", 1}, {"mscale", 0}, {"mscale_all_dim", 0}} {
		if v, ok := s.number(n.key, atLeast(-1e6), atMost(1e6)); ok && v != n.only {
			s.wrong(n.key, fmt.Sprint(v), fmt.Sprintf("%v or no such key: DeepSeek-V4 does not scale attention with YaRN", n.only))
		}
	}
	if cut, ok := s.boolean("truncate"); ok && !cut {
		s.wrong("truncate", "false", "true or no such key: the ramp's ends are whole pair numbers")
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
