package checkpoint

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/schema"
)

// absent is what the index names and no file has. Checkpoints are published, and
// converted, without tensors that the index still names; whether a model can do without
// them is known once it is bound.
type absent struct {
	index    string       // name of the index
	stripped []indexEntry // of files that are there
	shards   []absentShard
	advice   string // on shards
}

// absentShard is a file that the index names and that is not in the folder.
type absentShard struct {
	name    string
	tensors []string // all that the index places there
}

// report adds what is absent and not covered by a rule to findings; of what is covered
// it returns notes. A file that is not in the folder is covered if all its tensors are.
func (a *absent) report(ignores []schema.Ignore, findings *Findings) (notes []string) {
	var stripped, shards []string
	gone := make([][]string, len(ignores)) // by the rule that covers them
	rule := func(tensor string) int {
		return slices.IndexFunc(ignores, func(g schema.Ignore) bool { return g.Covers(tensor) })
	}
	for _, e := range a.stripped {
		where := message.Quote(e.tensor) + " in " + e.shard
		if k := rule(e.tensor); k >= 0 {
			gone[k] = append(gone[k], where)
		} else {
			stripped = append(stripped, where)
		}
	}
	for _, s := range a.shards {
		if slices.ContainsFunc(s.tensors, func(tensor string) bool { return rule(tensor) < 0 }) {
			shards = append(shards, s.name)
			continue
		}
		for _, tensor := range s.tensors {
			k := rule(tensor)
			gone[k] = append(gone[k], message.Quote(tensor)+" in "+s.name)
		}
	}
	findings.AddEach("shard", "named by "+a.index+" not in the folder", a.advice, shards)
	findings.AddEach("tensor", "in the index but not in the shard it names", otherVersions, stripped)
	for k, items := range gone {
		if len(items) > 0 {
			notes = append(notes, fmt.Sprintf("%s names %s that no file has, such as %s; %s", a.index, message.Count(len(items), "tensor"), items[0], ignores[k].Reason))
		}
	}
	return notes
}
