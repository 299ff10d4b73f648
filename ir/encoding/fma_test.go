package encoding

import (
	"testing"

	"smelt/ir/internal/fmacheck"
)

// TestNothingFused: decoded values and stored bytes are the same on every machine.
func TestNothingFused(t *testing.T) { fmacheck.Check(t, "smelt/ir/encoding") }
