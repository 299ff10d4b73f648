package checkpoint

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/message"
)

// absence is a name without its counterpart: a stored name that was looked for
// in vain, or one that nothing asked for.
type absence struct{ name, text string }

// maxCandidates bounds the names compared for one suggestion.
const maxCandidates = 4000

// suggest writes absences as items; those a message shows name the nearest of
// the others, so that a renamed tensor explains itself.
func suggest(list, others []absence) []string {
	items := make([]string, len(list))
	for i, a := range list {
		items[i] = a.text
		if i < maxItems {
			items[i] += nearest(a.name, others)
		}
	}
	return items
}

// nearest is " (nearest: x)", or nothing if no name is close.
func nearest(name string, others []absence) string {
	name = strings.TrimSuffix(name, ".weight")
	best, at := len(name)/4+1, -1
	for i, o := range others[:min(len(others), maxCandidates)] {
		if d := message.Distance(name, strings.TrimSuffix(o.name, ".weight"), best); d < best {
			best, at = d, i
		}
	}
	if at < 0 {
		return ""
	}
	return fmt.Sprintf(" (nearest: %s)", others[at].name)
}
