package api

import (
	"math"
	"strings"

	"smelt.example/smelt/internal/server/engine"
)

// Probability is that of one token, as OpenAI's protocols write it.
type Probability struct {
	Probable
	Top []Probable `json:"top_logprobs"`
}

// Probable is a token with its probability.
type Probable struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	// Bytes are null for a token that is no whole character.
	Bytes []int `json:"bytes"`
}

// Probabilities are those of tokens.
func Probabilities(m *engine.Model, tokens []engine.Step) (list []Probability) {
	for _, t := range tokens {
		p := Probability{Probable: probableOf(m, t.ID, t.LogProb), Top: []Probable{}}
		for _, other := range t.Top {
			p.Top = append(p.Top, probableOf(m, other.Token, other.LogProb))
		}
		list = append(list, p)
	}
	return list
}

func probableOf(m *engine.Model, id int32, logProb float64) Probable {
	p := Probable{Token: m.Spell(id), LogProb: Finite(logProb)}
	if !strings.Contains(p.Token, "\uFFFD") {
		p.Bytes = []int{}
		for _, b := range []byte(p.Token) {
			p.Bytes = append(p.Bytes, int(b))
		}
	}
	return p
}

// Finite is a logarithm that JSON has: a token without any chance gets the least that
// clients of this protocol know.
func Finite(logProb float64) float64 {
	if math.IsInf(logProb, 0) || math.IsNaN(logProb) {
		return -9999
	}
	return logProb
}
