package plan

import "smelt.example/smelt/internal/codegen/program"

// WeightReads counts, for each parameter, the bytes that a step reads of it, each
// counted once.
func (s *Step) WeightReads(symbols map[string]int64) (map[string]int64, error) {
	most := map[program.WeightArg]int64{}
	for _, d := range s.Dispatches {
		for _, a := range d.Args {
			if a.Weight == nil {
				continue
			}
			n, err := a.BytesAccessed.Eval(env(symbols))
			if err != nil {
				return nil, err
			}
			most[*a.Weight] = max(most[*a.Weight], n)
		}
	}
	reads := map[string]int64{}
	for w, n := range most {
		reads[w.Param] += n
	}
	return reads, nil
}
