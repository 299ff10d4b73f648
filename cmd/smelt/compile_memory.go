package main

import (
	"fmt"
	"strconv"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/message"
)

// byteUnits are the suffixes of sizes, longest first.
var byteUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// maxMemory bounds sizes: more than any machine has, and sums of such sizes
// stay far from the end of int64.
const maxMemory = 1 << 60

// parseBytes reads a size such as 96GB, 107.5GiB or 128000000000B: a decimal number of
// at least one byte, and a unit. A number alone is no size: 192 bytes are not meant.
func parseBytes(s string) (int64, error) {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		number = strings.TrimSpace(number)
		v, err := strconv.ParseFloat(number, 64)
		if strings.Trim(number, "0123456789.e+") != "" || err != nil || v*u.bytes < 1 || v*u.bytes > maxMemory {
			break
		}
		return int64(v * u.bytes), nil
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil && v > 0 && strings.Trim(s, "0123456789.") == "" {
		return 0, fmt.Errorf("found %s, a number without a unit; expected %s or %s, for example, or %s if bytes are meant",
			message.Quote(s), message.Clip(s+"GB"), message.Clip(s+"GiB"), message.Clip(s+"B"))
	}
	return 0, fmt.Errorf("found %s, expected a size from 1 byte to %d TiB such as 96GB or 107.5GiB", message.Quote(s), int64(maxMemory)>>40)
}

// checkMemory refuses a bundle that takes more than --memory allows, before
// anything is written.
func (o *compileOptions) checkMemory(b *bundle.Bundle) error {
	if o.limit == 0 {
		return nil
	}
	m := b.Memory()
	if m.Peak() <= o.limit {
		return nil
	}
	advice := "the weights alone take more; no context fits"
	if fits := b.LargestContext(o.limit); fits > b.Plan.Chunk {
		advice = fmt.Sprintf("--context %d would fit", fits)
	} else if m.Weights < o.limit {
		advice = "no context fits with this chunk; try a smaller --chunk, or --cache fp8"
	}
	return fmt.Errorf("running takes %s (weights %s, caches %s, arena and step blocks %s), --memory allows %s: %s",
		bytesInWords(m.Peak()), bytesInWords(m.Weights), bytesInWords(m.Caches), bytesInWords(m.Arena+m.Steps), bytesInWords(o.limit), advice)
}
