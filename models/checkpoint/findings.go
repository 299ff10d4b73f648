package checkpoint

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/message"
)

// maxItems is how many findings a message shows, and how many items of each.
const maxItems = 20

// maxLine bounds an item in bytes. Names from outside are cut far earlier; the
// longest of smelt's own sentences fit.
const maxLine = 1000

// A Finding is one kind of problem and everything it was found in.
type Finding struct {
	Problem string   // one line, no full stop
	Items   []string // tensors, files ...; all of them, the message shows the first 20
	Advice  string   // what to do, "" if the problem says it
	cause   error
}

// Findings is an error that lists all problems of a checkpoint at once. The
// zero value with Path set is ready for use.
type Findings struct {
	Path string // the checkpoint
	List []Finding
}

// Add notes a problem; items and advice may be empty.
func (f *Findings) Add(problem, advice string, items ...string) {
	f.List = append(f.List, Finding{Problem: problem, Advice: advice, Items: items})
}

// AddEach notes a problem if there is any item, with their number in front:
// "3 shards are missing".
func (f *Findings) AddEach(noun, problem, advice string, items []string) {
	if len(items) > 0 {
		f.Add(message.Count(len(items), noun)+" "+problem, advice, items...)
	}
}

// AddError notes an error as a problem of its own; errors.Is and errors.As
// find it.
func (f *Findings) AddError(err error) {
	f.List = append(f.List, Finding{Problem: err.Error(), cause: err})
}

// addSized tells, beside what does not fit, which sizes follow from headers.
func (f *Findings) addSized(sized []string) {
	f.AddEach("size", "taken from the tensors and not from config.json", "", sized)
}

// Err is f if anything was found and nil otherwise.
func (f *Findings) Err() error {
	if len(f.List) == 0 {
		return nil
	}
	return f
}

// Unwrap returns the errors given to AddError.
func (f *Findings) Unwrap() []error {
	var causes []error
	for _, x := range f.List {
		if x.cause != nil {
			causes = append(causes, x.cause)
		}
	}
	return causes
}

// Error lists the findings, each with its first items on lines of their own.
func (f *Findings) Error() string {
	var b strings.Builder
	b.WriteString("checkpoint " + f.Path + ": ")
	if len(f.List) == 1 {
		f.List[0].write(&b, "  ")
		return b.String()
	}
	fmt.Fprintf(&b, "%d problems", len(f.List))
	for i, x := range f.List {
		if i == maxItems {
			fmt.Fprintf(&b, "\n  - and %d more", len(f.List)-i)
			break
		}
		b.WriteString("\n  - ")
		x.write(&b, "      ")
	}
	return b.String()
}

func (x *Finding) write(b *strings.Builder, indent string) {
	b.WriteString(strings.ReplaceAll(x.Problem, "\n", "\n"+indent))
	if x.Advice != "" {
		b.WriteString("; " + x.Advice)
	}
	for i, item := range x.Items {
		if i == maxItems {
			fmt.Fprintf(b, "\n%sand %d more", indent, len(x.Items)-i)
			break
		}
		b.WriteString("\n" + indent + message.Line(item, maxLine))
	}
}
