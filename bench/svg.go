package bench

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"smelt.example/smelt/internal/output"
)

// The charts' text. Numbers come from the structs below, names through the
// template's escaping.
var (
	//go:embed svg/kernels.svg.tmpl
	kernelsText string
	//go:embed svg/run.svg.tmpl
	runText string
	//go:embed svg/style.css
	styleText string
)

// draw executes a template and writes what it gives, or nothing.
func draw(w io.Writer, name, text string, data any) error {
	t, err := template.New(name).Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(styleText) },
	}).Parse(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString(output.SVG.Mark())
	if err := t.Execute(&b, data); err != nil {
		return err
	}
	_, err = b.WriteTo(w)
	return err
}

// Sizes of the kernels' chart, in pixels.
const (
	chartWidth  = 980
	barsWidth   = 440
	barHeight   = 22
	headHeight  = 96
	stepGap     = 84
	mostKernels = 16 // of a step; the others are one bar
)

// kernelChart has the data of kernels.svg.tmpl.
type kernelChart struct {
	Width, Height int
	Title, Note   string
	Steps         []stepChart
}

type stepChart struct {
	Y           int
	Title, Note string
	Bars        []bar
	Lines       []bar // below them, of which there is only the label
}

// bar is a kernel: as long as its share of the time, filled as far as it uses
// what bounds it.
type bar struct {
	Y            int
	Name         string
	Length, Used float64
	Memory       bool // bound by reading, not by computing
	Label        string
}

// WriteSVG draws the steps' time by kernel: each bar is a share of the time, its
// filled part what it uses of the machine.
func (r *KernelReport) WriteSVG(w io.Writer) error {
	c := kernelChart{Width: chartWidth, Title: r.Model.title(), Note: r.Machine.title()}
	y := headHeight
	for _, s := range r.Steps {
		chart := s.chart(y)
		c.Steps = append(c.Steps, chart)
		y += stepGap + (len(chart.Bars)+len(chart.Lines))*barHeight
	}
	c.Height = y
	return draw(w, "kernels", kernelsText, c)
}

func (m Model) title() string {
	return fmt.Sprintf("%s, %s, %s of weights, caches %s", m.Name, m.Layout, inBytes(m.Weights), m.Cache)
}

func (m Machine) title() string {
	parts := []string{m.System, m.Processor, m.Device}
	if m.Processor == "" {
		parts = []string{m.System, m.Device}
	}
	return strings.Join(parts, ", ")
}

// Title says what step it is.
func (s *Step) Title() string {
	if s.Kind == "decode" {
		return fmt.Sprintf("decode, rows: %d, context: %d", s.Rows, s.Context)
	}
	return fmt.Sprintf("%s, rows: %d, context: %d", s.Kind, s.Rows, s.Context)
}

func (s *Step) chart(y int) stepChart {
	c := stepChart{Y: y, Title: fmt.Sprintf("%s: %s", s.Title(), InTime(s.Whole.Median))}
	c.Note = fmt.Sprintf("machine: %.1f GB/s read, %.0f GFLOP/s; one by one %s, %.1f %% of it outside kernels", s.Machine.Read/1e9, s.Machine.Flops/1e9, InTime(s.OneByOne.Median), 100*s.Outside)
	shown := s.Kernels
	if len(shown) > mostKernels {
		shown = append(append([]Kernel(nil), shown[:mostKernels-1]...), s.others(mostKernels-1))
	}
	longest := 0.0
	for _, k := range shown {
		longest = max(longest, k.Share)
	}
	for i, k := range shown {
		used := min(max(k.OfRead, k.OfPeak), 1)
		length := barsWidth * k.Share / longest
		c.Bars = append(c.Bars, bar{
			Y: y + 34 + i*barHeight, Name: k.Name, Length: round1(length), Used: round1(length * used), Memory: k.OfRead >= k.OfPeak,
			Label: fmt.Sprintf("%.1f %%, %s", 100*k.Share, k.bound()),
		})
	}
	for _, text := range s.Marks() {
		c.Lines = append(c.Lines, bar{Y: y + 34 + (len(c.Bars)+len(c.Lines))*barHeight, Label: text})
	}
	return c
}

// bound says what a kernel uses most of.
func (k *Kernel) bound() string {
	if k.OfRead >= k.OfPeak {
		return fmt.Sprintf("%.1f GB/s (%.0f %%)%s", k.BytesPerSecond/1e9, 100*k.OfRead, k.Mark())
	}
	return fmt.Sprintf("%.1f GFLOP/s (%.0f %%)%s", k.FlopsPerSecond/1e9, 100*k.OfPeak, k.Mark())
}

// others is the sum of the kernels from the n-th on.
func (s *Step) others(n int) Kernel {
	return s.sum(fmt.Sprintf("%d others", len(s.Kernels)-n), s.Kernels[n:])
}

func inBytes(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

func round1(x float64) float64 { return math.Round(10*x) / 10 }

// InTime writes seconds in a unit that leaves a whole part.
func InTime(seconds float64) string {
	switch {
	case seconds >= 1:
		return fmt.Sprintf("%.2f s", seconds)
	case seconds >= 1e-3:
		return fmt.Sprintf("%.2f ms", 1e3*seconds)
	}
	return fmt.Sprintf("%.1f µs", 1e6*seconds)
}
