package message

import "strings"

// Nearest is the name that was probably meant where another was found: one that it
// begins or that begins it, or one that a few letters turn it into; "" if none is. Of
// several it is the nearest, and the first of these.
func Nearest(found string, names []string) string {
	few := 1
	if len(found) > 2 {
		few = max(2, len(found)/4)
	}
	best, at := few+1, ""
	for _, name := range names {
		d := Distance(found, name, best)
		if short := min(len(found), len(name)); short >= 3 && found[:short] == name[:short] {
			d = 1
		}
		if d < best {
			best, at = d, name
		}
	}
	return at
}

// Meant says which of names was probably meant: "; did you mean x?", or nothing.
func Meant(found string, names []string) string {
	if name := Nearest(strings.ToLower(found), names); name != "" {
		return "; did you mean " + name + "?"
	}
	return ""
}

// Distance is the number of single-letter edits between a and b, or limit if
// it is not below limit.
func Distance(a, b string, limit int) int {
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
