package doctor_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/doctor"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// compiled is a fixture with layers of all kinds, for short texts.
type compiled struct {
	*bundle.Bundle
	model *models.Model
}

func compile(t *testing.T) compiled {
	t.Helper()
	dir := filepath.Join("../models/deepseekv4/testdata/fixtures/b-official-fp8fp4")
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Lean: true, Formats: passes.Formats{Rows: "f32", Keys: "f32"}, Context: 44, Chunk: 24, Slots: 2, Wanted: 3})
	if err != nil {
		t.Fatal(err)
	}
	return compiled{b, m}
}

// reflection is a mirror that may not close.
type reflection struct {
	*devicetest.Mirror
	closing error
	company int // rows of a decode step that notice each other
}

// Decode has the first wanted row notice its company.
func (d reflection) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	logits, err := d.Mirror.Decode(rows, wanted)
	if err == nil && len(rows) == d.company {
		logits[3] = math.Nextafter32(logits[3], 1)
	}
	return logits, err
}

func (d reflection) Close() error { return d.closing }

// check checks mirrors of the fixture, each prepared by a function that is told
// whether the device is observed.
func (c compiled) check(t *testing.T, prepare func(d *reflection, observed bool)) doctor.Result {
	t.Helper()
	r, err := doctor.Check(t.Context(), c.subject(t, prepare), c.model.Weights)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c compiled) subject(t *testing.T, prepare func(d *reflection, observed bool)) doctor.Subject {
	return doctor.Subject{
		Name:  "mirror",
		Notes: func(device.Planned) []string { return []string{"made of glass"} },
		Open: func(observe func(string, []byte)) (device.Planned, error) {
			m, err := devicetest.NewMirror(c.Bundle, c.model.Weights)
			if err != nil {
				return nil, err
			}
			m.Observe = observe
			d := &reflection{Mirror: m}
			prepare(d, observe != nil)
			return d, nil
		},
	}
}

func TestHealthy(t *testing.T) {
	c := compile(t)
	s := c.subject(t, func(*reflection, bool) {})
	var steps []int
	total := 0
	s.Progress = func(done, of int) { steps, total = append(steps, done), of }
	r, err := doctor.Check(t.Context(), s, c.model.Weights)
	if err != nil || !r.OK || !r.Here || len(r.Errors) != 0 || r.Whole != 0 || r.Steps == 0 || len(r.Notes) != 1 || len(r.Kernels) != len(c.Plan.Kernels) {
		t.Fatalf("%+v (%v)", r, err)
	}
	for _, k := range r.Kernels {
		if !k.Ran || !k.OK || k.Trouble != "" || k.Values == 0 && len(k.Through) == 0 {
			t.Errorf("%+v", k)
		}
	}
	if len(steps) != total || steps[0] != 0 || steps[len(steps)-1] != total-1 {
		t.Errorf("progress %v of %d", steps, total)
	}
	text, err := json.Marshal(r)
	if err != nil || strings.Contains(string(text), "null") {
		t.Errorf("%s (%v)", text, err)
	}
	for _, field := range []string{"device", "here", "reason", "ok", "errors", "notes", "opening_seconds", "whole_steps_difference", "steps", "rows_side_by_side", "prefill", "decode", "kernels",
		"name", "ran", "values", "through", "difference", "turned", "seconds", "trouble", "rows", "gpu_seconds"} {
		if !strings.Contains(string(text), `"`+field+`":`) {
			t.Errorf("no field %s in %s", field, text)
		}
	}
}

// TestWrong: what is wrong is reported with the kernel's name, and nothing else is.
func TestWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: examines a model many times")
	}
	c := compile(t)
	bits := func(x float32) func([]byte) {
		return func(d []byte) { binary.LittleEndian.PutUint32(d, math.Float32bits(x)) }
	}
	for _, x := range sample.Short(t, []struct {
		name, value string
		whole       bool // only in whole steps
		change      func(data []byte)
		says        []string
	}{
		{"a number", "%layer2.after_attn", false, bits(77), []string{"kernel attn_hyper_write_prefill: ", "%layer2.after_attn[row 0, element 0] is 77, expected "}},
		{"not a number", "%final_normed", false, bits(float32(math.NaN())), []string{"kernel hc_head_hyper_read_prefill: ", " is NaN, expected ", "(or what it reads of hc_head_hyper_write_prefill, unseen otherwise)"}},
		{"a token", "tokens", false, func(d []byte) { d[0]++ }, []string{"kernel sample_prefill: ", "was picked, expected "}},
		{"a score", "scores", false, bits(-0.5), []string{"kernel score_prefill: ", " scores -0.5, expected "}},
		{"no number in whole steps", "%logits", true, bits(float32(math.Inf(1))), []string{"whole steps give other logits", "some are finite on one side alone"}},
		{"only in whole steps", "%logits", true, bits(-50), []string{"whole steps give other logits than their kernels one by one"}},
	}, 2) {
		t.Run(x.name, func(t *testing.T) {
			r := c.check(t, func(d *reflection, observed bool) {
				d.Fault = func(step int, name string, data []byte) {
					asked := step == 1 || x.value == "scores" && step == 2 // the first step is not scored
					if asked && name == x.value && !(x.whole && observed) {
						x.change(data)
					}
				}
			})
			if r.OK || len(r.Errors) != 1 {
				t.Fatalf("ok %v, errors %q", r.OK, r.Errors)
			}
			for _, want := range x.says {
				if !strings.Contains(r.Errors[0], want) {
					t.Errorf("it says %q, expected %q", r.Errors[0], want)
				}
			}
		})
	}
}

// TestCompany: a row that notices the others in its step is reported with how many there
// were, and one that does not is not.
func TestCompany(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles two models, and examines them four times")
	}
	c := compile(t)
	r := c.check(t, func(*reflection, bool) {})
	if !r.OK || !slices.Equal(r.Company, []int{1, 2}) {
		t.Errorf("ok %v, side by side %v: %q", r.OK, r.Company, r.Errors)
	}
	b, _, err := bundle.Compile(bundle.SourceOf(c.model), bundle.Options{Lean: true, Formats: passes.Formats{Rows: "f32", Keys: "f32"}, Context: 60, Chunk: 40, Slots: 5, Wanted: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name  string
		rows  int // of the decode steps whose logits change
		wrong []string
	}{
		{"sound", 0, nil},
		{"two", 2, []string{"2 texts side by side: in a decode step 1 of 2 have other logits than alone"}},
		{"five", 5, []string{"5 texts side by side: in a decode step 1 of 3 have other logits than alone"}},
	} {
		r := (compiled{b, c.model}).check(t, func(d *reflection, observed bool) {
			if x.rows > 0 && !observed {
				d.company = x.rows
			}
		})
		if !slices.Equal(r.Company, []int{1, 2, 4, 5}) || !slices.Equal(r.Errors, x.wrong) && len(x.wrong)+len(r.Errors) > 0 {
			t.Errorf("%s: side by side %v, %q; expected %q", x.name, r.Company, r.Errors, x.wrong)
		}
	}
}

// TestOrder: what was found first comes first, whatever the kernels' names.
func TestOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: examines a model many times")
	}
	r := compile(t).check(t, func(d *reflection, _ bool) {
		d.Fault = func(step int, name string, data []byte) {
			if step == 1 && (name == "%layer1.after_ffn" || name == "%layer0.after_attn" || name == "%logits") {
				binary.LittleEndian.PutUint32(data, math.Float32bits(99))
			}
		}
	})
	if len(r.Errors) != 3 || !strings.Contains(r.Errors[0], "layer0.after_attn") || !strings.Contains(r.Errors[1], "layer1.after_ffn") || !strings.Contains(r.Errors[2], "logits") {
		t.Errorf("%q", r.Errors)
	}
}

// TestFailures: a device that fails is reported in full, each way it was run.
func TestFailures(t *testing.T) {
	c := compile(t)
	absent := errors.New("not on this machine")
	opens := func(errs ...error) doctor.Subject {
		s := c.subject(t, func(*reflection, bool) {})
		open, i := s.Open, 0
		s.Absent = absent
		s.Open = func(observe func(string, []byte)) (device.Planned, error) {
			if i++; errs[i-1] != nil {
				return nil, errs[i-1]
			}
			return open(observe)
		}
		return s
	}
	worded := func(s doctor.Subject) doctor.Subject {
		s.Text = func(err error) string { return option.Text(err, func(option.Name) string { return "--allow-paging" }) }
		return s
	}
	for _, x := range sample.Short(t, []struct {
		name    string
		subject doctor.Subject
		here    bool
		reason  string
		errors  []string
	}{
		{"not here", opens(errors.Join(absent, errors.New("it was sold"))), false, "not on this machine\nit was sold", nil},
		{"does not open", opens(errors.New("line 3: no such type")), true, "", []string{"the device does not open: line 3: no such type"}},
		{"has no room", worded(opens(option.Errorf("give %s", option.Name("AllowPaging")))), true, "", []string{"the device does not open: give --allow-paging"}},
		{"opens once", opens(nil, errors.New("memory ran out")), true, "", []string{"the device does not open: memory ran out"}},
		{"fails whole", c.subject(t, func(d *reflection, observed bool) {
			if !observed {
				d.Fail = 2
			}
		}), true, "", []string{"in whole steps: the device is on fire"}},
		{"fails", c.subject(t, func(d *reflection, _ bool) { d.Fail = 2 }), true, "", []string{"in whole steps: the device is on fire", "kernel by kernel: the device is on fire"}},
		{"does not close", c.subject(t, func(d *reflection, observed bool) {
			if observed {
				d.closing = errors.New("it is stuck")
			}
		}), true, "", []string{"kernel by kernel: the device does not close: it is stuck"}},
	}, 3) {
		t.Run(x.name, func(t *testing.T) {
			r, err := doctor.Check(t.Context(), x.subject, c.model.Weights)
			if err != nil || r.OK || r.Here != x.here || r.Reason != x.reason || strings.Join(r.Errors, "; ") != strings.Join(x.errors, "; ") {
				t.Errorf("ok %v, here %v, reason %q, errors %q (%v)", r.OK, r.Here, r.Reason, r.Errors, err)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	c := compile(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := c.subject(t, func(*reflection, bool) {})
	s.Progress = func(done, _ int) {
		if done == 3 {
			cancel()
		}
	}
	if _, err := doctor.Check(ctx, s, c.model.Weights); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
