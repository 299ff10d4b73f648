package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Sizes of a panel of the runs' chart, in pixels.
const (
	panelLeft   = 72
	panelTop    = 120
	panelWidth  = 360
	panelHeight = 260
	panelGap    = 480
)

// runChart has the data of run.svg.tmpl: prefill on the left, decode on the right.
type runChart struct {
	Width, Height int
	Title, Note   string
	Panels        []panel
}

type panel struct {
	X, Y, Width, Height int
	Title               string
	Across, Up          []tick // along the axes
	Lines               []line
}

type tick struct {
	At    float64
	Label string
}

type line struct {
	Class  string // "s0" and so on, by number
	Points string
	Dots   []dot
	Label  string
	LabelY float64
	LabelX float64
}

type dot struct {
	X, Y  float64
	Title string // shown where the pointer is
}

// series is a line's values, one for each frontier.
type series struct {
	label  string
	values []float64
}

// WriteSVG draws tokens per second over the length of the text: prefill of each
// interval, and decode for each number of rows.
func (r *RunReport) WriteSVG(w io.Writer) error {
	prefill := series{label: "one text"}
	var decode []series
	for _, f := range r.Frontiers {
		prefill.values = append(prefill.values, f.TokensPerSecond)
		for i, d := range f.Decode {
			if len(decode) == i {
				decode = append(decode, series{label: rowsLabel(d.Rows)})
			}
			decode[i].values = append(decode[i].values, d.TokensPerSecond)
		}
	}
	c := runChart{Width: chartWidth, Height: panelTop + panelHeight + 64, Title: r.Model.title(), Note: r.Machine.title()}
	c.Panels = []panel{
		r.panel(panelLeft, "prefill, tokens a second", []series{prefill}),
		r.panel(panelLeft+panelGap, "decode, tokens a second of all texts together", decode),
	}
	return draw(w, "run", runText, c)
}

func rowsLabel(rows int) string {
	if rows == 1 {
		return "1 text"
	}
	return fmt.Sprintf("%d texts", rows)
}

// panel draws some series from zero up, over the logarithm of the length.
func (r *RunReport) panel(x int, title string, all []series) panel {
	p := panel{X: x, Y: panelTop, Width: panelWidth, Height: panelHeight, Title: title}
	top := 0.0
	for _, s := range all {
		for _, v := range s.values {
			top = max(top, v)
		}
	}
	top = roundUp(top)
	first, last := float64(r.Frontiers[0].Context), float64(r.Frontiers[len(r.Frontiers)-1].Context)
	across := func(context int) float64 {
		if first == last {
			return round1(float64(x) + panelWidth/2)
		}
		return round1(float64(x) + panelWidth*math.Log(float64(context)/first)/math.Log(last/first))
	}
	up := func(v float64) float64 { return round1(panelTop + panelHeight*(1-v/top)) }
	for i := range 5 {
		v := top * float64(i) / 4
		p.Up = append(p.Up, tick{up(v), fmt.Sprintf("%.4g", v)})
	}
	every := (len(r.Frontiers) + 7) / 8
	for i, f := range r.Frontiers {
		if i%every == 0 {
			p.Across = append(p.Across, tick{across(f.Context), fmt.Sprint(f.Context)})
		}
	}
	for n, s := range all {
		l := line{Class: fmt.Sprintf("s%d", n%6), Label: s.label}
		var points []string
		for i, v := range s.values {
			d := dot{across(r.Frontiers[i].Context), up(v), fmt.Sprintf("%s, %d tokens: %.1f a second", s.label, r.Frontiers[i].Context, v)}
			points = append(points, fmt.Sprintf("%g,%g", d.X, d.Y))
			l.Dots = append(l.Dots, d)
			l.LabelX, l.LabelY = d.X+8, d.Y+4
		}
		l.Points = strings.Join(points, " ")
		p.Lines = append(p.Lines, l)
	}
	spreadLabels(p.Lines)
	return p
}

// labelHeight is the room a label takes.
const labelHeight = 14

// spreadLabels moves labels down until none lies on another.
func spreadLabels(lines []line) {
	order := make([]*line, len(lines))
	for i := range lines {
		order[i] = &lines[i]
	}
	slices.SortStableFunc(order, func(a, b *line) int { return cmp.Compare(a.LabelY, b.LabelY) })
	for i := 1; i < len(order); i++ {
		order[i].LabelY = max(order[i].LabelY, order[i-1].LabelY+labelHeight)
	}
}

// roundUp is the next of 1, 2, 4, 5, 8 and 10 times a power of ten.
func roundUp(x float64) float64 {
	if x <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, n := range []float64{1, 2, 4, 5, 8} {
		if x <= n*power {
			return n * power
		}
	}
	return 10 * power
}
