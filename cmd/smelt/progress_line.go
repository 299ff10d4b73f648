package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"smelt.example/smelt/internal/progress"
)

// inWords is a line of a pipe, without the end: what goes on, the outermost first.
func inWords(now time.Time, open []*phase) string {
	var parts []string
	for _, p := range open {
		text := p.name
		if count := p.count(); count != "" {
			text += " " + count
		}
		parts = append(parts, text)
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, ": "), spent(now.Sub(open[0].began)))
}

// The bar of a line; narrower ones say less than the number beside them.
const (
	leastBar = 8
	mostBar  = 32
)

// inColumns is a terminal's line in so many columns at most: what goes on, a bar and
// figures as far as there is room. The innermost phase has the figures.
func inColumns(now time.Time, open []*phase, most int) string {
	p := open[len(open)-1]
	name := p.name
	for i := len(open) - 2; i >= 0; i-- {
		outer := open[i].name
		if n := open[i].total; n > 1 {
			outer += fmt.Sprintf(" %d/%d", int64(open[i].reached()), n)
		}
		name = outer + ": " + name
	}
	share, known := p.share()
	if !known {
		return firstFitting(most, p.name,
			join("  ", name, spinner(now.Sub(p.began)), p.count(), spent(now.Sub(p.began))),
			join("  ", name, spinner(now.Sub(p.began)), spent(now.Sub(p.began))),
			join("  ", p.name, spent(now.Sub(p.began))))
	}
	percent := fmt.Sprintf("%3.0f %%", math.Floor(100*share))
	time := cmp.Or(p.left(now), spent(now.Sub(p.began)))
	lines := []string{}
	for _, figures := range []string{join(", ", p.count(), p.speed(now), time), join(", ", p.count(), time), p.count(), ""} {
		room := most - utf8.RuneCountInString(join("  ", name, percent, figures)) - len("  ")
		if room >= leastBar {
			lines = append(lines, join("  ", name, bar(min(room, mostBar), share), percent, figures))
		}
	}
	return firstFitting(most, p.name, append(lines, join("  ", name, percent), join(" ", p.name, strings.TrimSpace(percent)))...)
}

// firstFitting is the first of some lines that fits, or what there is room for of a
// name.
func firstFitting(most int, name string, lines ...string) string {
	for _, line := range lines {
		if utf8.RuneCountInString(line) <= most {
			return line
		}
	}
	runes := []rune(name)
	switch {
	case most < 1:
		return ""
	case len(runes) <= most:
		return name
	}
	return string(runes[:most-1]) + "…"
}

// join puts parts together, but for empty ones.
func join(between string, parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, between)
}

// bar draws a share of 1.
func bar(width int, share float64) string {
	full := int(share * float64(width))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// spinner moves where nothing else would.
func spinner(t time.Duration) string {
	const frames = `|/-\`
	i := int(t/(2*tick)) % len(frames)
	return frames[i : i+1]
}

// share is how much of the phase is done, from 0 to 1; known is false where nobody
// knows how much there is.
func (p *phase) share() (share float64, known bool) {
	if p.total <= 0 {
		return 0, false
	}
	return min(max(p.reached()/float64(p.total), 0), 1), true
}

// count is what is done and what there is: "3 of 12 kernels", "1.20 GB".
func (p *phase) count() string {
	done := int64(p.reached())
	switch {
	case p.unit == "" || done == 0 && p.total <= 0:
		return ""
	case p.unit == progress.Bytes && p.total > 0:
		return bytesInWords(done) + " of " + bytesInWords(p.total)
	case p.unit == progress.Bytes:
		return bytesInWords(done)
	case p.total > 0:
		return fmt.Sprintf("%s of %s %s", grouped(done), grouped(p.total), p.unit)
	}
	return grouped(done) + " " + p.unit
}

// settled is how long a phase goes on before its speed means something.
const settled = 2 * time.Second

// speed is told of bytes and tokens, which are all alike.
func (p *phase) speed(now time.Time) string {
	seconds := now.Sub(p.began).Seconds()
	done := p.reached()
	switch {
	case seconds < settled.Seconds() || done < 1:
		return ""
	case p.unit == progress.Bytes:
		return bytesInWords(int64(done/seconds)) + "/s"
	case p.unit == progress.Tokens:
		return fmt.Sprintf("%.1f tokens/s", done/seconds)
	}
	return ""
}

// left is the time that the rest takes if it goes on as it went.
func (p *phase) left(now time.Time) string {
	spentSo := now.Sub(p.began)
	share, _ := p.share()
	if spentSo < settled || share <= 0 || share >= 1 {
		return ""
	}
	rest := spentSo.Seconds() * (1 - share) / share
	if rest > 100*24*time.Hour.Seconds() {
		return "" // nobody waits for it
	}
	return spent(time.Duration(rest*float64(time.Second))) + " left"
}

// spent is a time in whole seconds: "45 s", "3 min 20 s", "2 h 5 min".
func spent(t time.Duration) string {
	s := int(t.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
}
