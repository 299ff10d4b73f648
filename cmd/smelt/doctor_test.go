package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/doctor"
	"smelt.example/smelt/internal/output"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/models"
)

// TestDoctorModel: the kernels of doctor's own model are the storyteller's, to the
// letter, whichever layers have which, and its weights are there.
func TestDoctorModel(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles two models")
	}
	own, err := ownModel(t.Context(), stdio{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	story, err := models.Open(storyteller, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { story.Close() })
	var texts [2]map[string]bool // of kernels, without their names and the layers they are of
	for i, m := range []*models.Model{own, story} {
		b, err := doctor.Compile(bundle.SourceOf(m), nil)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = map[string]bool{}
		for _, k := range b.Plan.Kernels {
			text, err := b.Text(k.Name)
			if err != nil {
				t.Fatal(err)
			}
			_, code, _ := strings.Cut(text, "#include")
			texts[i][strings.ReplaceAll(code, k.Name, "")] = true
		}
	}
	if len(texts[1]) < 50 || len(texts[0]) != len(texts[1]) {
		t.Fatalf("%d kernels, the storyteller has %d", len(texts[0]), len(texts[1]))
	}
	for text := range texts[1] {
		if !texts[0][text] {
			t.Errorf("doctor's model has no kernel as\n%s", text)
		}
	}
}

// TestDoctorCPU runs all kernels of the storyteller's bundle on the processor.
func TestDoctorCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: LLVM takes its time where no code was kept")
	}
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "report.txt")
	var r doctorReport
	decodeStrictly(t, smelt(t, "", "doctor", "--json", "--report", file).succeeds(t), &r)
	if !r.OK || len(r.Devices) != 2 || r.Devices[1].Device != "cpu" || r.Machine.Processors == 0 || r.LLVM.Version == "" || r.Unfinished != "" {
		t.Errorf("got %+v", r)
	}
	for _, k := range r.Devices[1].Kernels {
		if !k.Ran || !k.OK || k.Values == 0 && len(k.Through) == 0 || k.Difference > 1e-5 || k.Seconds <= 0 {
			t.Errorf("%+v", k)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n  libLLVM       " + r.LLVM.Version, "\n  cpu           ok: ", "\nKernels on cpu\n", "\n  attn_indexer_topk_merge_decode ", "\n  sample_prefill ", r.Devices[1].Notes[0]} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "\x1b") {
		t.Error("the report has colours")
	}
}

// TestDoctorNothingHere: what a machine lacks is no failure.
func TestDoctorNothingHere(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs the whole of doctor")
	}
	if _, err := metal.Native(); err == nil {
		t.Skip("this machine has Metal")
	}
	t.Chdir(t.TempDir())
	page := smelt(t, "", "doctor", "--device", "metal").succeeds(t)
	if !strings.Contains(page, "\n  metal         not on this machine: ") || strings.Contains(page, "smelt run") {
		t.Errorf("printed\n%s", page)
	}
	if text, err := os.ReadFile(doctorFile); err != nil || !strings.Contains(string(text), "\n  time  ") || !strings.HasSuffix(page, "\neverything is in "+doctorFile+": attach it to a bug\n") {
		t.Errorf("%s (%v)", text, err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) != 1 {
		t.Errorf("left %v (%v)", left, err)
	}
}

// examine prepares a report on a device that a test makes.
func examine(t *testing.T, out, errs *bytes.Buffer, o doctorOptions) *examined {
	t.Helper()
	file, err := o.file("--report", o.report, output.Report)
	if err != nil {
		t.Fatal(err)
	}
	return &examined{file: file, io: stdio{strings.NewReader(""), out, errs}, o: o, report: doctorReport{Version: versionReport{Version: "v1"}, Metal: doctorMetal{Error: "none"}, Devices: []doctor.Result{}}}
}

// TestDoctorFindings: a device that computes wrong is named on every way out, with
// the kernel and what it wrote, and the status is not 0.
func TestDoctorFindings(t *testing.T) {
	c := openForTest(t, "--context", "12", "--chunk", "8", "--slots", "2", "--wanted", "3", "--cache", "f32")
	result, err := doctor.Check(t.Context(), doctor.Subject{Name: "cpu", Open: func(observe func(string, []byte)) (device.Planned, error) {
		m, err := devicetest.NewMirror(c.Bundle, c.model.Weights)
		if err != nil {
			return nil, err
		}
		m.Observe = observe
		m.Fault = func(step int, name string, data []byte) {
			if step == 1 && (name == "%layer1.after_ffn" || name == "tokens") {
				binary.LittleEndian.PutUint32(data, math.Float32bits(float32(math.NaN())))
			}
		}
		return m, nil
	}}, c.model.Weights)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		result.Errors = append(result.Errors, strings.Repeat("x", i+1)+"\nsecond line")
	}
	for _, asJSON := range []bool{false, true} {
		var out, errs bytes.Buffer
		file := filepath.Join(t.TempDir(), "report.txt")
		e := examine(t, &out, &errs, doctorOptions{report: file, json: asJSON})
		e.report.Devices = append(e.report.Devices, result)
		e.report.judge()
		if err := e.keep(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if err := e.print(); err == nil || err.Error() != "not in order: cpu" {
			t.Errorf("ended with %v", err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if asJSON {
			var r doctorReport
			decodeStrictly(t, out.String(), &r)
			if r.OK || len(r.Devices[0].Errors) < 6 {
				t.Errorf("got %+v", r)
			}
			continue
		}
		for _, want := range []string{"NOT IN ORDER", "- kernel ffn_hyper_write_prefill: prefill step from token 0 of slot 0 on: %layer1.after_ffn[row 0, element 0] is NaN, expected "} {
			if !strings.Contains(out.String(), want) || !strings.Contains(string(text), want) {
				t.Errorf("no %q in\n%s\nor in\n%s", want, out.String(), text)
			}
		}
		if !strings.Contains(out.String(), "and 2 errors more, in the report") || !strings.Contains(string(text), "xxxx\n"+strings.Repeat(" ", 18)+"second line") {
			t.Errorf("printed\n%s\nwritten\n%s", out.String(), text)
		}
		if !strings.Contains(string(text), " WRONG ") {
			t.Errorf("the table calls no kernel wrong:\n%s", text)
		}
	}
}

// TestDoctorInterrupted: Ctrl-C gives status 130, and the file says so; while the
// model is made, and while a device is checked.
func TestDoctorInterrupted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.txt")
	for _, args := range [][]string{{"--device", "cpu"}, {mixedFixture, "--device", "metal"}} {
		var out bytes.Buffer
		r := smeltWith(interruptAfter(t, 0), &out, append([]string{"doctor", "-o", file}, args...)...)
		if r.status != statusInterrupted || out.Len() != 0 {
			t.Errorf("%v: status %d, %q, %q", args, r.status, out.String(), r.errors)
		}
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "\n  unfinished    interrupted\n") {
			t.Errorf("%v: %s (%v)", args, text, err)
		}
	}
}

// TestDoctorHalfWay: the file says what was being done when nothing follows, as
// when a driver takes the program down; and it is never half a file.
func TestDoctorHalfWay(t *testing.T) {
	dir := t.TempDir()
	var out, errs bytes.Buffer
	e := examine(t, &out, &errs, doctorOptions{report: filepath.Join(dir, "report.txt")})
	if err := e.keep(t.Context(), "device metal is being checked"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(e.o.report)
	if err != nil || !strings.Contains(string(before), "unfinished    device metal is being checked\n") {
		t.Errorf("%s (%v)", before, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o555, filepath.Dir(dir): 0o755} { // others may look into it
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod(dir, 0o700)
	asOrdinaryUser(t, func() { err = e.keep(t.Context(), "") })
	if err == nil || !strings.Contains(err.Error(), "writing "+e.o.report) {
		t.Errorf("a folder that cannot be written to: %v", err)
	}
	if after, err := os.ReadFile(e.o.report); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%s (%v)", after, err)
	}
}

// TestDoctorHome: the home folder's name is nowhere.
func TestDoctorHome(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	var out, errs bytes.Buffer
	e := examine(t, &out, &errs, doctorOptions{report: filepath.Join(t.TempDir(), "report.txt")})
	e.report.LLVM.Path = home + "/llvm/libLLVM.so"
	e.report.Devices = append(e.report.Devices, doctor.Result{Device: "cpu", Here: true, Errors: []string{home + "/x: no such file"}})
	if err := errors.Join(e.keep(t.Context(), ""), e.print()); err == nil {
		t.Error("the device is not in order")
	}
	text, err := os.ReadFile(e.o.report)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{out.String(), string(text)} {
		if strings.Contains(page, home) || !strings.Contains(page, "~/llvm/libLLVM.so") || !strings.Contains(page, "~/x: no such file") {
			t.Errorf("printed\n%s", page)
		}
	}
}

// TestDoctorMetal: what a Mac says of its GPU is in the report.
func TestDoctorMetal(t *testing.T) {
	r := doctorReport{Metal: doctorMetal{Machine: &metal.GPU{
		Name: "Apple M3 Ultra", Architecture: "applegpu_g15d", System: "macOS 15.1", Families: []string{"Apple9", "Metal3"}, Unified: true,
		MaxBuffer: 200e9, WorkingSet: 400e9, Allocated: 1 << 20, ThreadgroupMemory: 32768,
	}}}
	var out bytes.Buffer
	if err := r.write(&out, style{}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Apple M3 Ultra, applegpu_g15d, macOS 15.1\n", "families      Apple9, Metal3\n", "unified memory, working set 400.0 GB recommended, 1.05 MB taken, buffers to 200.0 GB, threadgroup memory 32.8 kB\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// TestDoctorJSON: field names are a promise.
func TestDoctorJSON(t *testing.T) {
	text, err := json.Marshal(newDoctorReport())
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	for name, fields := range map[string]string{
		"version": "version revision time modified go os arch", "machine": "system kernel computer processor processors memory free_memory free_memory_known free_memory_source",
		"llvm": "path version cpu vector_f32 error", "metal": "machine error",
		"model": "path note name context chunk slots cache_rows cache_keys memory", "time": "", "devices": "", "auto": "", "ok": "", "unfinished": "",
	} {
		if top[name] == nil {
			t.Errorf("no field %s", name)
		}
		for field := range strings.FieldsSeq(fields) {
			if !strings.Contains(string(top[name]), `"`+field+`":`) {
				t.Errorf("%s has no field %s: %s", name, field, top[name])
			}
		}
	}
	if string(top["devices"]) != "[]" {
		t.Errorf("devices are %s", top["devices"])
	}
}

// TestDoctorAuto: the device that smelt run takes is told where it was found out.
func TestDoctorAuto(t *testing.T) {
	device := func(name string, here bool) doctor.Result { return doctor.Result{Device: name, Here: here, OK: here} }
	for _, c := range []struct {
		devices []doctor.Result
		want    string
	}{
		{[]doctor.Result{device("metal", true), device("cpu", true)}, "metal"},
		{[]doctor.Result{device("metal", false), device("cpu", true)}, "cpu"},
		{[]doctor.Result{device("metal", false), device("cpu", false)}, "reference"},
		{[]doctor.Result{device("cpu", true)}, ""},
		{[]doctor.Result{device("metal", false)}, ""},
	} {
		r := doctorReport{Devices: slices.Clone(c.devices)}
		if r.judge(); r.Auto != c.want || !r.OK {
			t.Errorf("%+v: %q, ok %v", c.devices, r.Auto, r.OK)
		}
	}
}

func TestDoctorRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"two models", []string{"a", "b"}, []string{"at most one CHECKPOINT or BUNDLE, got 2", "smelt doctor --help"}},
		{"another target", []string{"--device", "cpu", "--target", "metal"}, []string{"--target metal: the device cpu runs the kernels of cpu"}},
		{"no such device", []string{"--device", "gpu"}, []string{"--device gpu", "metal, cpu, cuda, standin"}},
		{"a device without kernels", []string{"--device", "reference"}, []string{"--device reference", "the others run no kernels"}},
		{"the stand-in without files", []string{"--device", "standin"}, []string{"--device standin", "name a CHECKPOINT"}},
		{"threads", []string{"--threads", "-1"}, []string{`--threads: found "-1", expected a whole number, 0 to`}},
		{"a folder as file", []string{"--report", "."}, []string{"--report: . is a folder"}},
		{"no folder", []string{"--report", "nowhere/x"}, []string{"--report: ", "make the folder first"}},
		{"no model", []string{"nowhere", "-o", filepath.Join(t.TempDir(), "x")}, []string{"nowhere"}},
	} {
		t.Run(c.name, func(t *testing.T) { smelt(t, "", append([]string{"doctor"}, c.args...)...).fails(t, c.want...) })
	}
}
