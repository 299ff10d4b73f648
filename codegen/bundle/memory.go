package bundle

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// Memory counts the bytes that running a bundle takes.
type Memory struct {
	Weights int64 // mapped files
	Caches  int64
	Arena   int64 // of the larger step
	Steps   int64 // the blocks of step parameters, both kinds
	Formula string
}

// Peak is the sum.
func (m Memory) Peak() int64 { return m.Weights + m.Caches + m.Arena + m.Steps }

// Memory adds up the bundle's memory and states it as a formula of context
// length and slots: weights + caches + arena + step blocks. The arena's bytes, in which
// a chunk's rows of rings are, are those of the bundle's chunk and context: packing is no
// formula.
func (b *Bundle) Memory() Memory {
	var m Memory
	for _, f := range b.Files {
		m.Weights += f.Bytes
	}
	m.Caches = b.Plan.CacheBytes
	for _, s := range b.Plan.Steps {
		m.Arena = max(m.Arena, s.ArenaBytes)
		m.Steps += int64(s.Params.Layout.Bytes())
	}
	m.Formula = strings.Join([]string{fmt.Sprint(m.Weights), cacheFormula(b.Plan), fmt.Sprint(m.Arena), fmt.Sprint(m.Steps)}, " + ")
	return m
}

// cacheFormula is slots * (bytes of rings + bytes for tokens of context), and what
// rounding each state up to 256 bytes adds.
func cacheFormula(p *plan.Plan) string {
	var rings, perToken, sum int64
	logs := map[string]int64{} // bytes a row, by the number of rows
	var kept []string
	for _, c := range p.Caches {
		row := int64(c.Row.Bytes)
		sum += row * int64(c.Capacity) * int64(p.Slots)
		keep, ring := c.State.Keep.Value()
		switch {
		case ring && int64(c.Capacity) == keep-1+program.MaxDecodeRows:
			rings += int64(c.Capacity) * row
		case ring: // no longer than the context
			perToken += row
		default:
			rows := strings.ReplaceAll(c.State.Keep.String(), reachOf(p), "context")
			if logs[rows] == 0 {
				kept = append(kept, rows)
			}
			logs[rows] += row
		}
	}
	var terms []string
	if rings > 0 {
		terms = append(terms, fmt.Sprint(rings))
	}
	if perToken > 0 {
		terms = append(terms, fmt.Sprintf("%d*context", perToken))
	}
	for _, rows := range kept {
		terms = append(terms, fmt.Sprintf("%d*%s", logs[rows], rows))
	}
	return fmt.Sprintf("slots*(%s) + %d", strings.Join(terms, " + "), p.CacheBytes-sum)
}

// reachOf names the symbol for a sequence's length.
func reachOf(p *plan.Plan) string {
	for _, s := range p.Steps[0].Params.Symbols {
		if s.Def == ir.Reach {
			return s.Name
		}
	}
	return "P"
}

func memoryOf(m Memory) memoryDoc {
	return memoryDoc{m.Weights, m.Caches, m.Arena, m.Steps, m.Peak(), m.Formula}
}

// LargestContext is a context length with which the bundle, its other options
// unchanged, would take at most limit bytes; 0 if none would. It assumes that
// the arena stays as large as it is, and may be a little short of the largest.
func (b *Bundle) LargestContext(limit int64) int {
	const every = 128 // tokens: a multiple of the ratios, so that rows come in whole numbers
	saved := int64(0)
	for _, c := range b.Plan.Caches {
		if rows := int64(c.Capacity) * every / int64(b.Plan.Context); !c.Ring {
			saved += rows * int64(c.Row.Bytes) * int64(c.Slots)
		}
	}
	over := b.Memory().Peak() - limit
	if over <= 0 {
		return b.Plan.Context
	}
	if saved == 0 {
		return 0
	}
	fits := int64(b.Plan.Context) - (over+saved-1)/saved*every - every
	return int(max(fits/every*every, 0))
}
