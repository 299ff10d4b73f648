package msl

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// numbersNote says in every file what the package comment explains.
const numbersNote = "Numbers: Metal 3.1, compiled with MTLMathModeSafe. The order of additions counts, infinities and NaN are meant, only fma() fuses."

// header is the comment a file starts with.
func (p *printer) header() []string {
	k := p.k
	text := []string{k.Name, ""}
	if len(k.Doc) > 0 {
		text = append(text, k.Doc...)
		text = append(text, "")
	}
	text = append(text, fmt.Sprintf("Launch: threadgroups of %d threads in SIMD groups of %d lanes; %d bytes of threadgroup memory.",
		k.Schedule.Threads, k.Schedule.SimdWidth, k.SharedBytes()))
	for _, s := range k.Schedule.Settings {
		line := fmt.Sprintf("Schedule: %s = %s", s.Name, s.Value)
		if s.Why != "" {
			line += " (" + s.Why + ")"
		}
		text = append(text, line)
	}
	text = append(text, numbersNote)
	var out []string
	for _, line := range text {
		out = append(out, remark(0, p.commentText(line))...)
	}
	return out
}

// commentText checks that a comment ends where its line ends.
func (p *printer) commentText(text string) string {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasSuffix(strings.TrimRight(line, " \t\r"), `\`) {
			p.fail("a comment's line ends in a backslash, which would take in the next line: %q", line)
		}
	}
	return text
}

// structs declares the blocks that the kernel reads.
func (p *printer) structs() []string {
	var out []string
	if len(p.read) > 0 {
		out = append(out, "struct Args {")
		for _, q := range p.k.Params {
			out = append(out, lines(1, p.declaration(q)+";")...)
		}
		out = append(out, "};", "")
	}
	if p.lastField >= 0 {
		if p.largeStep() {
			out = append(out, remark(0, fmt.Sprintf("In device memory: a buffer in the constant address space may be of no more than %d KB.", mostConstant>>10))...)
		}
		out = append(out, "struct Step {")
		for _, f := range p.stepFields() {
			size := ""
			if f.Len > 0 {
				size = fmt.Sprintf("[%d]", f.Len)
			}
			out = append(out, fmt.Sprintf("    %s %s%s;", p.typeName(kernel.Of(f.Elem)), p.local(f.Name), size))
		}
		out = append(out, "};", "")
	}
	return out
}

// mostConstant is the size of a buffer in the constant address space, in bytes, that
// every GPU of a Mac takes (Metal Feature Set Tables, of GPUs that are not Apple's;
// for those it gives no limit).
const mostConstant = 64 << 10

// stepFields are the step block's up to the last one that the kernel reads.
func (p *printer) stepFields() []kernel.StepField { return p.k.Step.Fields[:p.lastField+1] }

// largeStep tells whether they are too many for the constant address space.
func (p *printer) largeStep() bool {
	read := kernel.StepLayout{Fields: p.stepFields()}
	return read.Bytes() > mostConstant
}

// stepSpace is where the kernel reads the step block.
func (p *printer) stepSpace() string {
	if p.largeStep() {
		return "device const"
	}
	return "constant"
}

// declaration is a parameter as a field or variable, without what follows its name.
func (p *printer) declaration(q *kernel.Param) string {
	name, elem := p.local(q.Name), p.typeName(q.Elem)
	switch {
	case !q.Pointer:
		return elem + " " + name
	case q.Access == kernel.Read:
		return "device const " + elem + " *" + name
	}
	return "device " + elem + " *" + name
}

// signature is the kernel's head, without what it does not use.
func (p *printer) signature() []string {
	var params []string
	if len(p.read) > 0 {
		params = append(params, "constant Args &"+argsName+" [[buffer(0)]]")
	}
	if p.lastField >= 0 {
		params = append(params, p.stepSpace()+" Step &"+stepName+" [[buffer(1)]]")
	}
	if p.group[0] || p.group[1] || p.group[2] {
		params = append(params, "uint3 group_position [[threadgroup_position_in_grid]]")
	}
	if p.thread {
		params = append(params, "uint thread_index [[thread_index_in_threadgroup]]")
	}
	if p.lane {
		params = append(params, "uint lane_index [[thread_index_in_simdgroup]]")
	}
	if p.simd {
		params = append(params, "uint simd_index [[simdgroup_index_in_threadgroup]]")
	}
	head := fmt.Sprintf("[[kernel, max_total_threads_per_threadgroup(%d)]]", p.k.Schedule.Threads)
	if len(params) == 0 {
		return []string{head, "void " + p.k.Name + "()"}
	}
	return []string{head, "void " + p.k.Name + "(", "    " + strings.Join(params, ",\n    ") + ")"}
}

// prologue declares threadgroup memory and names what the kernel is given.
func (p *printer) prologue() []string {
	var out []string
	for _, s := range p.k.Shared {
		out = append(out, fmt.Sprintf("    threadgroup %s %s[%d];", p.typeName(kernel.Of(s.Elem)), p.local(s.Name), s.Len))
	}
	var bindings []string
	bind := func(used bool, name, value string) {
		if used {
			bindings = append(bindings, fmt.Sprintf("    const int %s = int(%s);", name, value))
		}
	}
	for i, name := range groupNames {
		bind(p.group[i], name, "group_position."+"xyz"[i:i+1])
	}
	bind(p.thread, threadName, "thread_index")
	bind(p.lane, laneName, "lane_index")
	bind(p.simd, simdName, "simd_index")
	for _, q := range p.k.Params {
		if !p.read[q.Name] {
			continue
		}
		constant := ""
		if !q.Pointer {
			constant = "const "
		}
		bindings = append(bindings, lines(1, fmt.Sprintf("%s%s = %s.%s;", constant, p.declaration(q), argsName, p.local(q.Name)))...)
	}
	return separate(out, bindings)
}

// separate joins two groups of lines by an empty one.
func separate(a, b []string) []string {
	if len(a) > 0 && len(b) > 0 {
		a = append(a, "")
	}
	return append(a, b...)
}
