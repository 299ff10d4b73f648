package bench

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// runColumns are ds4-bench's, so that curves can be laid over each other, with
// the number of texts side by side behind them. Its gen_* count the tokens of
// all texts.
var runColumns = []string{
	"ctx_tokens", "prefill_tokens", "prefill_tps", "gen_tokens", "gen_tps", "gen_first_ms",
	"gen_steady_tokens", "gen_steady_tps", "kvcache_bytes", "rows",
}

// WriteCSV writes a line for each frontier and number of rows.
func (r *RunReport) WriteCSV(w io.Writer) error {
	lines := [][]string{runColumns}
	for _, f := range r.Frontiers {
		for _, d := range f.Decode {
			lines = append(lines, []string{
				strconv.Itoa(f.Context), strconv.Itoa(f.PrefillTokens), fixed(f.TokensPerSecond, 2),
				strconv.Itoa(d.Rows * d.Tokens), fixed(d.TokensPerSecond, 2), fixed(1e3*d.First, 3),
				strconv.Itoa(d.Rows * (d.Tokens - 1)), fixed(d.Steady, 2), strconv.FormatInt(f.CacheBytes, 10), strconv.Itoa(d.Rows),
			})
		}
	}
	return writeLines(w, lines)
}

var kernelColumns = []string{
	"kind", "rows", "context", "kernel", "dispatches", "median_us", "p10_us", "p90_us", "share", "bytes", "flops",
	"bytes_per_second", "flops_per_second", "share_of_read", "share_of_peak", "cold", "cached", "above", "share_of_copy", "threadgroups", "threads", "registers", "spilled_bytes",
}

// WriteCSV writes a line for each kernel of each step.
func (r *KernelReport) WriteCSV(w io.Writer) error {
	lines := [][]string{kernelColumns}
	for _, s := range r.Steps {
		for _, k := range s.Kernels {
			lines = append(lines, []string{
				s.Kind, strconv.Itoa(s.Rows), strconv.Itoa(s.Context), k.Name, strconv.Itoa(k.Dispatches),
				fixed(1e6*k.Seconds.Median, 1), fixed(1e6*k.Seconds.P10, 1), fixed(1e6*k.Seconds.P90, 1), fixed(k.Share, 4),
				strconv.FormatInt(k.Bytes, 10), strconv.FormatInt(k.Flops, 10),
				fixed(k.BytesPerSecond, 0), fixed(k.FlopsPerSecond, 0), fixed(k.OfRead, 4), fixed(k.OfPeak, 4), strconv.FormatBool(s.Cold), strconv.FormatBool(k.Cached), strconv.FormatBool(k.Above), fixed(k.OfCopy, 4),
				strconv.FormatInt(k.Threadgroups, 10), strconv.Itoa(k.Threads), strconv.Itoa(k.Registers), strconv.Itoa(k.Spilled),
			})
		}
	}
	return writeLines(w, lines)
}

func fixed(x float64, decimals int) string { return strconv.FormatFloat(x, 'f', decimals, 64) }

func writeLines(w io.Writer, lines [][]string) error {
	c := csv.NewWriter(w)
	if err := c.WriteAll(lines); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}
