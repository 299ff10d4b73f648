package standin

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// declaration is a threadgroup array or variable at the top of a kernel.
var declaration = regexp.MustCompile(`(?m)^([ \t]+)(threadgroup[ \t]+\w+[ \t]+(\w+)[ \t]*(?:\[[^\]\n]*\][ \t]*)*;)`)

// unshared matches such declarations in forms that cannot be made static: left as they
// are, every thread would have its own array.
var unshared = regexp.MustCompile(`(?m)^[ \t]*threadgroup[ \t]+\w+[ \t]+\w+[ \t]*[\[,;=].*$`)

// shareable makes threadgroup memory static, as the package comment says. Lines
// stay lines.
func shareable(file, source string) (string, error) {
	out := declaration.ReplaceAllString(source, "${1}static ${2} STANDIN_SHARED(${3})")
	if line := unshared.FindString(out); line != "" {
		return "", fmt.Errorf("standin: %s: %q: expected one array or variable a line, without a value: threadgroup float name[256];", file, strings.TrimSpace(line))
	}
	return out, nil
}

// kernelHead is a kernel function in a source.
type kernelHead struct {
	name       string
	maxThreads int // per threadgroup
	params     []kernelParam
}

// kernelParam is a parameter with the attribute that says what it is given.
type kernelParam struct {
	text      string // as written, for errors
	typ       string // for buffers, the struct's name
	attribute string
	index     string // what stands in the attribute's brackets
}

var (
	comment    = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	head       = regexp.MustCompile(`(?:\[\[\s*kernel\b([^\]]*)\]\]\s*void|\bkernel\s+void)\s+(\w+)\s*\(`)
	maxThreads = regexp.MustCompile(`max_total_threads_per_threadgroup\s*\(\s*(\d+)\s*\)`)
	param      = regexp.MustCompile(`^(.*?)(\w+)\s*\[\[\s*(\w+)\s*(?:\(\s*(\w+)\s*\))?\s*\]\]$`)
	buffer     = regexp.MustCompile(`^(?:constant|device)\s+(?:const\s+)?(\w+)\s*&\s*$`)
)

// kernelHeads finds a source's kernels, in order.
func kernelHeads(file, source string) ([]kernelHead, error) {
	source = comment.ReplaceAllString(source, " ")
	var out []kernelHead
	for _, m := range head.FindAllStringSubmatchIndex(source, -1) {
		k := kernelHead{name: source[m[4]:m[5]], maxThreads: threadsLimit}
		if m[2] >= 0 {
			if t := maxThreads.FindStringSubmatch(source[m[2]:m[3]]); t != nil {
				k.maxThreads, _ = strconv.Atoi(t[1])
			}
		}
		if k.maxThreads < 1 || k.maxThreads > threadsLimit {
			return nil, fmt.Errorf("standin: %s: kernel %s: max_total_threads_per_threadgroup must be 1 to %d", file, k.name, threadsLimit)
		}
		params, err := kernelParams(source[m[1]:])
		if err != nil {
			return nil, fmt.Errorf("standin: %s: kernel %s: %w", file, k.name, err)
		}
		k.params = params
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("standin: %s: no kernel: expected [[kernel]] void name(...) or kernel void name(...)", file)
	}
	return out, nil
}

// kernelParams reads the parameters up to the closing bracket.
func kernelParams(text string) ([]kernelParam, error) {
	var out []kernelParam
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

func readParam(written string) (kernelParam, error) {
	m := param.FindStringSubmatch(written)
	if m == nil {
		return kernelParam{}, fmt.Errorf("parameter %q: expected a type, a name and one [[attribute]]", written)
	}
	p := kernelParam{text: written, typ: strings.TrimSpace(m[1]), attribute: m[3], index: m[4]}
	if p.attribute == "buffer" {
		b := buffer.FindStringSubmatch(m[1])
		if b == nil {
			return kernelParam{}, fmt.Errorf("parameter %q: a buffer must be a reference to a struct: constant T &name or device const T &name", written)
		}
		p.typ = b[1]
	}
	return p, nil
}

// positions says what a parameter with an attribute is given, of the
// standin::Thread t. Threadgroups and SIMD groups count along x only.
var positions = map[string]string{
	"threadgroup_position_in_grid":   "t.group",
	"threadgroups_per_grid":          "t.groups",
	"thread_index_in_threadgroup":    "{t.index, 0, 0}",
	"thread_position_in_threadgroup": "{t.index, 0, 0}",
	"thread_position_in_grid":        "{t.group.x * t.threads + t.index, t.group.y, t.group.z}",
	"threads_per_threadgroup":        "{t.threads, 1, 1}",
	"threads_per_grid":               "{t.groups.x * t.threads, t.groups.y, t.groups.z}",
	"thread_index_in_simdgroup":      "{t.index % standin::max_lanes, 0, 0}",
	"simdgroup_index_in_threadgroup": "{t.index / standin::max_lanes, 0, 0}",
	"simdgroups_per_threadgroup":     "{(t.threads + standin::max_lanes - 1) / standin::max_lanes, 0, 0}",
	"threads_per_simdgroup":          "{standin::max_lanes, 0, 0}",
}

// argument is the C++ expression that a parameter is given.
func (p kernelParam) argument() (string, error) {
	switch {
	case p.attribute == "buffer" && p.index == "0":
		return "*static_cast<const " + p.typ + " *>(args)", nil
	case p.attribute == "buffer" && p.index == "1":
		return "*static_cast<const " + p.typ + " *>(step)", nil
	case p.attribute == "buffer":
		return "", fmt.Errorf("parameter %q: only buffer 0 (arguments) and buffer 1 (step block) exist", p.text)
	}
	value, ok := positions[p.attribute]
	if !ok {
		return "", fmt.Errorf("parameter %q: attribute %s is not known here", p.text, p.attribute)
	}
	return "standin::give<" + p.typ + ">(" + value + ")", nil
}

// stub is C++ that calls the kernel and enters it in the program's table.
func (k kernelHead) stub() (string, error) {
	sizes := map[string]string{"0": "0", "1": "0"}
	var args []string
	for _, p := range k.params {
		a, err := p.argument()
		if err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.name, err)
		}
		if p.attribute == "buffer" {
			sizes[p.index] = "sizeof(" + p.typ + ")"
		}
		args = append(args, a)
	}
	return fmt.Sprintf(`
void standin_run_%[1]s(const void *args, const void *step, const standin::Thread &t) {
    %[1]s(%[2]s);
}
standin::Kernel standin_entry_%[1]s{"%[1]s", standin_run_%[1]s, %[3]s, %[4]s, %[5]d, nullptr};
[[gnu::constructor]] void standin_enlist_%[1]s() { standin::enlist(&standin_entry_%[1]s); }
`, k.name, strings.Join(args, ",\n        "), sizes["0"], sizes["1"], k.maxThreads), nil
}

// emitter is the translation unit of a kernel file: its text in a namespace of its
// own, since files name their structs alike, and a stub for each kernel.
func unit(file string, kernels []kernelHead) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "#include <metal_stdlib>\nnamespace {\n#include %q\n", file)
	for _, k := range kernels {
		stub, err := k.stub()
		if err != nil {
			return "", fmt.Errorf("standin: %s: %w", file, err)
		}
		out.WriteString(stub)
	}
	out.WriteString("}\n")
	return out.String(), nil
}

var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// checkFileName: names are used in folders with other files and in C++.
func checkFileName(name string) error {
	if !fileName.MatchString(name) || name == "include" || name == "host" {
		return fmt.Errorf("standin: file name %q: expected letters, digits, '_', '-' and '.', as in linear_a.metal", name)
	}
	return nil
}
