package standin

import (
	"fmt"
	"regexp"
	"strings"

	"smelt.example/smelt/internal/codegen/msl/head"
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
func argument(p head.Param) (string, error) {
	switch {
	case p.Attribute == "buffer" && p.Index == "0":
		return "*static_cast<const " + p.Type + " *>(args)", nil
	case p.Attribute == "buffer" && p.Index == "1":
		return "*static_cast<const " + p.Type + " *>(step)", nil
	case p.Attribute == "buffer":
		return "", fmt.Errorf("parameter %q: only buffer 0 (arguments) and buffer 1 (step block) exist", p.Text)
	}
	value, ok := positions[p.Attribute]
	if !ok {
		return "", fmt.Errorf("parameter %q: attribute %s is not known here", p.Text, p.Attribute)
	}
	return "standin::give<" + p.Type + ">(" + value + ")", nil
}

// stub is C++ that calls a kernel and enters it in the program's table.
func stub(k head.Kernel) (string, error) {
	sizes := map[string]string{"0": "0", "1": "0"}
	var args []string
	for _, p := range k.Params {
		a, err := argument(p)
		if err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		if p.Attribute == "buffer" {
			sizes[p.Index] = "sizeof(" + p.Type + ")"
		}
		args = append(args, a)
	}
	return fmt.Sprintf(`
void standin_run_%[1]s(const void *args, const void *step, const standin::Thread &t) {
    %[1]s(%[2]s);
}
standin::Kernel standin_entry_%[1]s{"%[1]s", standin_run_%[1]s, %[3]s, %[4]s, %[5]d, nullptr};
[[gnu::constructor]] void standin_enlist_%[1]s() { standin::enlist(&standin_entry_%[1]s); }
`, k.Name, strings.Join(args, ",\n        "), sizes["0"], sizes["1"], k.MaxThreads), nil
}

// emitter is the translation unit of a kernel file: its text in a namespace of its
// own, since files name their structs alike, and a stub for each kernel.
func unit(file string, kernels []head.Kernel) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "#include <metal_stdlib>\nnamespace {\n#include %q\n", file)
	for _, k := range kernels {
		stub, err := stub(k)
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
