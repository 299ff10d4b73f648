package devicetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/runtime/devmem"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// Memory is what a machine does with bytes.
type Memory interface {
	Alloc(name string, bytes int64) (planned.Address, error)
	Read(to []byte, from planned.Address) error
	Write(to planned.Address, bytes []byte) error
	Copy(to, from planned.Address, n int64) error
}

// flash is V4-Flash as it is planned for texts of 64 k tokens, of the headers of its files.
func flash(b *testing.B) *plan.Plan {
	b.Helper()
	shared := os.Getenv("SMELT_SHARED")
	python, err := exec.LookPath("python3")
	if shared == "" || err != nil {
		b.Skip("SMELT_SHARED is unset, or there is no python3")
	}
	dir := filepath.Join(b.TempDir(), "flash")
	if out, err := exec.Command(python, filepath.Join(shared, "tools/fullsize.py"), "flash", dir).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	c, _, err := bundle.Compile(bundle.SourceOf(m), bundle.Options{Formats: Trained, Lean: true, Context: 1 << 16, Chunk: 512, Slots: 2, Wanted: 2})
	if err != nil {
		b.Fatal(err)
	}
	return c.Plan
}

// keptSpeed is V4-Flash's caches in a memory, whose copies it counts.
type keptSpeed struct {
	Memory
	caches, parts planned.Address
	kept          *devmem.Kept
	copies        int
	bytes         int64
}

func (s *keptSpeed) Save(part, cache, n int64) error {
	return s.move(s.parts+planned.Address(part), s.caches+planned.Address(cache), n)
}

func (s *keptSpeed) Load(part, cache, n int64) error {
	return s.move(s.caches+planned.Address(cache), s.parts+planned.Address(part), n)
}

func (s *keptSpeed) move(to, from planned.Address, n int64) error {
	s.copies, s.bytes = s.copies+1, s.bytes+n
	return s.Copy(to, from, n)
}

// wait waits until all is copied.
func (s *keptSpeed) wait() error { return s.Read(make([]byte, 1), s.caches) }

// slotMemory is the caches' memory as package devmem takes it.
type slotMemory struct {
	Memory
	at planned.Address
}

func (m slotMemory) Read(to []byte, at int64) error {
	return m.Memory.Read(to, m.at+planned.Address(at))
}
func (m slotMemory) Write(at int64, b []byte) error {
	return m.Memory.Write(m.at+planned.Address(at), b)
}
func (m slotMemory) Copy(to, from, n int64) error {
	return m.Memory.Copy(m.at+planned.Address(to), m.at+planned.Address(from), n)
}

// KeptSpeed measures how fast a memory keeps texts of V4-Flash, in entries of 2,048 tokens
// and a frontier, and restores them into another slot, beside one copy of as many bytes.
func KeptSpeed(b *testing.B, m Memory) {
	p := flash(b)
	for _, tokens := range []int{8192, 60000} {
		b.Run(fmt.Sprint(tokens), func(b *testing.B) {
			s := newKeptSpeed(b, p, m, tokens)
			var parts []*devmem.KeptPart
			keep := func() (err error) {
				for _, p := range parts {
					p.Drop()
				}
				parts, err = s.keep(tokens)
				return err
			}
			b.Run("keep", func(b *testing.B) { s.measure(b, keep) })
			b.Run("restore", func(b *testing.B) {
				if err := keep(); err != nil {
					b.Fatal(err)
				}
				last := len(parts) - 1
				s.measure(b, func() error { return s.kept.Restore(1, tokens, parts[:last], parts[last]) })
			})
		})
	}
}

// newKeptSpeed has a text of so many tokens in slot 0.
func newKeptSpeed(b *testing.B, p *plan.Plan, m Memory, tokens int) *keptSpeed {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	s := &keptSpeed{Memory: m}
	var err error
	s.caches, err = m.Alloc("caches", p.CacheBytes)
	must(err)
	slots := devmem.NewSlots(p, 10)
	caches := devmem.NewCaches(p, slotMemory{m, s.caches}, slots)
	whole, err := caches.Bytes(p.Context)
	must(err)
	room := whole + whole/8
	s.parts, err = m.Alloc("parts", room)
	must(err)
	s.kept, err = devmem.NewKept(caches, s, room)
	must(err)
	must(slots.Check(p.Steps[0], []ir.Row{{}}, nil))
	slots.Take()
	must(caches.Stretch(0, tokens))
	return s
}

// keep keeps all of slot 0.
func (s *keptSpeed) keep(tokens int) (parts []*devmem.KeptPart, err error) {
	for from := 0; from < tokens; from += 2048 {
		p, err := s.kept.KeepEntries(0, from, min(from+2048, tokens))
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	p, err := s.kept.KeepFrontier(0, tokens)
	return append(parts, p), err
}

// measure does something once before it is timed, and then a copy of as many bytes.
func (s *keptSpeed) measure(b *testing.B, do func() error) {
	once := func(f func() error) time.Duration {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		if err := s.wait(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	once(do)
	s.copies, s.bytes = 0, 0
	once(do)
	copies, bytes := s.copies, s.bytes
	var took, plain time.Duration
	for b.Loop() {
		took += once(do)
		plain += once(func() error { return s.Copy(s.parts, s.caches, bytes) })
	}
	n := float64(b.N)
	taken, _ := s.kept.Room()
	b.ReportMetric(float64(bytes)/1e6, "MB")
	b.ReportMetric(float64(taken)/1e6, "MB-taken")
	b.ReportMetric(float64(copies), "copies")
	b.ReportMetric(took.Seconds()*1e3/n, "ms")
	b.ReportMetric(float64(bytes)*n/took.Seconds()/1e9, "GB/s")
	b.ReportMetric(plain.Seconds()*1e3/n, "plain-ms")
	b.ReportMetric(float64(bytes)*n/plain.Seconds()/1e9, "plain-GB/s")
	b.ReportMetric(0, "ns/op")
}
