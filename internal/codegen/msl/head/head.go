// Package head reads what a Metal text says of its kernels: their names, threads and
// parameters. Stand-ins for Metal, which compile the text for other machines, call
// the kernels by it.
package head

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MaxThreads is Metal's limit of threads in a threadgroup.
const MaxThreads = 1024

// Kernel is a kernel function in a text.
type Kernel struct {
	Name       string
	MaxThreads int // per threadgroup
	Params     []Param
}

// Param is a parameter with the attribute that says what it is given.
type Param struct {
	Text      string // as written, for errors
	Type      string // for buffers, the struct's name
	Attribute string
	Index     string // what stands in the attribute's brackets
}

var (
	comment    = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	head       = regexp.MustCompile(`(?:\[\[\s*kernel\b([^\]]*)\]\]\s*void|\bkernel\s+void)\s+(\w+)\s*\(`)
	maxThreads = regexp.MustCompile(`max_total_threads_per_threadgroup\s*\(\s*(\d+)\s*\)`)
	param      = regexp.MustCompile(`^(.*?)(\w+)\s*\[\[\s*(\w+)\s*(?:\(\s*(\w+)\s*\))?\s*\]\]$`)
	buffer     = regexp.MustCompile(`^(?:constant|device)\s+(?:const\s+)?(\w+)\s*&\s*$`)
)

// Kernels finds a text's kernels, in order.
func Kernels(source string) ([]Kernel, error) {
	source = comment.ReplaceAllString(source, " ")
	var out []Kernel
	for _, m := range head.FindAllStringSubmatchIndex(source, -1) {
		k := Kernel{Name: source[m[4]:m[5]], MaxThreads: MaxThreads}
		if m[2] >= 0 {
			if t := maxThreads.FindStringSubmatch(source[m[2]:m[3]]); t != nil {
				k.MaxThreads, _ = strconv.Atoi(t[1])
			}
		}
		if k.MaxThreads < 1 || k.MaxThreads > MaxThreads {
			return nil, fmt.Errorf("kernel %s: max_total_threads_per_threadgroup must be 1 to %d", k.Name, MaxThreads)
		}
		params, err := params(source[m[1]:])
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		k.Params = params
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no kernel: expected [[kernel]] void name(...) or kernel void name(...)")
	}
	return out, nil
}

// params reads the parameters up to the closing bracket.
func params(text string) ([]Param, error) {
	var out []Param
	depth, start := 0, 0
	for i, c := range text {
		switch {
		case c == '(' || c == '[':
			depth++
		case c == ']' || (c == ')' && depth > 0):
			depth--
		case depth == 0 && (c == ',' || c == ')'):
			written := strings.Join(strings.Fields(text[start:i]), " ")
			start = i + 1
			if written != "" {
				p, err := readParam(written)
				if err != nil {
					return nil, err
				}
				out = append(out, p)
			}
			if c == ')' {
				return out, nil
			}
		}
	}
	return nil, fmt.Errorf("its parameters have no end")
}

func readParam(written string) (Param, error) {
	m := param.FindStringSubmatch(written)
	if m == nil {
		return Param{}, fmt.Errorf("parameter %q: expected a type, a name and one [[attribute]]", written)
	}
	p := Param{Text: written, Type: strings.TrimSpace(m[1]), Attribute: m[3], Index: m[4]}
	if p.Attribute == "buffer" {
		b := buffer.FindStringSubmatch(m[1])
		if b == nil {
			return Param{}, fmt.Errorf("parameter %q: a buffer must be a reference to a struct: constant T &name or device const T &name", written)
		}
		p.Type = b[1]
	}
	return p, nil
}
