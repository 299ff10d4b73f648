package cuda

import (
	"errors"
	"time"

	"smelt.example/smelt/internal/runtime/cuda/driver"
)

// maxStarts is how many starts the card is given before it is waited for.
const maxStarts = 8

// starts are what the card was given, one Start of a step each, with a mark before and
// one after it.
type starts struct {
	marks      [maxStarts]clock // of a start, at its number modulo maxStarts
	begun      int              // starts so far
	ended      int              // of those, how many are known to have ended
	busy, idle time.Duration    // of the card, in starts that have ended and between them
}

func (x *starts) make(a *driver.API) error {
	for i := range x.marks {
		if err := x.marks[i].make(a); err != nil {
			return err
		}
	}
	return nil
}

// of are the marks of a start, counted from 0.
func (x *starts) of(number int) *clock { return &x.marks[number%maxStarts] }

// next are the marks of the start to come. Those of a start are read together with the
// one's before it, so that these are waited for before they are used again.
func (x *starts) next(a *driver.API) (*clock, error) {
	return x.of(x.begun), x.wait(a, x.begun+2-maxStarts)
}

// wait waits until so many starts have ended.
func (x *starts) wait(a *driver.API, number int) error {
	if number <= x.ended {
		return nil
	}
	if err := a.Await(x.of(number - 1).to); err != nil {
		return err
	}
	for ; x.ended < number; x.ended++ {
		if err := x.add(a, x.ended); err != nil {
			return err
		}
	}
	return nil
}

// add counts the times of a start that has ended, and of the pause before it.
func (x *starts) add(a *driver.API, number int) error {
	mine := x.of(number)
	took, err := a.Between(mine.from, mine.to)
	if err != nil {
		return err
	}
	x.busy += took
	if number == 0 {
		return nil
	}
	pause, err := a.Between(x.of(number-1).to, mine.from)
	x.idle += pause
	return err
}

// last is what the card took for the start begun last.
func (x *starts) last(a *driver.API) (time.Duration, error) {
	if x.begun == 0 {
		return 0, nil
	}
	return x.of(x.begun - 1).took(a)
}

func (x *starts) close(a *driver.API) error {
	var errs []error
	for i := range x.marks {
		x.marks[i].close(a, func(err error) { errs = append(errs, err) })
	}
	return errors.Join(errs...)
}
