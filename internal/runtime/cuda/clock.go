package cuda

import (
	"time"

	"smelt.example/smelt/internal/runtime/cuda/driver"
)

// clock is a pair of marks.
type clock struct{ from, to driver.Event }

func (c *clock) make(a *driver.API) (err error) {
	if c.from, err = a.NewEvent(); err != nil {
		return err
	}
	c.to, err = a.NewEvent()
	return err
}

// took waits for the second mark and gives the time between them. Both must be in a
// stream.
func (c *clock) took(a *driver.API) (time.Duration, error) {
	if err := a.Await(c.to); err != nil {
		return 0, err
	}
	return a.Between(c.from, c.to)
}

func (c *clock) close(a *driver.API, note func(error)) {
	for _, e := range []driver.Event{c.from, c.to} {
		if e != 0 {
			note(a.CloseEvent(e))
		}
	}
}
