package report

import (
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/ir"
)

// cacheDoc is a state's memory.
type cacheDoc struct {
	State    string `json:"state"`
	Stored   string `json:"stored"`
	RowBytes int    `json:"rowBytes"`
	Capacity int    `json:"capacity"` // rows of a slot
	Ring     bool   `json:"ring,omitempty"`
	Slots    int    `json:"slots"`
	Offset   int64  `json:"offset"`
	Bytes    int64  `json:"bytes"`
}

// weightDoc is a parameter as it is stored.
type weightDoc struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Encoding string `json:"encoding"`
	Pieces   int    `json:"pieces"`
	Bytes    int64  `json:"bytes"`
}

func describeCache(c *plan.Cache) cacheDoc {
	stored := c.State.Stored
	if stored == "" {
		stored = "f32" // as computed
	}
	return cacheDoc{c.State.Name, stored, c.Row.Bytes, c.Capacity, c.Ring, c.Slots, c.Offset, c.Bytes}
}

// describeWeight describes a parameter; stored may be nil.
func describeWeight(q *ir.Param, stored *storage.Parameter) weightDoc {
	w := weightDoc{Name: q.Name, Type: q.Type.String(), Encoding: q.Encoding}
	if stored != nil {
		w.Pieces, w.Bytes = len(stored.Pieces), stored.Bytes()
	}
	return w
}
