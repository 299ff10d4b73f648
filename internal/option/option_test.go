package option

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func flag(n Name) string { return "--" + strings.ToLower(string(n)) }

// TestText: however deep an option's name is in an error, the command line finds
// it, and nothing else of the text changes.
func TestText(t *testing.T) {
	chunk := Errorf("a step of %d rows: raise %s", 9, Name("Chunk"))
	for _, c := range []struct {
		err          error
		plain, flags string
	}{
		{errors.New("the Chunk is broken"), "the Chunk is broken", "the Chunk is broken"},
		{chunk, "a step of 9 rows: raise Chunk", "a step of 9 rows: raise --chunk"},
		{fmt.Errorf("row 3: %w", chunk), "row 3: a step of 9 rows: raise Chunk", "row 3: a step of 9 rows: raise --chunk"},
		{errors.Join(chunk, fs.ErrNotExist, chunk), chunk.Error() + "\nfile does not exist\n" + chunk.Error(), "a step of 9 rows: raise --chunk\nfile does not exist\na step of 9 rows: raise --chunk"},
		{Errorf("%s is 0: %w", Name("Slots"), fmt.Errorf("deep: %w", chunk)), "Slots is 0: deep: a step of 9 rows: raise Chunk", "--slots is 0: deep: a step of 9 rows: raise --chunk"},
	} {
		if got := c.err.Error(); got != c.plain {
			t.Errorf("got %q, want %q", got, c.plain)
		}
		if got := Text(c.err, flag); got != c.flags {
			t.Errorf("got %q, want %q", got, c.flags)
		}
	}
}

func TestError(t *testing.T) {
	err := fmt.Errorf("outer: %w", Errorf("take a smaller %s or %s: %w", Name("Context"), Name("Slots"), fs.ErrNotExist))
	var e *Error
	if !errors.As(err, &e) || !slices.Equal(e.Names(), []string{"Context", "Slots"}) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: %v", err, e)
	}
}
