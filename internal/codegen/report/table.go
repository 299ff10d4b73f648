package report

// table holds distinct lines and gives each its place.
type table struct {
	lines []string
	index map[string]int
}

func newTable() *table { return &table{index: map[string]int{}} }

// add returns the line's place.
func (t *table) add(line string) int {
	i, have := t.index[line]
	if !have {
		i = len(t.lines)
		t.index[line] = i
		t.lines = append(t.lines, line)
	}
	return i
}

// addAll returns the places of lines as runs: first place, how many, first
// place, how many ... A text that shares its lines with another is few runs.
func (t *table) addAll(lines []string) []int {
	var runs []int
	for _, line := range lines {
		i := t.add(line)
		if n := len(runs); n > 0 && runs[n-2]+runs[n-1] == i {
			runs[n-1]++
			continue
		}
		runs = append(runs, i, 1)
	}
	return runs
}
