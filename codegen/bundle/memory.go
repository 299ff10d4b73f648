package bundle

import (
	"fmt"
	"strings"

	"smelt/codegen/plan"
)

// Memory is what running a bundle takes, in bytes.
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
// length, slots and chunk.
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
	m.Formula = strings.Join([]string{fmt.Sprint(m.Weights), cacheFormula(b.Plan), fmt.Sprintf("arena(chunk=%d, context=%d) = %d", b.Plan.Chunk, b.Plan.Context, m.Arena), fmt.Sprint(m.Steps)}, " + ")
	return m
}

// cacheFormula is slots * (bytes of rings + bytes per token of context * context).
func cacheFormula(p *plan.Plan) string {
	rings, perChunk := int64(0), int64(0)
	logs := map[int64]int64{} // bytes a row, by the tokens of a row
	for _, c := range p.Caches {
		if c.Ring {
			keep, _ := c.State.Keep.Value()
			rings += (keep - 1) * int64(c.Row.Bytes)
			perChunk += int64(c.Row.Bytes)
			continue
		}
		tokens := int64(p.Context) / max(int64(c.Capacity), 1)
		logs[tokens] += int64(c.Row.Bytes)
	}
	terms := []string{fmt.Sprintf("%d + %d*chunk", rings, perChunk)}
	for tokens := int64(1); tokens <= int64(p.Context); tokens++ {
		if n := logs[tokens]; n > 0 {
			terms = append(terms, fmt.Sprintf("%d*floor(context/%d)", n, tokens))
			delete(logs, tokens)
		}
		if len(logs) == 0 {
			break
		}
	}
	return "slots*(" + strings.Join(terms, " + ") + ")"
}

func memoryOf(m Memory) memoryDoc {
	return memoryDoc{m.Weights, m.Caches, m.Arena, m.Steps, m.Peak(), m.Formula}
}
