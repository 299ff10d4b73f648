package msl

import (
	"fmt"
	"strings"

	"smelt.example/smelt/internal/codegen/kernel"
)

// File is a printed kernel.
type File struct {
	Name string // of the kernel, with the suffix .metal
	Text string
}

// Files prints kernels, in their order. Two of one name are an error.
func Files(ks []*kernel.Kernel) ([]File, error) {
	seen := map[string]bool{}
	files := make([]File, 0, len(ks))
	for _, k := range ks {
		if seen[k.Name] {
			return nil, fmt.Errorf("two kernels are called %s: their files would be the same", k.Name)
		}
		seen[k.Name] = true
		text, err := Print(k)
		if err != nil {
			return nil, err
		}
		files = append(files, File{k.Name + ".metal", text})
	}
	return files, nil
}

// Print returns a kernel as a file of MSL that compiles alone; the package
// comment states its interface. A kernel that does not verify, or that MSL has
// no words for, is an error that names the kernel and the operation.
func Print(k *kernel.Kernel) (string, error) {
	if err := kernel.Verify(k); err != nil {
		return "", err
	}
	p := &printer{k: k, names: namesOf(k), read: map[string]bool{}, lastField: -1}
	p.checkNames()
	p.block(1, k.Body)
	var out []string
	out = append(out, p.header()...)
	out = append(out, "#include <metal_stdlib>", "", "#pragma METAL fp math_mode(safe)", "#pragma METAL fp contract(off)", "#pragma STDC FP_CONTRACT OFF", "", "using namespace metal;", "")
	out = append(out, p.structs()...)
	out = append(out, p.signature()...)
	out = append(out, "{")
	out = append(out, separate(p.prologue(), p.body)...)
	out = append(out, "}", "")
	if p.err != nil {
		return "", fmt.Errorf("kernel %s: %w", k.Name, p.err)
	}
	all := strings.Split(strings.Join(out, "\n"), "\n")
	for i, line := range all {
		all[i] = tabbed(line)
	}
	return strings.Join(all, "\n"), nil
}

// tabbed has a tab for each four spaces that a line begins with: a fifth of the text of
// nested loops would be spaces.
func tabbed(line string) string {
	rest := strings.TrimLeft(line, " ")
	indent := len(line) - len(rest)
	return strings.Repeat("\t", indent/4) + line[indent/4*4:]
}

// printer prints a kernel: first the body, which tells what of the interface
// is used. The first error sticks.
type printer struct {
	k     *kernel.Kernel
	names *names
	body  []string
	err   error

	read      map[string]bool // parameters the body uses
	lastField int             // the last step field it uses, as an index; -1 for none
	group     [3]bool         // the positions it uses
	thread    bool
	lane      bool
	simd      bool
}

func (p *printer) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// checkNames makes sure that names are ones of C++.
func (p *printer) checkNames() {
	if !identifier.MatchString(p.k.Name) || reserved[p.k.Name] {
		p.fail("the name cannot be that of a function in MSL")
	}
	for _, q := range p.k.Params {
		p.local(q.Name)
	}
	for _, s := range p.k.Shared {
		p.local(s.Name)
	}
}

// local is the printed form of a name of the kernel.
func (p *printer) local(name string) string {
	if !identifier.MatchString(name) {
		p.fail("%q cannot be a name in MSL", name)
	}
	return p.names.of(name)
}

// param notes that the body uses a scalar parameter.
func (p *printer) param(e *kernel.Expr) string {
	p.read[e.Name] = true
	return p.names.of(e.Name)
}

// place is the printed form of what a load or store addresses.
func (p *printer) place(space kernel.Space, name string) string {
	switch space {
	case kernel.Device:
		p.read[name] = true
	case kernel.StepBlock:
		return p.stepField(name)
	}
	return p.names.of(name)
}

func (p *printer) stepField(name string) string {
	if p.k.Step != nil {
		for i, f := range p.k.Step.Fields {
			if f.Name == name {
				p.lastField = max(p.lastField, i)
				return stepName + "." + p.local(name)
			}
		}
	}
	p.fail("the step block has no field %s", name)
	return "0"
}

// position notes which position of the thread the body uses.
func (p *printer) position(e *kernel.Expr) string {
	switch e.Op {
	case kernel.OpThread:
		p.thread = true
		return threadName
	case kernel.OpLane:
		p.lane = true
		return laneName
	case kernel.OpSimd:
		p.simd = true
		return simdName
	}
	if e.Int < 0 || e.Int > 2 {
		p.fail("operation %v: a grid has axes 0 to 2, not %d", e.Op, e.Int)
		return "0"
	}
	p.group[e.Int] = true
	return groupNames[e.Int]
}
