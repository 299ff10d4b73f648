package report

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

// describeMemory adds caches and weights.
func (p *planner) describeMemory() {
	for _, c := range p.bundle.Plan.Caches {
		stored := c.State.Stored
		if stored == "" {
			stored = "f32"
		}
		p.doc.Caches = append(p.doc.Caches, cacheDoc{c.State.Name, stored, c.Row.Bytes, c.Capacity, c.Ring, c.Slots, c.Offset, c.Bytes})
	}
	for _, q := range p.bundle.Module.Params {
		w := weightDoc{Name: q.Name, Type: q.Type.String(), Encoding: q.Encoding}
		if stored := p.bundle.Params[q.Name]; stored != nil {
			w.Pieces, w.Bytes = len(stored.Pieces), stored.Bytes()
		}
		p.doc.Weights = append(p.doc.Weights, w)
	}
}
