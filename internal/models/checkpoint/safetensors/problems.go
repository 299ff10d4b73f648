package safetensors

import (
	"cmp"
	"fmt"
	"strings"
)

// maxProblems is how many problems of one file are spelled out.
const maxProblems = 8

// A FormatError lists what is wrong with one safetensors file.
type FormatError struct {
	Path     string
	Problems []string // the first few, each naming its tensor where there is one
	Omitted  int      // how many more were found
	Advice   string   // what to do; "" stands for downloading the file again
}

// Error gives one problem on one line, several as a list.
func (e *FormatError) Error() string {
	advice := cmp.Or(e.Advice, "download the file again")
	if len(e.Problems) == 1 && e.Omitted == 0 {
		return e.Path + ": " + e.Problems[0] + "; " + advice
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d problems; %s:", e.Path, len(e.Problems)+e.Omitted, advice)
	for _, p := range e.Problems {
		b.WriteString("\n  - ")
		b.WriteString(p)
	}
	if e.Omitted > 0 {
		fmt.Fprintf(&b, "\n  - and %d more", e.Omitted)
	}
	return b.String()
}

func (e *FormatError) addf(format string, args ...any) {
	if len(e.Problems) == maxProblems {
		e.Omitted++
		return
	}
	e.Problems = append(e.Problems, fmt.Sprintf(format, args...))
}

// err is e when it holds a problem and nil otherwise.
func (e *FormatError) err() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

func formatErrorf(path, format string, args ...any) error {
	e := &FormatError{Path: path}
	e.addf(format, args...)
	return e
}
