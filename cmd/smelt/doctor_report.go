package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/doctor"
	"smelt.example/smelt/internal/memory"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/internal/runtime/metal"
)

// doctorReport is the output of `smelt doctor --json`. Field names are stable;
// docs/json.md explains them. Lists are never null.
type doctorReport struct {
	Time    string          `json:"time"` // UTC, RFC 3339
	Version versionReport   `json:"version"`
	Machine doctorMachine   `json:"machine"`
	LLVM    doctorLLVM      `json:"llvm"`
	Metal   doctorMetal     `json:"metal"`
	Model   doctorModel     `json:"model"`
	Devices []doctor.Result `json:"devices"`
	// Auto is the device that smelt run takes by itself; "" if that was not found out.
	Auto string `json:"auto"`
	OK   bool   `json:"ok"`
	// Unfinished says what was being done, in a file that was left half way.
	Unfinished string `json:"unfinished"`
}

// doctorMachine describes the machine; what is not known is empty or 0.
type doctorMachine struct {
	System      string `json:"system"`
	Kernel      string `json:"kernel"`
	Computer    string `json:"computer"`
	Processor   string `json:"processor"`
	Processors  int    `json:"processors"`
	Memory      int64  `json:"memory"`
	FreeMemory  int64  `json:"free_memory"`
	KnowsMemory bool   `json:"free_memory_known"`
	// MemorySource says where the number of free bytes comes from.
	MemorySource string `json:"free_memory_source"`
}

type doctorLLVM struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	CPU     string `json:"cpu"`
	Lanes   int    `json:"vector_f32"`
	Error   string `json:"error"`
}

type doctorMetal struct {
	Machine *metal.GPU `json:"machine"`
	Error   string     `json:"error"`
}

type doctorModel struct {
	Path      string `json:"path"`
	Note      string `json:"note"`
	Name      string `json:"name"`
	Context   int    `json:"context"`
	Chunk     int    `json:"chunk"`
	Slots     int    `json:"slots"`
	CacheRows string `json:"cache_rows"`
	CacheKeys string `json:"cache_keys"`
	Memory    int64  `json:"memory"`
}

func (m *doctorModel) describe(b *bundle.Bundle) {
	m.Name, m.CacheRows, m.CacheKeys = b.Name, b.CacheRows, b.CacheKeys
	m.Context, m.Chunk, m.Slots, m.Memory = b.Plan.Context, b.Plan.Chunk, b.Plan.Slots, b.Memory().Peak()
}

func thisMachine() doctorMachine {
	m := doctorMachine{System: systemName(), Kernel: kernelName(), Computer: computerName(), Processor: processorName(), Processors: runtime.NumCPU()}
	here := memory.Here()
	m.Memory = here.Total.Bytes
	m.FreeMemory, m.KnowsMemory, m.MemorySource = here.Available.Bytes, here.Available.Known(), here.Available.Source
	return m
}

// judge sums up what was found of the devices.
func (r *doctorReport) judge() {
	r.OK = len(r.bad()) == 0
	for _, k := range devices.All() {
		if !k.Auto {
			continue
		}
		i := slices.IndexFunc(r.Devices, func(d doctor.Result) bool { return d.Device == k.Name })
		if len(k.Targets) > 0 && i < 0 {
			return // it was not asked for
		}
		if len(k.Targets) == 0 || r.Devices[i].Here {
			r.Auto = k.Name
			return
		}
	}
}

// bad names the devices that are there and not in order.
func (r *doctorReport) bad() (names []string) {
	for _, d := range r.Devices {
		if d.Here && !d.OK {
			names = append(names, d.Device)
		}
	}
	return names
}

// write prints the report for people; whole is with everything, for a bug.
func (r *doctorReport) write(w io.Writer, st style, whole bool) error {
	p := doctorPage{page{w: w, st: st}, whole}
	p.printf("%s  %s\n\n", st.bold("Doctor"), r.Version)
	if whole {
		p.line("time", "%s", r.Time)
	}
	p.machine(r.Machine)
	p.llvm(r.LLVM)
	p.metal(r.Metal)
	p.model(r.Model)
	p.heading("Devices")
	for _, d := range r.Devices {
		p.device(d)
	}
	p.line("reference", "the evaluator in plain Go, which the others are compared with")
	switch {
	case r.Unfinished != "":
		p.line("unfinished", "%s", r.Unfinished)
	case len(r.Devices) > 0 && !slices.ContainsFunc(r.Devices, func(d doctor.Result) bool { return d.Here }):
		p.printf("\n  nothing here runs kernels, of what was looked for; text comes from the evaluator\n")
	case r.Auto != "":
		p.printf("\n")
		p.line("smelt run", "takes %s unless --device names another", r.Auto)
	}
	if whole {
		for _, d := range r.Devices {
			p.kernels(d)
		}
	}
	return p.err
}

type doctorPage struct {
	page
	whole bool
}

// said joins what is known.
func said(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

func (p *doctorPage) machine(m doctorMachine) {
	p.line("system", "%s", said(m.System, m.Kernel, runtime.GOOS+"/"+runtime.GOARCH))
	p.line("machine", "%s", said(m.Computer, m.Processor, plural(m.Processors, "processor")))
	total, free := "", ""
	if m.Memory > 0 {
		total = bytesInWords(m.Memory)
	}
	if m.KnowsMemory {
		free = bytesInWords(m.FreeMemory) + " available (" + m.MemorySource + ")"
	}
	if text := said(total, free); text != "" {
		p.line("memory", "%s", text)
	}
}

func (p *doctorPage) llvm(l doctorLLVM) {
	if l.Error != "" {
		p.line("libLLVM", "not found: %s", l.Error)
		return
	}
	p.line("libLLVM", "%s, %s", l.Version, l.Path)
	p.line("vectors", "%d numbers of float32 (%s)", l.Lanes, l.CPU)
}

func (p *doctorPage) metal(m doctorMetal) {
	if m.Error != "" {
		p.line("Metal", "%s", m.Error)
		return
	}
	x := m.Machine
	p.line("Metal", "%s", said(x.Name, x.Architecture, x.System))
	p.line("families", "%s", strings.Join(x.Families, ", "))
	memory := "memory of its own"
	if x.Unified {
		memory = "unified memory"
	}
	p.line("limits", "%s, working set %s recommended, %s taken, buffers to %s, threadgroup memory %s",
		memory, bytesInWords(x.WorkingSet), bytesInWords(x.Allocated), bytesInWords(x.MaxBuffer), bytesInWords(int64(x.ThreadgroupMemory)))
}

func (p *doctorPage) model(m doctorModel) {
	if m.Name == "" {
		return
	}
	p.line("model", "%s", said(m.Path, m.Note))
	if p.whole {
		p.line("", "%s, %s planned, caches %s and keys %s, context %s, chunk %s, %s", m.Name, bytesInWords(m.Memory), m.CacheRows, m.CacheKeys,
			grouped(m.Context), grouped(m.Chunk), plural(m.Slots, "slot"))
	}
}

// fewErrors is how many are printed where the file has the others.
const fewErrors = 4

func (p *doctorPage) device(d doctor.Result) {
	if !d.Here {
		p.line(d.Device, "%s", d.Reason)
		return
	}
	ran, worst, most := 0, "", 0.0
	for _, k := range d.Kernels {
		if k.Ran {
			ran++
		}
		if k.Difference < 0 || most >= 0 && k.Difference > most {
			worst, most = k.Name, k.Difference
		}
	}
	switch {
	case d.OK:
		p.line(d.Device, "%s: %d of %s ran and wrote what the evaluator computes", "ok", ran, plural(len(d.Kernels), "kernel"))
	default:
		p.line(d.Device, "%s: %d of %s ran", p.st.yellow("NOT IN ORDER"), ran, plural(len(d.Kernels), "kernel"))
	}
	switch {
	case most < 0:
		p.line("", "some numbers are not finite (%s)", worst)
	case most > 0:
		p.line("", "numbers differ by %s of the largest in a row (%s); the bound is %g", share(most), worst, lockstep.Bound)
	}
	if len(d.Company) > 0 && d.OK {
		p.line("", "rows have the same bits alone and among %s", listed(d.Company))
	}
	p.speeds(d)
	for _, n := range d.Notes {
		p.line("", "%s", n)
	}
	errors := d.Errors
	if !p.whole {
		errors = errors[:min(len(errors), fewErrors)]
	}
	for _, e := range errors {
		p.line("", "%s %s", p.st.yellow("-"), strings.ReplaceAll(e, "\n", "\n"+strings.Repeat(" ", 18)))
	}
	if more := len(d.Errors) - len(errors); more > 0 {
		p.line("", "and %s more, in the report", plural(more, "error"))
	}
}

// listed is a list of numbers in words.
func listed(numbers []int) string {
	var words []string
	for _, n := range numbers {
		words = append(words, grouped(n))
	}
	return strings.Join(words, ", ")
}

func (p *doctorPage) speeds(d doctor.Result) {
	for _, s := range []struct {
		what string
		doctor.Speed
	}{{"prefill", d.Prefill}, {"decode", d.Decode}} {
		if s.Seconds == 0 {
			continue
		}
		gpu := ""
		if s.GPU > 0 {
			gpu = fmt.Sprintf(", %.2f ms of it on the GPU", 1000*s.GPU)
		}
		p.line("", "%s of %s: %.2f ms%s, %s tokens a second", s.what, plural(s.Rows, "token"), 1000*s.Seconds, gpu, grouped(int(float64(s.Rows)/s.Seconds)))
	}
}

// share is a difference for people.
func share(d float64) string {
	switch {
	case d < 0:
		return "not finite"
	case d == 0:
		return "0"
	}
	return fmt.Sprintf("%.1e", d)
}

// kernels is the table of a device's kernels.
func (p *doctorPage) kernels(d doctor.Result) {
	if len(d.Kernels) == 0 {
		return
	}
	p.heading("Kernels on " + d.Device)
	p.printf("  opened in %.2f s; %s; whole steps and kernels one by one differ by %s\n", d.Opening, plural(d.Steps, "step"), share(d.Whole))
	t := table{columns: []column{{"kernel", false}, {"", false}, {"values", true}, {"difference", true}, {"turned", true}, {"median us", true}, {"seen by", false}}}
	for _, k := range d.Kernels {
		state, values, difference := "ok", grouped(k.Values), share(k.Difference)
		switch {
		case !k.Ran:
			state, difference = "did not run", ""
		case !k.OK:
			state = "WRONG"
		}
		if k.Values == 0 {
			values, difference = "", ""
		}
		turned, time := "", ""
		if k.Turned > 0 {
			turned = grouped(k.Turned)
		}
		if k.Seconds > 0 {
			time = fmt.Sprintf("%.1f", 1e6*k.Seconds)
		}
		t.add(k.Name, state, values, difference, turned, time, strings.Join(k.Through, ", "))
	}
	p.table(&t)
}
