package planned

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/runtime/sampling"
)

// Score is device.Scorer's. As many asks run at once as a step picks tokens.
func (d *Device) Score(asks []program.Ask, scores []device.Score) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if len(asks) != len(scores) {
		return fmt.Errorf("room for %d scores, of %d tokens", len(scores), len(asks))
	}
	if p := d.ahead.picking; len(p) > 0 && len(p[len(p)-1].asks) > 0 {
		return errors.New("tokens of the step are being scored already")
	}
	d.ahead.awaited = picked{} // its scores may lie where these go
	for len(asks) > 0 {
		n := min(len(asks), program.MaxSampled)
		if s := d.last.step; s != nil {
			n = min(n, s.plan.Params.Sampled)
		}
		if err := d.beginScore(asks[:n]); err != nil {
			return err
		}
		if err := d.wait(d.ahead.starts); err != nil {
			return err
		}
		if err := d.scores(d.ahead.set, asks[:n], scores[:n]); err != nil {
			return err
		}
		asks, scores = asks[n:], scores[n:]
	}
	return nil
}

// beginScore begins the dispatches that score tokens of the last step.
func (d *Device) beginScore(asks []program.Ask) error {
	s := d.last.step
	if s == nil {
		return errors.New("no step ran whose tokens could be scored")
	}
	for _, a := range asks {
		if a.Token < 0 && int(a.Row) >= d.last.picked {
			return fmt.Errorf("the score of the token picked for row %d; the step picked %d", a.Row, d.last.picked)
		}
	}
	if err := s.filler.Score(s.block, d.ahead.set, asks); err != nil {
		return err
	}
	if err := s.use(s.plan.Scoring(), len(s.plan.Dispatches)); err != nil {
		return err
	}
	return d.note(s.launch(s.plan.Scoring(), len(s.plan.Dispatches)))
}

// BeginScore is device.ScoringRunner's.
func (d *Device) BeginScore(asks []program.Ask) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	a := &d.ahead
	if a.open != nil || len(a.picking) == 0 || a.picking[len(a.picking)-1].set != a.set {
		return errors.New("no step was begun last whose tokens are being picked")
	}
	p := &a.picking[len(a.picking)-1]
	if len(p.asks) > 0 || len(asks) == 0 || len(asks) > p.n {
		return fmt.Errorf("%d tokens to score, of a step that picks %d and of which %d are scored", len(asks), p.n, len(p.asks))
	}
	if err := d.beginScore(asks); err != nil {
		return err
	}
	p.start = a.starts
	a.asks[p.set] = append(a.asks[p.set][:0], asks...)
	p.asks = a.asks[p.set]
	return nil
}

// AwaitScore is device.ScoringRunner's.
func (d *Device) AwaitScore(scores []device.Score) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	p := d.ahead.awaited
	if len(p.asks) == 0 || len(p.asks) != len(scores) {
		return fmt.Errorf("room for %d scores: the step whose tokens were waited for last has %d", len(scores), len(p.asks))
	}
	d.ahead.awaited = picked{}
	return d.scores(p.set, p.asks, scores)
}

// scores reads a set.
func (d *Device) scores(set int, asks []program.Ask, scores []device.Score) error {
	const bytes = 4 * program.ScoreWords
	at := d.last.step.plan.Scores.Offset + int64(bytes*set*program.MaxSampled)
	out, err := d.read(d.arena+Address(at), int64(bytes*len(asks)))
	if err != nil {
		return err
	}
	for i, a := range asks {
		of := out[bytes*i:][:bytes]
		pair := func(n int) sampling.Probable {
			word := func(k int) uint32 { return binary.LittleEndian.Uint32(of[4*(2*n+k):]) }
			return sampling.Probable{Token: int32(word(0)), LogProb: float64(math.Float32frombits(word(1)))}
		}
		asked := pair(0)
		scores[i] = device.Score{Token: asked.Token, LogProb: asked.LogProb}
		for n := range int(a.Top) {
			if p := pair(1 + n); p.Token >= 0 {
				scores[i].Top = append(scores[i].Top, p)
			}
		}
	}
	return nil
}
