package prefix

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/keepertest"
	"smelt.example/smelt/internal/sample"
)

// fake is a keeper whose slots have the tokens that a test gives them.
type fake struct {
	device.Device // never asked
	keepertest.Keeper
	slots map[int32][]int32
}

func newFake(room int64) *fake {
	f := &fake{slots: map[int32][]int32{}}
	f.Keeper = keepertest.Keeper{
		Held: func(slot int32) []int32 { return f.slots[slot] },
		Put:  func(slot int32, tokens []int32) { f.slots[slot] = tokens },
		All:  room, Entry: 10, Frontier: 50,
	}
	return f
}

// clock is moved by hand.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func newTree(t *testing.T, f *fake, o Options) *Tree {
	t.Helper()
	tree, err := New(f, o)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// put keeps tokens, and lets go of them at once.
func put(t *testing.T, tree *Tree, f *fake, kind Kind, tokens ...int32) {
	t.Helper()
	f.slots[0] = tokens
	h, err := tree.Keep(0, tokens, kind)
	if err != nil {
		t.Fatal(err)
	}
	h.Release()
}

// text is tokens from one number on.
func text(from, n int32) (out []int32) {
	for i := range n {
		out = append(out, from+i)
	}
	return out
}

// kept are the ends of the frontiers that the device has.
func (f *fake) kept() (ends []string) {
	for _, p := range f.Live() {
		if p.IsEnd {
			ends = append(ends, fmt.Sprint(p.Tokens[0], "+", len(p.Tokens)))
		}
	}
	slices.Sort(ends)
	return ends
}

// TestRandom: whatever is kept, evicted, held and distrusted, a prompt finds the longest of
// its beginnings that the device has, and a restored slot has that and nothing else. What
// is held stays, what nothing needs goes, and in the end all.
func TestRandom(t *testing.T) {
	seeds := make([]uint64, 400)
	for i := range seeds {
		seeds[i] = uint64(i)
	}
	for _, seed := range sample.Of(t, seeds, 16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { random(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

// user is who holds an entry.
type user struct {
	hold *Hold
	end  *keepertest.Part
}

// trial is a tree in use.
type trial struct {
	t          *testing.T
	rng        *rand.Rand
	f          *fake
	tree       *Tree
	texts      [][]int32
	users      []user
	distrusted map[*keepertest.Part]bool
}

var errBroken = errors.New("broken")

func random(t *testing.T, rng *rand.Rand) {
	f := newFake(int64(200 + rng.IntN(4000)))
	f.Entry, f.Frontier = int64(rng.IntN(12)), int64(rng.IntN(200))
	c := &clock{time.Unix(0, 0)}
	tree := newTree(t, f, Options{Page: 1 + rng.IntN(9), Stride: 1 + rng.IntN(8), Now: c.read})
	x := &trial{t: t, rng: rng, f: f, tree: tree, distrusted: map[*keepertest.Part]bool{}}
	for range 300 {
		c.now = c.now.Add(time.Duration(rng.Int64N(int64(time.Hour))))
		switch rng.IntN(8) {
		case 0, 1, 2:
			x.keep()
		case 3, 4, 5:
			x.users = hold(x.users, find(t, tree, f, x.draw(), x.distrusted), rng)
		default:
			x.letGo()
		}
		check(t, tree, f, x.users)
	}
	for _, u := range x.users[:len(x.users)/2] {
		u.hold.Release()
	}
	tree.Close()
	if taken, _ := f.Room(); taken != 0 || len(f.Live()) != 0 {
		t.Fatalf("after Close %d bytes are taken by %d parts", taken, len(f.Live()))
	}
	for _, u := range x.users {
		u.hold.Release() // late, and harmless
	}
}

// draw is a text that often begins like others.
func (x *trial) draw() (tokens []int32) {
	if len(x.texts) > 0 && x.rng.IntN(5) > 0 {
		from := x.texts[x.rng.IntN(len(x.texts))]
		tokens = slices.Clone(from[:x.rng.IntN(len(from)+1)])
	}
	for n := 1 + x.rng.IntN(12); n > 0; n-- {
		tokens = append(tokens, x.rng.Int32N(3))
	}
	if len(x.texts) < 30 {
		x.texts = append(x.texts, tokens)
	} else {
		x.texts[x.rng.IntN(len(x.texts))] = tokens
	}
	return tokens
}

// keep keeps a text, on a device that may fail.
func (x *trial) keep() {
	x.t.Helper()
	tokens, fails := x.draw(), -1
	if x.rng.IntN(10) == 0 {
		fails = x.rng.IntN(4)
	}
	n := 0
	x.f.Fail = func(string) error {
		if n++; n-1 == fails {
			return errBroken
		}
		return nil
	}
	x.f.slots[0] = tokens
	h, err := x.tree.Keep(0, tokens, Kinds()[x.rng.IntN(4)])
	x.f.Fail = nil
	if errors.Is(err, errBroken) != (fails >= 0 && n > fails) {
		x.t.Fatal(err)
	}
	if h != nil && h.Len() != len(tokens) {
		x.t.Fatalf("of %v, %d are kept", tokens, h.Len())
	}
	x.users = hold(x.users, h, x.rng)
}

// letGo has a user end, and perhaps trust what it had no more.
func (x *trial) letGo() {
	if len(x.users) == 0 {
		return
	}
	i := x.rng.IntN(len(x.users))
	if u := x.users[i]; x.rng.IntN(6) == 0 {
		x.distrusted[u.end] = true
		u.hold.Drop()
	} else {
		u.hold.Release()
	}
	x.users[i].hold.Release() // does nothing
	x.users = slices.Delete(x.users, i, i+1)
}

// hold has a user hold an entry, or lets go of it at once.
func hold(users []user, h *Hold, rng *rand.Rand) []user {
	if h == nil {
		return users
	}
	if rng.IntN(3) > 0 || len(users) > 3 {
		h.Release()
		return users
	}
	return append(users, user{h, h.f.part.(*keepertest.Part)})
}

// find looks a prompt up, compares with what the device has, and restores.
func find(t *testing.T, tree *Tree, f *fake, prompt []int32, distrusted map[*keepertest.Part]bool) *Hold {
	t.Helper()
	want := 0
	for _, p := range f.Live() {
		n := len(p.Tokens)
		if p.IsEnd && !distrusted[p] && n < len(prompt) && n > want && slices.Equal(p.Tokens, prompt[:n]) {
			want = n
		}
	}
	h, end := tree.Find(prompt)
	if end.Reused != want || end.Of != len(prompt) || (h != nil) != (want > 0) || h != nil && h.Len() != want {
		t.Fatalf("%v: found %d tokens, expected %d: %v", prompt, end.Reused, want, end)
	}
	if (end.Reason == Whole) != (want == len(prompt)-1) || end.At < want || end.At > len(prompt) || end.String() == "" {
		t.Fatalf("%v with %d kept: %+v", prompt, want, end)
	}
	if h == nil {
		return nil
	}
	if err := h.Restore(1); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.slots[1], prompt[:want]) {
		t.Fatalf("%v restored as %v", prompt, f.slots[1])
	}
	return h
}

// check compares a tree with what its device has.
func check(t *testing.T, tree *Tree, f *fake, users []user) {
	t.Helper()
	for _, u := range users {
		if !f.IsLive(u.end) {
			t.Fatal("what is held has gone")
		}
	}
	ends, pages := map[string]bool{}, map[string]bool{}
	for _, p := range f.Live() {
		if !p.IsEnd {
			continue
		}
		if name := fmt.Sprint(p.Tokens); ends[name] {
			t.Fatalf("%s is there twice", name)
		} else {
			ends[name] = true
		}
		for at := tree.opts.Page; at <= len(p.Tokens); at += tree.opts.Page {
			pages[fmt.Sprint(p.Tokens[:at])] = true
		}
	}
	frontiers, found := 0, map[string]bool{}
	for _, p := range f.Live() {
		switch name := fmt.Sprint(p.Tokens); {
		case p.IsEnd:
			frontiers++
		case len(p.Tokens)%tree.opts.Page != 0 || p.From%tree.opts.Page != 0: // what a frontier has for itself
			if !ends[name] {
				t.Fatalf("%s has entries from %d on and no frontier", name, p.From)
			}
		case !pages[name] || found[name]:
			t.Fatalf("page %s: needed %v, there twice %v", name, pages[name], found[name])
		default:
			found[name] = true
		}
	}
	s := tree.Stats()
	if s.Held != len(users) || s.Frontiers != frontiers || s.Pages != len(pages) || len(found) != len(pages) {
		t.Fatalf("%+v; %d frontiers, %d of %d pages", s, frontiers, len(found), len(pages))
	}
	tree.root.each(func(n *node) {
		if n.up != nil && (n.up.below[n.edge[0]] != n || n.from != n.up.end() || len(n.below) == 0 && len(n.fronts) == 0) {
			t.Fatalf("a node of %v from %d on does not belong there", n.edge, n.from)
		}
	})
}

// TestEnds: the words in which a miss is told.
func TestEnds(t *testing.T) {
	f := newFake(1 << 20)
	tree := newTree(t, f, Options{Page: 4})
	put(t, tree, f, Head, text(0, 8)...)
	put(t, tree, f, Prompt, text(0, 20)...)
	for _, c := range []struct {
		prompt []int32
		want   string
		known  []int32
	}{
		{text(50, 5), "nothing known begins like the prompt", nil},
		{slices.Concat(text(0, 12), text(50, 5)), "the prompt differs at token 12 of 17 from a prompt; 8 tokens were kept", text(12, 8)},
		{slices.Concat(text(0, 5), text(50, 5)), "the prompt differs at token 5 of 10 from a shared head", text(5, 15)},
		{text(0, 30), "the prompt goes on beyond what is known, at token 20 of 30; 20 tokens were kept", nil},
		{text(0, 21), "all but the last token were kept", nil},
		{text(0, 20), "19 tokens of 20 are known, but nothing can be gone on with so far; 8 tokens were kept", nil},
		{text(0, 9), "all but the last token were kept", nil},
		{text(0, 8), "7 tokens of 8 are known, but nothing can be gone on with so far", nil},
	} {
		h, end := tree.Find(c.prompt)
		h.Release()
		if end.String() != c.want || !slices.Equal(end.Known, c.known) {
			t.Errorf("%v: %q with %v, expected %q with %v", c.prompt, end, end.Known, c.want, c.known)
		}
	}
	f.All = 400
	put(t, tree, f, Prompt, text(90, 20)...)
	if _, end := tree.Find(text(0, 21)); end.String() != "20 tokens of 21 were kept and had to make room" {
		t.Error(end)
	}
}

// TestShared: what begins alike is kept once.
func TestShared(t *testing.T) {
	f := newFake(1 << 20)
	tree := newTree(t, f, Options{Page: 4})
	head := text(0, 10)
	put(t, tree, f, Head, head...)
	first, _ := f.Room()
	if first != 8*10+2*10+50+10 {
		t.Fatalf("%d bytes are taken by 10 tokens", first)
	}
	for i := range int32(3) {
		put(t, tree, f, Text, slices.Concat(head, text(100*(i+1), 5))...)
	}
	if taken, _ := f.Room(); taken != first+3*(4*10+3*10+50+15) { // a page, three tokens, a frontier
		t.Errorf("%d bytes are taken, by a head of %d and three texts of 5 tokens more", taken, first)
	}
	if s := tree.Stats(); s.Pages != 5 || s.Frontiers != 4 {
		t.Errorf("%+v", s)
	}
}

// order is what a tree has in it, and what goes first.
type order struct {
	fill func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration))
	goes string
}

func orders() map[string]order {
	hits := func(t *testing.T, tree *Tree, prompt []int32, n int) {
		t.Helper()
		for range n {
			h, _ := tree.Find(prompt)
			if err := h.Restore(0); err != nil {
				t.Fatal(err)
			}
			h.Release()
		}
	}
	a, b := text(0, 20), text(100, 20)
	return map[string]order{
		"the older of two": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Text, b...)
			pass(time.Minute)
			put(t, tree, f, Text, a...)
		}, "100+20"},
		"a stride before a prompt": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Prompt, b...)
			pass(time.Minute)
			put(t, tree, f, Stride, a...)
		}, "0+20"},
		"a prompt before a text": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Text, b...)
			pass(time.Minute)
			put(t, tree, f, Prompt, a...)
		}, "0+20"},
		"a text before a shared head": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Head, b...)
			pass(time.Minute)
			put(t, tree, f, Text, a...)
		}, "0+20"},
		"what nobody asked for": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Prompt, b...)
			hits(t, tree, text(100, 21), 3)
			pass(time.Hour)
			put(t, tree, f, Text, a...)
		}, "0+20"},
		"what nobody asked for in days": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Text, b...)
			hits(t, tree, text(100, 21), 3)
			pass(48 * time.Hour)
			put(t, tree, f, Text, a...)
		}, "100+20"},
		"what its conversation has overtaken": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Prompt, a...)
			pass(time.Hour)
			put(t, tree, f, Text, b[:12]...)
			put(t, tree, f, Prompt, b...)
		}, "100+12"},
		"not what is held": {func(t *testing.T, tree *Tree, f *fake, pass func(time.Duration)) {
			put(t, tree, f, Stride, a...)
			tree.Find(text(0, 21))
			pass(time.Hour)
			put(t, tree, f, Text, b...)
		}, "100+20"},
	}
}

// TestOrder: what goes first when room is needed: of two texts, beside one that was written last.
func TestOrder(t *testing.T) {
	for name, c := range orders() {
		t.Run(name, func(t *testing.T) {
			f, clock := newFake(1<<20), &clock{time.Unix(0, 0)}
			f.Frontier = 500
			tree := newTree(t, f, Options{Page: 4, Now: clock.read})
			c.fill(t, tree, f, func(d time.Duration) { clock.now = clock.now.Add(d) })
			put(t, tree, f, Stride, text(300, 20)...)
			f.All, _ = f.Room()
			f.All += 10 + f.FrontierBytes(1) - 1
			was := f.kept()
			put(t, tree, f, Prompt, 500)
			left := slices.DeleteFunc(was, func(s string) bool { return slices.Contains(f.kept(), s) })
			if !slices.Equal(left, []string{c.goes}) {
				t.Errorf("%v went, expected %s", left, c.goes)
			}
		})
	}
}

// TestRoom: what does not fit is not kept, and nothing goes for it in vain; else a tenth of the
// room is free after one had to go.
func TestRoom(t *testing.T) {
	f := newFake(1000)
	tree := newTree(t, f, Options{Page: 4})
	for i := range int32(3) {
		put(t, tree, f, Text, text(100*i, 20)...)
	}
	put(t, tree, f, Text, text(0, 200)...)
	if got := f.kept(); len(got) != 3 || tree.Stats().Refused != 1 {
		t.Errorf("%v, %+v", got, tree.Stats())
	}
	h, _ := tree.Find(text(0, 21))
	g, _ := tree.Find(text(100, 21))
	f.slots[0] = text(900, 60)
	if x, err := tree.Keep(0, f.slots[0], Head); x != nil || err != nil || len(f.kept()) != 3 {
		t.Errorf("%v, %v: beside 540 bytes that are held 710 were kept, of 1000; %v", x, err, f.kept())
	}
	h.Release()
	g.Release()
	put(t, tree, f, Text, text(900, 20)...)
	if taken, _ := f.Room(); taken > 900 || len(f.kept()) != 3 {
		t.Errorf("%d of 1000 bytes are taken: %v", taken, f.kept())
	}
}

// TestThin: a long text keeps few strides, on a lattice.
func TestThin(t *testing.T) {
	f := newFake(1 << 20)
	tree := newTree(t, f, Options{Page: 4, Stride: 2})
	all := text(0, 100)
	for at := 2; at <= len(all); at += 2 {
		put(t, tree, f, Stride, all[:at]...)
		var ends []int
		for _, p := range f.Live() {
			if p.IsEnd {
				ends = append(ends, len(p.Tokens))
			}
		}
		slices.Sort(ends)
		step := ends[0]
		for i, end := range ends {
			if end != step*(i+1) && end != at {
				t.Fatalf("after %d tokens, strides at %v", at, ends)
			}
		}
		if len(ends) > 17 || at-ends[len(ends)-1] >= 2*step || step&(step-1) != 0 {
			t.Fatalf("after %d tokens, strides at %v", at, ends)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{{Page: -1}, {Stride: -1}} {
		if _, err := New(newFake(1), o); err == nil || !strings.Contains(err.Error(), "1 or more") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
