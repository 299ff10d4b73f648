package metal

import "time"

// times add up what command buffers that were waited for say of the GPU.
type times struct {
	busy, idle float64 // seconds: within them, and between one and the next
	end        float64 // of the last; 0 before the first
}

// add counts a command buffer that has ended.
func (t *times) add(q *queue, r running) {
	q.send(q.completed, r.id) // its event came before its times are there
	start, end := q.api.Times(r.id)
	t.busy += end - start
	if t.end > 0 {
		t.idle += max(start-t.end, 0)
	}
	t.end = end
}

// timeline is what the GPU did so far with what was waited for.
func (m *machine) timeline() (busy, idle time.Duration, err error) {
	q := m.queue
	var t times
	err = q.do(func() error {
		t = q.times
		for _, r := range q.running {
			if r.number <= q.ended { // the others are added when they are given back
				t.add(q, r)
			}
		}
		return nil
	})
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return seconds(t.busy), seconds(t.idle), err
}
