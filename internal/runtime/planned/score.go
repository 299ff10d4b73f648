package planned

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// ScorePrefill is Prefill that scores the wanted rows' targets. No logits are copied.
func (d *Device) ScorePrefill(rows []ir.Row, wanted []int, targets []int32, scores []float32) error {
	if len(targets) != len(wanted) || len(scores) != len(wanted) {
		return fmt.Errorf("%d targets and room for %d scores, for %d wanted rows", len(targets), len(scores), len(wanted))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.steps[program.Prefill]
	if s.plan.Scores == nil {
		return errors.New("the bundle's module returns no logits to score tokens by")
	}
	if err := d.take(s, asked{rows: rows, wanted: wanted, targets: targets}); err != nil {
		return err
	}
	out, err := d.read(d.arena+Address(s.plan.Scores.Offset), 4*int64(len(wanted)))
	if err != nil {
		return err
	}
	for i, t := range targets {
		if t >= 0 {
			scores[i] = math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:]))
		}
	}
	return nil
}
