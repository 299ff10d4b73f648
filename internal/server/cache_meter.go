package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"smelt.example/smelt/internal/server/engine"
)

// cacheMeter gives the figures of what is kept of prompts and texts, as the engine has them.
type cacheMeter struct{ now func() engine.Cache }

// cacheFigure is one of them.
type cacheFigure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(engine.Cache) float64
}

func cacheDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("smelt_cache_"+name, help, labels, nil)
}

// cacheFigures lists those without labels.
func cacheFigures() []cacheFigure {
	gauge := func(name, help string, value func(engine.Cache) float64) cacheFigure {
		return cacheFigure{cacheDesc(name, help), prometheus.GaugeValue, value}
	}
	counter := func(name, help string, value func(engine.Cache) float64) cacheFigure {
		return cacheFigure{cacheDesc(name, help), prometheus.CounterValue, value}
	}
	return []cacheFigure{
		gauge("bytes", "Memory that kept prompts and texts take.", func(c engine.Cache) float64 { return float64(c.Bytes) }),
		gauge("room_bytes", "Memory that they may take.", func(c engine.Cache) float64 { return float64(c.Room) }),
		gauge("pages", "Pieces of texts that are kept.", func(c engine.Cache) float64 { return float64(c.Pages) }),
		gauge("frontiers", "Places that texts can be gone on from.", func(c engine.Cache) float64 { return float64(c.Frontiers) }),
		counter("restored_tokens_total", "Tokens that were copied into slots in place of reading them.", func(c engine.Cache) float64 { return float64(c.Reused) }),
		counter("restore_seconds_total", "Time that took.", func(c engine.Cache) float64 { return c.Restoring.Seconds() }),
		counter("evictions_total", "Places that went to make room.", func(c engine.Cache) float64 { return float64(c.Evictions) }),
		counter("refused_total", "Places that found no room.", func(c engine.Cache) float64 { return float64(c.Refused) }),
		counter("dropped_total", "Places that went because a step failed.", func(c engine.Cache) float64 { return float64(c.Dropped) }),
	}
}

var (
	cacheHits = cacheDesc("hits_total", "Prompts that went on from what was there: in their slot, or from a place of a kind.", "kind")
	cacheEnds = cacheDesc("ends_total", "Prompts by the reason why no more of them was there.", "reason")
)

// Describe tells what there is.
func (cacheMeter) Describe(to chan<- *prometheus.Desc) {
	for _, f := range cacheFigures() {
		to <- f.desc
	}
	to <- cacheHits
	to <- cacheEnds
}

// Collect gives the figures as they are.
func (m cacheMeter) Collect(to chan<- prometheus.Metric) {
	c := m.now()
	for _, f := range cacheFigures() {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(c))
	}
	for desc, counts := range map[*prometheus.Desc]map[string]uint64{cacheHits: c.Hits, cacheEnds: c.Ends} {
		for label, n := range counts {
			to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), label)
		}
	}
}
