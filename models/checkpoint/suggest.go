package checkpoint

import (
	"fmt"
	"strings"
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
		if d := distance(name, strings.TrimSuffix(o.name, ".weight"), best); d < best {
			best, at = d, i
		}
	}
	if at < 0 {
		return ""
	}
	return fmt.Sprintf(" (nearest: %s)", others[at].name)
}

// distance is the number of single-letter edits between a and b, or limit if
// it is not below limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
			least = min(least, cost)
		}
		if least >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}
