package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/turn"
)

// meter counts for /metrics.
type meter struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	left     prometheus.Counter
	tokens   *prometheus.CounterVec
	texts    *prometheus.CounterVec
	first    prometheus.Histogram
	between  prometheus.Histogram
	queued   prometheus.Histogram
	prompt   prometheus.Histogram

	mu   sync.Mutex
	open int // texts that run or wait
}

// newMeter makes a meter for a server with so many slots.
func newMeter(slots func() int, cache func() engine.Cache) *meter {
	seconds := prometheus.ExponentialBuckets(0.001, 2, 20) // 1 ms to 524 s
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "smelt_" + name, Help: help, Buckets: seconds})
	}
	m := &meter{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "smelt_requests_total", Help: "Requests by endpoint and status."}, []string{"endpoint", "code"}),
		left:     prometheus.NewCounter(prometheus.CounterOpts{Name: "smelt_cancelled_requests_total", Help: "Requests whose client left before the end."}),
		tokens:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "smelt_tokens_total", Help: "Tokens of texts that ended: of prompts, of those the cached ones, and generated."}, []string{"kind"}),
		texts:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "smelt_texts_total", Help: "Texts by how they ended."}, []string{"finish"}),
		first:    histogram("first_token_seconds", "Time from a text's start to its first token."),
		between:  histogram("token_seconds", "Mean time between the tokens of a text."),
		queued:   histogram("queue_seconds", "Time that texts waited for a slot."),
		prompt:   histogram("prompt_seconds", "Time that reading a text's prompt took."),
	}
	gauge := func(name, help string, value func(open, slots int) int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "smelt_" + name, Help: help}, func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			return float64(value(m.open, slots()))
		})
	}
	m.registry.MustRegister(m.requests, m.left, m.tokens, m.texts, m.first, m.between, m.queued, m.prompt, cacheMeter{cache},
		gauge("active_texts", "Texts that have a slot.", func(open, slots int) int { return min(open, slots) }),
		gauge("waiting_texts", "Texts that wait for a slot.", func(open, slots int) int { return max(open-slots, 0) }))
	return m
}

// TextBegins is told of each text.
func (m *meter) TextBegins() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
}

// TextEnds is told what it came to.
func (m *meter) TextEnds(e *turn.End) {
	m.mu.Lock()
	m.open--
	m.mu.Unlock()
	finish := e.Reason.String()
	if errors.Is(e.Err, context.Canceled) {
		finish = "cancelled"
	}
	m.texts.WithLabelValues(finish).Inc()
	u := e.Usage
	for kind, n := range map[string]int{"prompt": u.Prompt, "cached": u.Cached, "generated": u.Completion} {
		m.tokens.WithLabelValues(kind).Add(float64(n))
	}
	if u.Completion == 0 {
		return
	}
	m.first.Observe(e.Times.First.Seconds())
	m.queued.Observe(e.Times.Queued.Seconds())
	m.prompt.Observe(e.Times.Prompt.Seconds())
	if u.Completion > 1 {
		rest := e.Times.Total - e.Times.First
		m.between.Observe((rest / time.Duration(u.Completion-1)).Seconds())
	}
}

// request counts a request that has ended.
func (m *meter) request(endpoint string, code int, left bool) {
	m.requests.WithLabelValues(endpoint, strconv.Itoa(code)).Inc()
	if left {
		m.left.Inc()
	}
}

// metrics answers in Prometheus' text format.
func (s *Server) metrics(c *api.Call) error {
	families, err := s.meter.registry.Gather()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return err
		}
	}
	c.SetHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	return c.Raw(http.StatusOK, b.Bytes())
}
