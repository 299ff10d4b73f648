package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/progress"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// weights are images of the checkpoint's files on the card: a file's addresses are
// reserved as a whole, so that a byte's address is known before anything is there, and
// memory is put behind those pages alone that hold what kernels read.
type weights struct {
	api   *driver.API
	card  driver.Card
	ck    *checkpoint.Checkpoint
	page  int64
	image []fileImage
}

// fileImage is one file's.
type fileImage struct {
	at    driver.Pointer
	bytes int64 // reserved
	used  []span
	there []span // what memory was put behind
}

// span is bytes of a file, from one to before another.
type span struct{ from, to int64 }

func (m *machine) newWeights() (*weights, error) {
	page, err := m.api.Granularity(m.card)
	if err != nil {
		return nil, err
	}
	return &weights{api: m.api, card: m.card, ck: m.ck, page: page, image: make([]fileImage, len(m.ck.Files))}, nil
}

// around is how far beside a plane kernels may read: whole words of 16 bytes.
const around = 16

// at is the address of a file's byte.
func (w *weights) at(file int, offset, bytes int64) (planned.Address, error) {
	f := &w.image[file]
	size := int64(len(w.ck.Files[file].Bytes()))
	if f.bytes == 0 {
		f.bytes = (size + around + w.page - 1) / w.page * w.page
		var err error
		if f.at, err = w.api.Reserve(f.bytes); err != nil {
			return 0, fmt.Errorf("addresses for %s: %w", w.ck.Files[file].Path(), err)
		}
	}
	f.used = append(f.used, span{max(offset-around, 0), offset + bytes + around})
	return planned.Address(f.at) + planned.Address(offset), nil
}

// joined are spans put in order and together, where gaps are no more than one.
func joined(spans []span, gap int64) (out []span) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to+gap {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// upload puts memory behind the pages that are used, and fills them.
func (w *weights) upload(begin progress.Begin, stop func() error) (err error) {
	var total int64
	for i := range w.image {
		f := &w.image[i]
		f.used = joined(f.used, 0)
		for _, s := range f.used {
			total += min(s.to, int64(len(w.ck.Files[i].Bytes()))) - s.from
		}
	}
	if total == 0 {
		return nil
	}
	done, end := begin.Phase("uploading weights", total, progress.Bytes)
	defer end()
	sender, err := newSender(w.api)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sender.close()) }()
	for i := range w.image {
		if err := w.back(i); err != nil {
			return err
		}
		for _, s := range w.image[i].used {
			if err := w.fill(sender, i, s, stop, done); err != nil {
				return err
			}
		}
	}
	return sender.wait()
}

// fill uploads a span of a file, piece by piece.
func (w *weights) fill(sender *sender, i int, s span, stop func() error, did func(n int64)) error {
	file := w.ck.Files[i]
	bytes := file.Bytes()
	for at, end := s.from, min(s.to, int64(len(bytes))); at < end; {
		if err := stop(); err != nil {
			return err
		}
		n := min(end-at, pieceBytes)
		file.ReadAhead(at, 2*pieceBytes) // this piece and, meanwhile, the next
		var failed error
		err := container.Guard(func() { failed = sender.send(w.image[i].at+driver.Pointer(at), bytes[at:at+n]) }, file)
		if err == nil {
			err = failed
		}
		if err != nil {
			return fmt.Errorf("uploading %s: %w", file.Path(), err)
		}
		at += n
		did(n)
	}
	return nil
}

// back puts memory behind a file's pages.
func (w *weights) back(i int) error {
	f := &w.image[i]
	pages := make([]span, len(f.used))
	for j, s := range f.used {
		pages[j] = span{s.from / w.page * w.page, (s.to + w.page - 1) / w.page * w.page}
	}
	for _, s := range joined(pages, 0) {
		s.to = min(s.to, f.bytes)
		if err := w.api.Back(w.card, f.at+driver.Pointer(s.from), s.to-s.from); err != nil {
			return fmt.Errorf("%s on %s for weights of %s: %w", message.Bytes(s.to-s.from), w.card.Name, w.ck.Files[i].Path(), err)
		}
		f.there = append(f.there, s)
	}
	return nil
}

func (w *weights) close() error {
	var errs []error
	for _, f := range w.image {
		for _, s := range f.there {
			errs = append(errs, w.api.Unback(f.at+driver.Pointer(s.from), s.to-s.from))
		}
		if f.bytes > 0 {
			errs = append(errs, w.api.Unreserve(f.at, f.bytes))
		}
	}
	return errors.Join(errs...)
}

// pieceBytes is what is copied at once.
const pieceBytes = 32 << 20

// sender copies from mapped files by way of two pinned buffers, one of which is filled
// while the card empties the other.
type sender struct {
	api    *driver.API
	stream driver.Stream
	host   [2]*driver.Host
	empty  [2]driver.Event
	busy   [2]bool
	turn   int
}

func newSender(api *driver.API) (s *sender, err error) {
	s = &sender{api: api}
	if s.stream, err = api.NewStream(); err != nil {
		return nil, err
	}
	for i := range s.host {
		if s.host[i], err = api.HostAlloc(pieceBytes); err == nil {
			s.empty[i], err = api.NewEvent()
		}
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// send copies at most pieceBytes.
func (s *sender) send(to driver.Pointer, from []byte) error {
	i := s.turn
	s.turn = 1 - i
	if s.busy[i] {
		if err := s.api.Await(s.empty[i]); err != nil {
			return err
		}
	}
	n := copy(s.host[i].Bytes, from)
	if err := s.api.Send(to, s.host[i].Bytes[:n], s.stream); err != nil {
		return err
	}
	s.busy[i] = true
	return s.api.Record(s.empty[i], s.stream)
}

func (s *sender) wait() error { return s.api.Wait(s.stream) }

func (s *sender) close() error {
	var errs []error
	errs = append(errs, s.wait())
	for i, h := range s.host {
		if h != nil {
			errs = append(errs, s.api.HostFree(h))
		}
		if s.empty[i] != 0 {
			errs = append(errs, s.api.CloseEvent(s.empty[i]))
		}
	}
	return errors.Join(append(errs, s.api.CloseStream(s.stream))...)
}
